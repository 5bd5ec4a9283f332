//! Attention modulation: every token's cross-attention is held inside the mask, at every layer and step of pass 2.
//!
//! Paper, "Attention Modulation"; its formula was lost, so the most literal reading of its text is the default
//! ([`Modulation::Gate`]). Only the branch with the instruction is touched, and never the first token: with a causal text
//! encoder it is the same for every prompt, and attention goes there that has no other place.

use std::collections::HashMap;

use tch::{Kind, Tensor};

use crate::attn_processor::{AttnKind, AttnProcessor, AttnSite, Branch, Qkv};
use crate::editing::settings::Modulation;

/// The guest of pass 2.
#[derive(Debug)]
pub struct AttnModulator {
    modulation: Modulation,
    /// (1, 1, H, W), 1 = edit, at the size of the model's picture.
    mask: Tensor,
    /// The mask at each grid that was asked for, (Q, 1).
    by_grid: HashMap<(i64, i64), Tensor>,
}

impl AttnModulator {
    /// Holds cross-attention inside `mask`, (1, 1, H, W) in fp32, 1 = edit, on the model's device.
    pub fn new(modulation: Modulation, mask: Tensor) -> Self {
        Self { modulation, mask, by_grid: HashMap::new() }
    }

    /// The mask at a site's grid, (Q, 1): a cell is edited if any pixel of it is, so that small regions survive.
    fn at(&mut self, site: &AttnSite) -> Tensor {
        let mask = &self.mask;
        let pool = || mask.adaptive_max_pool2d([site.height, site.width]).0.view([-1, 1]);
        self.by_grid.entry((site.height, site.width)).or_insert_with(pool).shallow_clone()
    }
}

impl AttnProcessor for AttnModulator {
    fn watches(&self, site: &AttnSite) -> bool {
        site.kind == AttnKind::CrossAttn
    }

    fn attend(&mut self, site: &AttnSite, qkv: &Qkv<'_>) -> Tensor {
        let mask = self.at(site);
        let row = qkv.row_of(Branch::Text);
        let output = qkv.fused(None); // (N, H, Q, D)
        let mut text = output.select(0, row); // (H, Q, D), a view
        let modulated = match self.modulation {
            Modulation::Gate => gated(qkv, row, &mask),
            Modulation::Mask => masked(qkv, row, &mask),
            Modulation::Null => nulled(qkv, row, &mask, &text),
        };
        text.copy_(&modulated);
        output
    }
}

/// `A' = A ⊙ G`, `A'V`, where G is the mask for every token but the first, and 1 for that; no renormalization.
fn gated(qkv: &Qkv<'_>, row: i64, mask: &Tensor) -> Tensor {
    let probs = qkv.probs(row, 0, qkv.query.size()[2]); // (H, Q, T)
    let tokens = probs.size()[2];
    let probs = Tensor::cat(&[probs.narrow(2, 0, 1), probs.narrow(2, 1, tokens - 1) * mask], 2);
    probs.to_kind(qkv.value.kind()).matmul(&qkv.value.select(0, row)) // (H, Q, D)
}

/// The logits of every token but the first are minus infinity outside the mask.
fn masked(qkv: &Qkv<'_>, row: i64, mask: &Tensor) -> Tensor {
    let (queries, tokens) = (mask.size()[0], qkv.key.size()[2]);
    let first = Tensor::zeros([queries, 1], (Kind::Float, mask.device()));
    let bias = first.masked_fill(&mask.le(0.0), f64::NEG_INFINITY).repeat([1, tokens - 1]);
    let bias = Tensor::cat(&[first, bias], 1).to_kind(qkv.query.kind()); // (Q, T)
    qkv.row(row, row).fused(Some(&bias)).squeeze_dim(0)
}

/// Inside the mask the output as it is, outside that of the null prompt's keys and values.
fn nulled(qkv: &Qkv<'_>, row: i64, mask: &Tensor, text: &Tensor) -> Tensor {
    let outside = qkv.row(row, qkv.row_of(Branch::Image)).fused(None).squeeze_dim(0); // (H, Q, D)
    text.where_self(&mask.gt(0.0), &outside)
}

//! Attention modulation of pass 2: every token's cross-attention is restricted to the mask, at every layer and step.
//!
//! Paper, "Attention Modulation"; its formula was lost, so the most literal reading of its text is the default
//! ([`Modulation::Gate`]). Only the row with the instruction is touched, and never the first token, or those that a
//! template has before every prompt: with a causal text encoder they are the same for every prompt, and attention goes
//! there that has no other place.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use crate::attention::{
    processor::{AttnProcessor, CallShape, GuestTensors, Replayable},
    qkv::{Attended, Qkv},
    role::Role,
    site::{AttnSite, Keys, Span},
};
use crate::edit::settings::Modulation;

/// The attention processor of pass 2.
#[derive(Debug)]
pub struct AttnModulator {
    modulation: Modulation,
    /// (1, 1, H, W), 1 = edit, at the working size.
    mask: Tensor,
    /// For each grid size, whether each cell is edited, (Q, 1).
    by_grid: BTreeMap<(i64, i64), Tensor>,
}

impl AttnModulator {
    /// Restricts cross-attention to `mask`, (1, 1, H, W) in fp32, 1 = edit, on the model's device.
    pub fn new(modulation: Modulation, mask: Tensor) -> Self {
        Self { modulation, mask, by_grid: BTreeMap::new() }
    }

    /// Whether each cell of a site's grid is edited, (Q, 1). A cell is if any of its pixels is, so that small regions
    /// survive.
    fn at(&mut self, site: &AttnSite) -> Tensor {
        let mask = &self.mask;
        let pool = || mask.adaptive_max_pool2d([site.height, site.width]).0.view([-1, 1]).gt(0.0);
        self.by_grid.entry((site.height, site.width)).or_insert_with(pool).shallow_clone()
    }
}

impl AttnProcessor for AttnModulator {
    fn watches(&self, site: &AttnSite) -> bool {
        site.keys.has_text()
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
        let mask = self.at(site);
        let row = qkv.row_of(Role::Text);
        let cells = site.cells();
        let output = attended.output.select(0, row); // (H, Q, D), a view
        let mut inside = output.narrow(1, cells.start, cells.length);
        let outside = match (site.keys, self.modulation) {
            (Keys::Joint { text, latents, .. }, Modulation::Null) => {
                attend_to_null_text(qkv, row, latents, text)
            }
            (Keys::Joint { text, shared, latents, .. }, modulation) => {
                let rest = Span { start: text.start + shared, length: text.length - shared };
                let probs = qkv.probs_of(attended, row, latents, rest); // (H, n, T - shared)
                without(&inside, &probs, &values(qkv, row, rest), modulation)
            }
            (_, Modulation::Gate) => {
                values(qkv, row, Span::first(1)) * qkv.first_probs(attended, row)
            }
            (_, Modulation::Mask) => values(qkv, row, Span::first(1)),
            (_, Modulation::Null) => qkv.attend_across(row, qkv.null_row()),
        };
        inside.copy_(&inside.where_self(&mask, &outside));
    }

    fn replayable(&mut self, call: &CallShape<'_>) -> Option<&mut dyn Replayable> {
        for site in call.sites.iter().filter(|site| site.keys.has_text()) {
            let _ = self.at(site);
        }
        Some(self)
    }
}

impl Replayable for AttnModulator {
    fn work(&self) -> &'static str {
        match self.modulation {
            Modulation::Gate => "gate",
            Modulation::Mask => "mask",
            Modulation::Null => "null",
        }
    }

    fn tensors(&self) -> GuestTensors {
        let read = self.by_grid.values().map(Tensor::shallow_clone).collect();
        GuestTensors { read, changed: vec![] }
    }

    fn over(&self, tensors: GuestTensors) -> Box<dyn AttnProcessor> {
        Box::new(Self {
            modulation: self.modulation,
            mask: self.mask.shallow_clone(),
            by_grid: self.by_grid.keys().copied().zip(tensors.read).collect(),
        })
    }

    fn replayed(&mut self, _visited: &[AttnSite]) {}
}

/// A row's values of some keys, (H, K, D).
fn values(qkv: &Qkv<'_>, row: i64, keys: Span) -> Tensor {
    qkv.value.select(0, row).narrow(1, keys.start, keys.length)
}

/// A layer's output (H, n, D) without what came of keys with these probabilities (H, n, K) and values (H, K, D):
/// their share is gone, or goes to the other keys.
fn without(output: &Tensor, probs: &Tensor, values: &Tensor, modulation: Modulation) -> Tensor {
    let rest = output.to_kind(Kind::Float) - probs.matmul(&values.to_kind(Kind::Float));
    let rest = match modulation {
        Modulation::Mask => {
            let kept: Tensor = 1.0 - probs.sum_dim_intlist([-1i64].as_slice(), true, Kind::Float);
            rest / kept
        }
        Modulation::Gate | Modulation::Null => rest,
    };
    rest.to_kind(output.kind())
}

/// The output of cells (H, n, D) that attend to the null prompt in the place of their own, and else as they do.
fn attend_to_null_text(qkv: &Qkv<'_>, row: i64, cells: Span, text: Span) -> Tensor {
    let null = qkv.null_row();
    let replaced = |all: &Tensor| {
        let own = all.narrow(0, row, 1).copy();
        let of_null = all.narrow(0, null, 1).narrow(2, text.start, text.length);
        own.narrow(2, text.start, text.length).copy_(&of_null);
        own
    };
    let query = qkv.query.narrow(0, row, 1).narrow(2, cells.start, cells.length);
    let (key, value) = (replaced(&qkv.key), replaced(&qkv.value));
    Qkv { query, key, value, scale: qkv.scale, roles: &[] }.attend().output.squeeze_dim(0)
}

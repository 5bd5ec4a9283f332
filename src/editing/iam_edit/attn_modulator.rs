//! Attention modulation of pass 2: every token's cross-attention is restricted to the mask, at every layer and step.
//! `joint_modulation.rs` does it where prompt and image share one sequence.
//!
//! Paper, "Attention Modulation"; its formula was lost, so the most literal reading of its text is the default
//! ([`Modulation::Gate`]). Only the row with the instruction is touched, and never the first token, or those that a
//! template has before every prompt: with a causal text encoder they are the same for every prompt, and attention goes
//! there that has no other place.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::attention::{
    processor::{AttnProcessor, CallShape, GuestTensors, Replayable},
    qkv::{Attended, Qkv},
    role::Role,
    site::{AttnSite, Keys},
};
use crate::edit::settings::Modulation;
use crate::editing::iam_edit::joint_modulation::{Layer, Sequence};

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
        let is_joint = matches!(site.keys, Keys::Joint { .. });
        site.keys.has_text() && (is_joint || !self.modulation.needs_joint_attention())
    }

    fn reads_unrotated(&self, _site: &AttnSite) -> bool {
        self.modulation == Modulation::Reference
    }

    fn visit(&mut self, site: &AttnSite, qkv: &Qkv<'_>, attended: &Attended) {
        let mask = self.at(site);
        if let Keys::Joint { text, shared, latents, references } = site.keys {
            let sequence = Sequence { text, shared, latents, references };
            let layer = Layer { qkv, attended, sequence, inside: &mask };
            return layer.modulate(self.modulation);
        }
        let row = qkv.row_of(Role::Text);
        let mut inside = attended.output.select(0, row); // (H, Q, D), a view
        let outside = match self.modulation {
            Modulation::Gate => first_value(qkv, row) * qkv.first_probs(attended, row),
            Modulation::Mask => first_value(qkv, row),
            Modulation::Null => qkv.attend_across(row, qkv.null_row()),
            // They have no meaning here.
            Modulation::Reference | Modulation::Isolate => return,
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
            Modulation::Reference => "reference",
            Modulation::Isolate => "isolate",
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

/// A row's value of the first key, (H, 1, D).
fn first_value(qkv: &Qkv<'_>, row: i64) -> Tensor {
    qkv.value.select(0, row).narrow(1, 0, 1)
}

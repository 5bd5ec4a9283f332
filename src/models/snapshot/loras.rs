//! The LoRAs that were applied to a snapshot, and what they add to each of its networks.

use std::{collections::BTreeMap, rc::Rc};

use sha2::{Digest as _, Sha256};

use crate::models::{
    lora::{
        apply::{self, Deltas, Network},
        error::LoraError,
        file::LoraFile,
        names::Architecture,
    },
    snapshot::part::Part,
    weights::Checkpoint,
};

/// All LoRAs of a snapshot.
#[derive(Debug, Default)]
pub(super) struct Loras {
    files: Vec<(Rc<LoraFile>, f64)>,
    deltas: BTreeMap<Part, Deltas>,
}

impl Loras {
    /// Adds one at a weight, to a model whose networks have these weights.
    ///
    /// # Errors
    /// [`LoraError`] if it is for another model, or was added before.
    pub(super) fn add(
        &mut self,
        architecture: Architecture,
        networks: &[(Part, Checkpoint)],
        file: LoraFile,
        weight: f64,
    ) -> Result<(), LoraError> {
        if self.files.iter().any(|(it, _)| it.sha256() == file.sha256()) {
            return Err(LoraError::Twice { path: file.path().to_owned() });
        }
        let file = Rc::new(file);
        let described = networks.iter().map(|(part, checkpoint)| Network {
            is_denoiser: *part != Part::TextEncoder,
            tensors: checkpoint.shapes().collect(),
        });
        let described: Vec<Network<'_>> = described.collect();
        let deltas = apply::apply(architecture, &described, &file, weight)?;
        for ((part, _), deltas) in networks.iter().zip(deltas) {
            let all = self.deltas.entry(*part).or_default();
            for (key, more) in deltas {
                all.entry(key).or_default().extend(more);
            }
        }
        self.files.push((file, weight));
        Ok(())
    }

    /// What they add to a network's tensors.
    pub(super) fn of(&self, part: Part) -> Deltas {
        self.deltas.get(&part).cloned().unwrap_or_default()
    }

    /// Feeds a digest with each file's own and its weight; without LoRAs with nothing.
    pub(super) fn digest(&self, digest: &mut Sha256) {
        for (file, weight) in &self.files {
            digest.update(format!("lora {} {weight}\n", file.sha256()));
        }
    }
}

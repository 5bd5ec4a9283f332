//! Finds the place of each of a LoRA's changes in a model.

use std::{collections::BTreeMap, rc::Rc};

use crate::models::lora::{
    error::LoraError,
    family,
    file::LoraFile,
    keys::Net,
    merge::Delta,
    names::{self, Architecture, Target},
};

/// A network whose weights LoRAs may change.
#[derive(Debug)]
pub struct Network<'a> {
    /// Whether it is the one that is denoised with; else the text encoder.
    pub is_denoiser: bool,
    /// Keys and shapes of its tensors, as the network asks for them.
    pub tensors: Vec<(&'a str, &'a [i64])>,
}

/// What is added to the tensors of a network, by their keys.
pub(in crate::models) type Deltas = BTreeMap<String, Vec<Delta>>;

/// What each network of a model gets of a LoRA at a weight.
///
/// # Errors
/// [`LoraError`] if it is for another family or width, or if any of its tensors has no place in the model.
pub(in crate::models) fn apply(
    architecture: Architecture,
    networks: &[Network<'_>],
    file: &Rc<LoraFile>,
    weight: f64,
) -> Result<Vec<Deltas>, LoraError> {
    let path = || file.path().to_owned();
    let weights = networks.iter().enumerate().flat_map(|(number, network)| {
        let net = if network.is_denoiser { Net::Denoiser } else { Net::TextEncoder };
        network.tensors.iter().map(move |(key, shape)| (number, net, *key, *shape))
    });
    let table = names::table(architecture, weights);
    let mut deltas: Vec<Deltas> = networks.iter().map(|_| Deltas::new()).collect();
    let (mut unmatched, mut incomplete) = (file.unknown.clone(), Vec::new());
    let mut misfit = None;
    for (number, (module, change)) in file.changes.iter().enumerate() {
        let keys = || change.factors.values().map(|it| it.key.clone());
        let Some(targets) = table.get(module) else {
            unmatched.extend(keys());
            continue;
        };
        let Some(shape) = change.shape() else {
            incomplete.extend(keys());
            continue;
        };
        let scale = weight * file.scale(module, change);
        for Target { network, key, shape: expected, rows } in targets {
            let wanted = [expected[0] * rows.parts(), expected[1]];
            if wanted != [shape.rows, shape.columns] {
                misfit.get_or_insert((key, [shape.rows, shape.columns], wanted));
                continue;
            }
            let delta = Delta { file: Rc::clone(file), change: number, rows: *rows, scale };
            deltas[*network].entry(key.clone()).or_default().push(delta);
        }
    }
    if unmatched.is_empty() && misfit.is_none() && incomplete.is_empty() {
        return Ok(deltas);
    }
    let model = architecture.described();
    if let Some(found) = family::of(&file.changes).filter(|it| !architecture.is_of(it)) {
        return Err(LoraError::OtherFamily { path: path(), found, model });
    }
    if let Some((module, found, expected)) = misfit {
        let module = module.trim_end_matches(".weight").to_owned();
        return Err(LoraError::OtherWidth { path: path(), module, found, expected });
    }
    let of_texts = file.changes.iter().filter(|(module, _)| module.net == Net::TextEncoder);
    let of_texts = of_texts.flat_map(|(_, change)| change.factors.values());
    let of_texts: Vec<String> = of_texts.map(|it| it.key.clone()).collect();
    if architecture == Architecture::Flux2 && !of_texts.is_empty() {
        return Err(LoraError::TextEncoder { path: path(), model, keys: of_texts });
    }
    Err(if unmatched.is_empty() {
        LoraError::Incomplete { path: path(), keys: incomplete }
    } else {
        LoraError::Unmatched { path: path(), keys: unmatched }
    })
}

impl Architecture {
    /// Whether a LoRA that is for this is for a model of this architecture.
    fn is_of(self, family: &str) -> bool {
        match self {
            Self::StableDiffusion { .. } => {
                family.contains("Stable Diffusion")
                    && !["XL", "3"].iter().any(|it| family.contains(it))
            }
            Self::Flux2 => family.contains("FLUX.2"),
        }
    }
}

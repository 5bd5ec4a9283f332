//! What is to be said of a LoRA file: what it was trained for, its ranks, and what it changes.

use std::collections::{BTreeMap, BTreeSet};

use crate::models::lora::{
    error::LoraError,
    family,
    file::LoraFile,
    keys::{Factor, Net},
};

/// A LoRA file in numbers.
#[derive(Debug, Clone, PartialEq)]
pub struct LoraSummary {
    /// Name of the file.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal.
    pub sha256: String,
    /// LoRA or `LoKr`.
    pub method: &'static str,
    /// What it was trained for, as far as its modules tell.
    pub family: Option<&'static str>,
    /// Lowest and highest rank; `None` for Kronecker products of whole matrices alone.
    pub ranks: Option<(i64, i64)>,
    /// Lowest and highest scale: alpha over rank.
    pub scales: (f64, f64),
    /// Number of changed modules, by network and kind of layer.
    pub touched: BTreeMap<String, usize>,
    /// Number of its parameters.
    pub parameters: u64,
    /// Bytes of its tensors.
    pub bytes: u64,
    /// Their dtypes.
    pub dtypes: BTreeSet<String>,
    /// What its trainer wrote.
    pub metadata: BTreeMap<String, String>,
}

impl LoraSummary {
    /// The summary of a file.
    ///
    /// # Errors
    /// [`LoraError::Incomplete`] if the factors of a change do not fit each other.
    pub fn of(file: &LoraFile) -> Result<Self, LoraError> {
        let (mut ranks, mut scales, mut touched) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut incomplete = Vec::new();
        for (module, change) in &file.changes {
            match change.shape() {
                Some(shape) => ranks.extend(shape.rank),
                None => incomplete.extend(change.factors.values().map(|it| it.key.clone())),
            }
            scales.push(file.scale(module, change));
            *touched.entry(format!("{} {}", net(module.net), layer(&module.name))).or_default() +=
                1;
        }
        if !incomplete.is_empty() {
            return Err(LoraError::Incomplete { path: file.path().to_owned(), keys: incomplete });
        }
        let factors = || {
            let all = file.changes.iter().flat_map(|(_, change)| &change.factors);
            all.filter(|(factor, _)| **factor != Factor::Alpha).map(|(_, stored)| stored)
        };
        let is_lokr = file.changes.iter().any(|(_, change)| change.is_lokr());
        Ok(Self {
            name: file.name(),
            sha256: file.sha256().to_owned(),
            method: if is_lokr { "LoKr" } else { "LoRA" },
            family: family::of(&file.changes),
            ranks: ranks.iter().min().copied().zip(ranks.iter().max().copied()),
            scales: scales.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| {
                (low.min(*it), high.max(*it))
            }),
            touched,
            parameters: factors().map(|it| it.elements() as u64).sum(),
            bytes: file.stored().map(crate::models::weights::file::Stored::bytes).sum(),
            dtypes: factors().map(|it| it.dtype.to_string()).collect(),
            metadata: file.metadata().clone(),
        })
    }
}

fn net(net: Net) -> &'static str {
    match net {
        Net::Denoiser => "denoiser",
        Net::TextEncoder => "text encoder",
        Net::OtherTextEncoder => "second text encoder",
    }
}

/// The kind of a layer, by its module's name.
fn layer(name: &str) -> &'static str {
    let has = |part: &str| name.contains(part);
    if has("attn2") || has("cross_attn") {
        "cross-attention"
    } else if has("attn") || has("linear1") || has("linear2") || has("attention_to") {
        "attention"
    } else if has("mlp") || has("_ff_") || has("feed_forward") || has("ff_context") {
        "feed-forward"
    } else if has("conv") || has("resnets") || has("in_layers") || has("out_layers") || has("_op") {
        "convolutions"
    } else {
        "other layers"
    }
}

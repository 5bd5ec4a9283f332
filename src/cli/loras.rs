//! The LoRAs of a record beside those that a model was loaded with.

use crate::wire::edit_record::{Lora, digests::shown};

/// Why a model with these LoRAs can't repeat an edit that was made with the recorded ones; `None` if they are the
/// same files at the same weights.
pub(super) fn differing(recorded: &[Lora], loaded: &[Lora]) -> Option<String> {
    let same = |it: &(&Lora, &Lora)| it.0.sha256 == it.1.sha256 && it.0.scale == it.1.scale;
    if recorded.len() == loaded.len() && recorded.iter().zip(loaded).all(|it| same(&it)) {
        return None;
    }
    if recorded.is_empty() {
        return Some("it was made without LoRAs; leave --lora out".to_owned());
    }
    let flags = recorded.iter().map(|Lora { name, sha256, scale }| {
        let digest = shown(sha256.get(..12).unwrap_or(sha256));
        format!("--lora {}:{} (SHA-256 {digest}…)", shown(name), scale.0)
    });
    let flags = flags.collect::<Vec<_>>().join(" and ");
    Some(format!("it was made with other LoRAs than these; give {flags}"))
}

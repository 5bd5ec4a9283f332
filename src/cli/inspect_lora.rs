//! `retouch inspect --lora FILE`: prints what a LoRA is for, what it changes, and what its trainer says of it.

use std::path::Path;

use serde_json::{Value, json};

use crate::cli::{error, printable::printable};
use crate::pipelines::lora::{self, Summary};

/// Longest value of the metadata that is printed as text, in characters.
const SHOWN: usize = 160;

/// The text or JSON of a LoRA file, and whether it fits the model, if one is given.
///
/// # Errors
/// Why the file can't be used with any model.
pub(super) fn described(
    path: &Path,
    model: Option<&Path>,
    as_json: bool,
) -> Result<(String, Option<String>), lora::Error> {
    let summary = lora::summary(path)?;
    let misfit = model.and_then(|model| lora::check(path, model).err());
    let misfit = misfit.map(|it| error::in_one_line(&it));
    let fits = model.map(|_| misfit.is_none());
    let path = path.display().to_string();
    let said = if as_json {
        json(&path, &summary, fits, misfit.as_deref()).to_string()
    } else {
        text(&path, &summary, fits)
    };
    Ok((said, misfit))
}

fn text(path: &str, found: &Summary, fits: Option<bool>) -> String {
    let mut rows = vec![
        ("lora", path.to_owned()),
        ("sha256", found.sha256.clone()),
        ("method", found.method.to_owned()),
        ("for", found.family.unwrap_or("a model that its names do not tell").to_owned()),
    ];
    if let Some(ranks) = found.ranks {
        rows.push(("rank", between(ranks)));
    }
    rows.push(("scale", format!("{} (alpha over rank)", between(found.scales))));
    rows.extend(found.touched.iter().map(|(what, count)| {
        let matrices = if *count == 1 { "matrix" } else { "matrices" };
        ("changes", format!("{what}: {count} {matrices}"))
    }));
    let dtypes = found.dtypes.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let size = indicatif::HumanBytes(found.bytes);
    rows.push((
        "size",
        format!("{:.1} M parameters, {size} as {dtypes}", found.parameters as f64 / 1e6),
    ));
    rows.extend(found.metadata.iter().map(|(key, value)| {
        let cut: String = value.chars().take(SHOWN).collect();
        let more = if cut.len() < value.len() { "…" } else { "" };
        ("metadata", format!("{key}: {cut}{more}"))
    }));
    rows.extend(fits.map(|fits| ("fits", if fits { "yes" } else { "no" }.to_owned())));
    let lines: Vec<String> =
        rows.iter().map(|(name, value)| format!("{name:<13}{}", printable(value))).collect();
    lines.join("\n")
}

/// One number, or the lowest and the highest of several.
fn between<T: PartialEq + std::fmt::Display>((low, high): (T, T)) -> String {
    if low == high { low.to_string() } else { format!("{low} to {high}") }
}

fn json(path: &str, found: &Summary, fits: Option<bool>, misfit: Option<&str>) -> Value {
    json!({
        "lora": path,
        "name": found.name,
        "sha256": found.sha256,
        "method": found.method,
        "family": found.family,
        "ranks": found.ranks.map(|(low, high)| [low, high]),
        "scales": [found.scales.0, found.scales.1],
        "changes": found.touched,
        "parameters": found.parameters,
        "bytes": found.bytes,
        "dtypes": found.dtypes,
        "metadata": found.metadata,
        "fits": fits,
        "misfit": misfit,
    })
}

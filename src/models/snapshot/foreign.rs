//! Recognizes models of other kinds (text-to-image, SDXL, LoRA files and so on), to name them in errors.

use std::path::Path;

use serde_json::Value;

use crate::models::{
    snapshot::{error::SnapshotError, family::Family, ldm::LdmLayout},
    weights::file::Stored,
};

/// Input channels of InstructPix2Pix's U-Net: noisy latents and image latents.
const IN_CHANNELS: u64 = 8;

/// What to do with another FLUX.
const TAKE_KLEIN: &str =
    "of that family FLUX.2 [klein] is supported: `hf download black-forest-labs/FLUX.2-klein-4B`";

/// What to do with quantized weights.
const TAKE_BF16: &str = "take the weights in bf16, such as flux-2-klein-4b.safetensors";

/// What a model is that is not supported.
#[derive(Debug)]
pub(super) struct Foreign {
    found: String,
    /// The model to take instead, where one is near.
    remedy: Option<&'static str>,
}

// === impl Foreign ===

impl Foreign {
    fn kind(found: impl Into<String>) -> Self {
        Self { found: found.into(), remedy: None }
    }

    fn flux(found: impl Into<String>) -> Self {
        Self { found: found.into(), remedy: Some(TAKE_KLEIN) }
    }

    /// The same, after the name of its pipeline's class.
    pub(super) fn of(self, class: &str) -> Self {
        Self { found: format!("{class}, {}", self.found), ..self }
    }

    /// The error that a path is this.
    pub(super) fn at(self, path: &Path) -> SnapshotError {
        let (path, found) = (path.to_owned(), self.found);
        match self.remedy {
            Some(remedy) => SnapshotError::OtherVariant { path, found, remedy },
            None => SnapshotError::WrongArchitecture { path, found },
        }
    }
}

/// The family of a pipeline, or what it is if its components are of none.
pub(super) fn family(index: &Value, class: &str) -> Result<Family, Foreign> {
    let part = |name: &str| index.get(name)?.get(1)?.as_str();
    let named = Family::ALL.into_iter().find(|it| it.class() == class);
    // Pipelines of other names that are made of the same components are the same model.
    let family = match (named, part("transformer")) {
        (Some(family), _) => family,
        (None, Some(transformer)) => of_transformer(class, transformer, part("text_encoder"))?,
        (None, None) => Family::InstructPix2Pix,
    };
    other_components(index, class, family).map_or(Ok(family), |it| Err(Foreign::kind(it)))
}

/// The family of a pipeline with a transformer.
fn of_transformer(
    class: &str,
    transformer: &str,
    text_encoder: Option<&str>,
) -> Result<Family, Foreign> {
    match (transformer, text_encoder) {
        ("Flux2Transformer2DModel", _) if class.contains("KV") => Err(Foreign::flux(format!(
            "{class}, FLUX.2 [klein] trained for cached keys and values of its references"
        ))),
        ("Flux2Transformer2DModel", Some(text)) if text.starts_with("Mistral") => Err(
            Foreign::flux(format!("{class}, FLUX.2 [dev] with a Mistral text encoder ({text})")),
        ),
        ("Flux2Transformer2DModel", _) => Ok(Family::Flux2Klein),
        ("FluxTransformer2DModel", _) => {
            Err(Foreign::flux(format!("{class}, FLUX.1 with CLIP and T5 as text encoders")))
        }
        _ => Err(Foreign::kind(format!("{class}, a diffusion transformer ({transformer})"))),
    }
}

/// What a pipeline is, if its components are not those of a family.
fn other_components(index: &Value, class: &str, family: Family) -> Option<String> {
    let part = |name: &str| index.get(name)?.get(1)?.as_str();
    if let Some(second) = part("text_encoder_2") {
        return Some(format!(
            "{class}, with a second text encoder ({second}) as Stable Diffusion XL has"
        ));
    }
    let wanted = family.components().iter().filter(|it| !it.classes.is_empty());
    wanted.into_iter().find_map(|it| match part(it.name) {
        Some(found) if it.classes.contains(&found) => None,
        Some(found) => Some(format!("{class}, whose {} is {found}", it.name)),
        None => Some(format!("{class}, without a {}", it.name)),
    })
}

/// What a model is, by the configuration of one of its components.
pub(super) fn component(name: &str, config: &Value) -> Option<Foreign> {
    match name {
        "unet" => unet(config).map(Foreign::kind),
        "transformer" if config.get("guidance_embeds").and_then(Value::as_bool) == Some(true) => {
            Some(Foreign::flux("FLUX.2 [dev], whose transformer embeds a guidance scale"))
        }
        _ => None,
    }
}

/// The kind of a U-Net that is not for instruction-based editing.
fn unet(config: &Value) -> Option<String> {
    let kind = match config.get("in_channels").and_then(Value::as_u64).unwrap_or(4) {
        IN_CHANNELS => return None,
        4 => "a text-to-image model: its U-Net has 4 input channels",
        5 => "a depth-to-image model: its U-Net has 5 input channels",
        7 => "an upscaling model: its U-Net has 7 input channels",
        9 => "an inpainting model: its U-Net has 9 input channels",
        other => return Some(format!("a model whose U-Net has {other} input channels")),
    };
    Some(kind.to_owned())
}

/// What a single file of FLUX.2 is, if it is not \[klein\], by its transformer's configuration and its name in lower
/// case.
pub(super) fn bfl(transformer: &Value, name: &str) -> Option<Foreign> {
    if let Some(dev) = component("transformer", transformer) {
        return Some(dev);
    }
    // Its tensors are those of the plain one.
    name.split(['-', '_', '.']).any(|it| it == "kv").then(|| {
        Foreign::flux("FLUX.2 [klein] trained for cached keys and values of its references")
    })
}

/// The kind of a file whose weights are quantized.
pub(super) fn quantized(stored: &[Stored]) -> Option<Foreign> {
    let dtype = stored.iter().map(|it| it.dtype.to_string()).find(|it| {
        // Whole numbers of other widths are positions.
        ["F8", "F6", "F4"].iter().any(|low| it.starts_with(low)) || it == "I8" || it == "U8"
    })?;
    let kind = if dtype.starts_with("F8") { "an fp8 checkpoint" } else { "a quantized checkpoint" };
    let found = format!("{kind} (with tensors of {dtype}), which is not supported");
    Some(Foreign { found, remedy: Some(TAKE_BF16) })
}

/// The kind of a file whose keys are not those of Stable Diffusion 1.x and 2.x in the original layout.
pub(super) fn file(layout: &LdmLayout) -> Option<Foreign> {
    let has = |text: &str| layout.shapes.keys().any(|it| it.contains(text));
    let kinds = [
        ("conditioner.embedders.", "a Stable Diffusion XL checkpoint"),
        ("joint_blocks.", "a Stable Diffusion 3 checkpoint"),
        ("lora_", "a LoRA, not a whole model"),
        ("control_model.", "a ControlNet checkpoint"),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(key, _)| has(key)) {
        return Some(Foreign::kind(*kind));
    }
    if has("double_blocks.") {
        return Some(Foreign::flux("a FLUX.1 checkpoint"));
    }
    if has("model.diffusion_model.input_blocks.0.0.weight") {
        return None;
    }
    Some(Foreign::kind(
        if has("down_blocks.") || has("encoder.layers.") || has("transformer_blocks.") {
            "one part of a diffusers snapshot, where the folder with model_index.json is wanted"
        } else {
            "not a checkpoint of Stable Diffusion or FLUX.2 in the original layout"
        },
    ))
}

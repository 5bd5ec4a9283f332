//! Recognizes models of other kinds (text-to-image, SDXL, LoRA files and so on), to name them in errors.

use serde_json::Value;

use crate::models::snapshot::{family::Family, ldm::LdmLayout};

/// Input channels of InstructPix2Pix's U-Net: noisy latents and image latents.
const IN_CHANNELS: u64 = 8;

/// The family of a pipeline, or what it is if its components are of none.
pub(super) fn family(index: &Value, class: &str) -> Result<Family, String> {
    let named = Family::ALL.into_iter().find(|it| it.class() == class);
    // Pipelines of other names that are made of the same components are the same model.
    let family = named.unwrap_or(Family::InstructPix2Pix);
    other_components(index, class, family).map_or(Ok(family), Err)
}

/// What a pipeline is, if its components are not those of a family.
fn other_components(index: &Value, class: &str, family: Family) -> Option<String> {
    let part = |name: &str| index.get(name)?.get(1)?.as_str();
    if let Some(transformer) = part("transformer") {
        return Some(format!("{class}, a diffusion transformer ({transformer})"));
    }
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

/// The kind of a U-Net that is not for instruction-based editing.
pub(super) fn unet(config: &Value) -> Option<String> {
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

/// The kind of a file whose keys are not those of Stable Diffusion 1.x and 2.x in the original layout.
pub(super) fn file(layout: &LdmLayout) -> Option<String> {
    let has = |text: &str| layout.shapes.keys().any(|it| it.contains(text));
    let kinds = [
        ("conditioner.embedders.", "a Stable Diffusion XL checkpoint"),
        ("double_blocks.", "a Flux checkpoint"),
        ("joint_blocks.", "a Stable Diffusion 3 checkpoint"),
        ("lora_", "a LoRA, not a whole model"),
        ("control_model.", "a ControlNet checkpoint"),
    ];
    if let Some((_, kind)) = kinds.iter().find(|(key, _)| has(key)) {
        return Some((*kind).to_owned());
    }
    if has("model.diffusion_model.input_blocks.0.0.weight") {
        return None;
    }
    Some(if has("down_blocks.") || has("encoder.layers.") {
        "one part of a diffusers snapshot, where the folder with model_index.json is wanted"
            .to_owned()
    } else {
        "not a Stable Diffusion checkpoint in the original layout".to_owned()
    })
}

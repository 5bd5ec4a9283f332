//! Recognizes the model that a LoRA was trained for, by its modules' names and widths, to name it in errors and in
//! `inspect`.

use crate::models::lora::{
    change::{Change, Shape},
    keys::{Module, Net},
};

/// Names that only one family's modules have, each with what that family is. The first that is found counts.
const MARKS: [(&str, &str); 15] = [
    ("double_stream_modulation", "FLUX.2"),
    ("attn_to_qkv_mlp_proj", "FLUX.2"),
    ("ff_context_linear_in", "FLUX.2"),
    ("joint_blocks", "Stable Diffusion 3"),
    ("img_mod_lin", "FLUX.1"),
    ("_ff_linear_in", "FLUX.2"),
    ("_proj_mlp", "FLUX.1"),
    ("img_mlp_net", "Qwen-Image"),
    ("txt_mlp_net", "Qwen-Image"),
    ("single_transformer_blocks", "FLUX.1 or FLUX.2"),
    (
        "attn_add_q_proj",
        "a diffusion transformer (FLUX.1, FLUX.2, Stable Diffusion 3 or Qwen-Image)",
    ),
    ("cross_attn_", "Wan"),
    ("attention_to_q", "Z-Image"),
    ("feed_forward_w", "Z-Image"),
    ("transformer_blocks_1_attn2", "Stable Diffusion XL"),
];

/// Rows of the fused first projection of a single block, three for each channel and the feed-forward's: in FLUX.2 the
/// latter is gated and six times the width.
const FUSED: &str = "linear1";

/// What it was trained for, in words; `None` if that can't be told.
pub(super) fn of(changes: &[(Module, Change)]) -> Option<&'static str> {
    let has = |mark: &str| changes.iter().any(|(module, _)| module.name.contains(mark));
    if changes.iter().any(|(module, _)| module.net == Net::OtherTextEncoder) {
        let is_xl = changes.iter().any(|(it, _)| it.net == Net::Denoiser) && !has("_blocks_0_img_");
        return Some(if is_xl { "Stable Diffusion XL" } else { "a model of two text encoders" });
    }
    let fused = || shapes(changes, FUSED).next();
    if has("double_blocks") || has("single_blocks") {
        let is_second = |it: Shape| it.rows == 9 * it.columns;
        return Some(match fused() {
            Some(shape) if is_second(shape) => "FLUX.2",
            Some(_) => "FLUX.1",
            None if has("img_mod_lin") => "FLUX.1",
            None => "FLUX.1 or FLUX.2",
        });
    }
    if let Some((_, family)) = MARKS.iter().find(|(mark, _)| has(mark)) {
        return Some(family);
    }
    // The width of the text that a U-Net's cross-attention reads.
    let text = shapes(changes, "attn2_to_k").chain(shapes(changes, "attn2_to_v")).next();
    match text.map(|it| it.columns) {
        Some(768) => Some("Stable Diffusion 1.x"),
        Some(1024) => Some("Stable Diffusion 2.x"),
        Some(2048) => Some("Stable Diffusion XL"),
        Some(_) => Some("Stable Diffusion of another width"),
        None if has("down_blocks_") || has("up_blocks_") || has("_blocks_") => {
            Some("Stable Diffusion")
        }
        None if has("text_model_") => Some("the text encoder of Stable Diffusion"),
        None => None,
    }
}

/// The shapes of changes of modules with this in their names.
fn shapes<'a>(changes: &'a [(Module, Change)], name: &'a str) -> impl Iterator<Item = Shape> + 'a {
    let named = changes.iter().filter(move |(module, _)| module.name.contains(name));
    named.filter_map(|(_, change)| change.shape())
}

//! The single file of FLUX.2 \[klein\] in its original layout (Black Forest Labs), mapped to diffusers' keys.
//!
//! It holds the transformer alone; the VAE is published in such a layout, too.
//!
//! Source: diffusers 0.42.1, `convert_flux2_transformer_checkpoint_to_diffusers` and `convert_flux2_to_diffusers.py`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::models::{
    snapshot::ldm,
    weights::{
        Checkpoint,
        error::WeightsError,
        file::{Stored, WeightsFile},
    },
};

/// What other programs put before the keys.
const PREFIX: &str = "model.diffusion_model.";

/// A tensor that every FLUX.2 has, and FLUX.1 has not: modulation is shared by all blocks.
const SHARED_MODULATION: &str = "double_stream_modulation_img.lin.weight";

/// The shapes in a transformer's file by key, without the prefix.
#[derive(Debug)]
pub(super) struct BflLayout {
    pub(super) shapes: BTreeMap<String, Vec<i64>>,
}

/// A VAE in the original layout, in a file of its own.
#[derive(Debug)]
pub(super) struct VaeFile {
    path: PathBuf,
    pub(super) shapes: BTreeMap<String, Vec<i64>>,
    pub(super) levels: usize,
}

// === impl BflLayout ===

impl BflLayout {
    /// The layout of a file with these tensors, if it is that of FLUX.2.
    pub(super) fn of(stored: &[Stored]) -> Option<Self> {
        let shapes = stored.iter().map(|it| (bare(&it.key).to_owned(), it.shape.clone()));
        let shapes: BTreeMap<_, _> = shapes.collect();
        shapes.contains_key(SHARED_MODULATION).then_some(Self { shapes })
    }

    /// Opens the transformer's weights, under diffusers' keys.
    pub(super) fn weights(path: &Path) -> Result<Checkpoint, WeightsError> {
        Checkpoint::open_renamed(path, |stored| {
            let key = bare(&stored.key).to_owned();
            renamed(&key, &stored).unwrap_or_else(|| vec![(stored.key.clone(), stored)])
        })
    }
}

// === impl VaeFile ===

impl VaeFile {
    /// Reads the header of a file.
    pub(super) fn open(path: &Path) -> Result<Self, WeightsError> {
        let (_, stored) = WeightsFile::open(path)?;
        let shapes: BTreeMap<_, _> = stored.into_iter().map(|it| (it.key, it.shape)).collect();
        let levels = (0..).take_while(|it| {
            shapes.contains_key(&format!("encoder.down.{it}.block.0.conv1.weight"))
        });
        let levels = levels.count();
        Ok(Self { path: path.to_owned(), shapes, levels })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the weights, under diffusers' keys.
    pub(super) fn weights(&self) -> Result<Checkpoint, WeightsError> {
        Checkpoint::open_renamed(&self.path, |stored| {
            let key = match stored.key.as_str() {
                // The statistics of the latents, and the convolutions around them, which diffusers keeps outside.
                key if key.starts_with("bn.") => Some(key.to_owned()),
                key => match key.split_once('.') {
                    Some(("encoder", it)) if it.starts_with("quant_conv.") => Some(it.to_owned()),
                    Some(("decoder", it)) if it.starts_with("post_quant_conv.") => {
                        Some(it.to_owned())
                    }
                    _ => ldm::vae_key(key, self.levels),
                },
            };
            vec![(key.unwrap_or_else(|| stored.key.clone()), stored)]
        })
    }
}

/// A key without the prefix of other programs.
fn bare(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap_or(key)
}

/// A tensor of the transformer under diffusers' keys, split where diffusers has several; `None` for an unknown one.
fn renamed(key: &str, stored: &Stored) -> Option<Vec<(String, Stored)>> {
    let whole = |key: String| Some(vec![(key, stored.clone())]);
    let segments: Vec<&str> = key.split('.').collect();
    match segments.as_slice() {
        ["img_in", it] => whole(format!("x_embedder.{it}")),
        ["txt_in", it] => whole(format!("context_embedder.{it}")),
        [input @ ("time_in" | "guidance_in"), layer, it] => {
            let embedder =
                if *input == "time_in" { "timestep_embedder" } else { "guidance_embedder" };
            let layer = match *layer {
                "in_layer" => "linear_1",
                "out_layer" => "linear_2",
                _ => return None,
            };
            whole(format!("time_guidance_embed.{embedder}.{layer}.{it}"))
        }
        [modulation, "lin", it] if modulation.contains("_modulation") => {
            whole(format!("{modulation}.linear.{it}"))
        }
        ["final_layer", "linear", it] => whole(format!("proj_out.{it}")),
        // Shift and scale here, scale and shift there.
        ["final_layer", "adaLN_modulation", "1", it] => {
            Some(vec![(format!("norm_out.linear.{it}"), stored.halves_swapped()?)])
        }
        ["double_blocks", block, stream, rest @ ..] => {
            let (stream, layer) = stream.split_once('_')?;
            double(&format!("transformer_blocks.{block}"), stream, layer, rest, stored)
        }
        ["single_blocks", block, rest @ ..] => {
            let layer = match rest {
                ["linear1", it] => format!("to_qkv_mlp_proj.{it}"),
                ["linear2", it] => format!("to_out.{it}"),
                ["norm", "query_norm", "scale"] => "norm_q.weight".to_owned(),
                ["norm", "key_norm", "scale"] => "norm_k.weight".to_owned(),
                _ => return None,
            };
            whole(format!("single_transformer_blocks.{block}.attn.{layer}"))
        }
        _ => None,
    }
}

/// A tensor of a block with two streams.
fn double(
    block: &str,
    stream: &str,
    layer: &str,
    rest: &[&str],
    stored: &Stored,
) -> Option<Vec<(String, Stored)>> {
    let is_image = match stream {
        "img" => true,
        "txt" => false,
        _ => return None,
    };
    let pick = |image: &'static str, text: &'static str| if is_image { image } else { text };
    let key = match (layer, rest) {
        ("attn", ["qkv", it]) => {
            let names = if is_image {
                ["to_q", "to_k", "to_v"]
            } else {
                ["add_q_proj", "add_k_proj", "add_v_proj"]
            };
            let split = (0..).zip(names).map(|(number, name)| {
                Some((format!("{block}.attn.{name}.{it}"), stored.slice(number, 3)?))
            });
            return split.collect();
        }
        ("attn", ["norm", "query_norm", "scale"]) => {
            format!("attn.{}.weight", pick("norm_q", "norm_added_q"))
        }
        ("attn", ["norm", "key_norm", "scale"]) => {
            format!("attn.{}.weight", pick("norm_k", "norm_added_k"))
        }
        ("attn", ["proj", it]) => format!("attn.{}.{it}", pick("to_out.0", "to_add_out")),
        ("mlp", ["0", it]) => format!("{}.linear_in.{it}", pick("ff", "ff_context")),
        ("mlp", ["2", it]) => format!("{}.linear_out.{it}", pick("ff", "ff_context")),
        _ => return None,
    };
    Some(vec![(format!("{block}.{key}"), stored.clone())])
}

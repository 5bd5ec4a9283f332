//! Single-file checkpoints in the original key layout (CompVis/latent-diffusion), mapped to diffusers' keys.

use std::{collections::BTreeMap, path::Path};

use crate::models::{
    snapshot::part::Part,
    weights::{Checkpoint, error::WeightsError, file::Stored},
};

/// Key prefix of the U-Net.
const UNET: &str = "model.diffusion_model.";

/// Key prefix of the VAE.
const VAE: &str = "first_stage_model.";

/// Key prefix of transformers' CLIP, in Stable Diffusion 1.x.
const CLIP: &str = "cond_stage_model.transformer.";

/// Key prefix of `OpenCLIP`, in Stable Diffusion 2.x.
const OPEN_CLIP: &str = "cond_stage_model.model.";

/// Key prefix of the U-Net's exponential moving average (EMA).
const EMA: &str = "model_ema.";

/// Tensors of `OpenCLIP` that the text encoder does not use.
const OPEN_CLIP_UNUSED: [&str; 3] = ["text_projection", "logit_scale", "attn_mask"];

/// The shapes in a file by stored key, and the sizes that renaming needs.
#[derive(Debug)]
pub(super) struct LdmLayout {
    pub(super) shapes: BTreeMap<String, Vec<i64>>,
    /// Residual blocks per down block of the U-Net.
    pub(super) unet_layers_per_block: usize,
    /// Number of levels of the VAE.
    pub(super) vae_levels: usize,
    /// Number of layers in `OpenCLIP`'s checkpoint, of which the last is not used.
    pub(super) open_clip_layers: usize,
}

impl LdmLayout {
    /// The layout of a file with these tensors.
    pub(super) fn of(stored: Vec<Stored>) -> Self {
        let shapes: BTreeMap<_, _> = stored.into_iter().map(|it| (it.key, it.shape)).collect();
        let has = |key: String| shapes.contains_key(&key);
        let input_blocks = (0..).take_while(|it| {
            let block = format!("{UNET}input_blocks.{it}.");
            shapes.range(block.clone()..).next().is_some_and(|(key, _)| key.starts_with(&block))
        });
        let input_blocks = input_blocks.count();
        let first_down =
            (1..input_blocks).find(|it| has(format!("{UNET}input_blocks.{it}.0.op.weight")));
        let vae_levels =
            (0..).take_while(|it| has(format!("{VAE}encoder.down.{it}.block.0.conv1.weight")));
        let open_clip_layers = (0..)
            .take_while(|it| has(format!("{OPEN_CLIP}transformer.resblocks.{it}.ln_1.weight")));
        let (vae_levels, open_clip_layers) = (vae_levels.count(), open_clip_layers.count());
        let unet_layers_per_block = first_down.unwrap_or(input_blocks).saturating_sub(1);
        Self { shapes, unet_layers_per_block, vae_levels, open_clip_layers }
    }

    /// Opens the weights of one network, under diffusers' keys.
    pub(super) fn weights(&self, path: &Path, part: Part) -> Result<Checkpoint, WeightsError> {
        Checkpoint::open_renamed(path, |stored| match part {
            Part::UNet => renamed(stored, UNET, |key| self.unet_key(key)),
            Part::Vae => renamed(stored, VAE, |key| vae_key(key, self.vae_levels)),
            Part::Transformer => Vec::new(),
            Part::TextEncoder if self.is_open_clip() => self.open_clip(stored),
            Part::TextEncoder => renamed(stored, CLIP, |key| Some(key.to_owned())),
        })
    }

    /// Whether the text encoder is `OpenCLIP`'s, so the model is Stable Diffusion 2.x.
    pub(super) fn is_open_clip(&self) -> bool {
        self.open_clip_layers > 0
    }

    /// The shape of a U-Net tensor, by its diffusers key.
    pub(super) fn unet(&self, key: &str) -> Option<&[i64]> {
        self.shapes.get(&format!("{UNET}{key}")).map(Vec::as_slice)
    }

    pub(super) fn vae(&self, key: &str) -> Option<&[i64]> {
        self.shapes.get(&format!("{VAE}{key}")).map(Vec::as_slice)
    }

    /// The shape of a text encoder tensor; older files have an additional prefix.
    pub(super) fn text(&self, key: &str) -> Option<&[i64]> {
        let keys = [
            format!("{CLIP}text_model.{key}"),
            format!("{CLIP}{key}"),
            format!("{OPEN_CLIP}{key}"),
        ];
        keys.iter().find_map(|it| self.shapes.get(it)).map(Vec::as_slice)
    }

    /// Number of tensors of the EMA U-Net.
    pub(super) fn ema_tensors(&self) -> usize {
        self.shapes.keys().filter(|it| it.starts_with(EMA)).count()
    }

    /// Keys that belong to no network: buffers of the noise schedule, and other saved state.
    pub(super) fn others(&self) -> Vec<String> {
        let known = [UNET, VAE, CLIP, OPEN_CLIP, EMA];
        self.shapes
            .keys()
            .filter(|key| !known.iter().any(|it| key.starts_with(it)))
            .cloned()
            .collect()
    }

    fn unet_key(&self, key: &str) -> Option<String> {
        let per_level = self.unet_layers_per_block + 1;
        let segments: Vec<&str> = key.splitn(4, '.').collect();
        Some(match segments.as_slice() {
            ["time_embed", "0", it] => format!("time_embedding.linear_1.{it}"),
            ["time_embed", "2", it] => format!("time_embedding.linear_2.{it}"),
            ["input_blocks", "0", "0", it] => format!("conv_in.{it}"),
            ["out", "0", it] => format!("conv_norm_out.{it}"),
            ["out", "2", it] => format!("conv_out.{it}"),
            ["middle_block", "0", ..] => format!("mid_block.resnets.0.{}", resnet(&key[15..])),
            ["middle_block", "1", ..] => format!("mid_block.attentions.0.{}", &key[15..]),
            ["middle_block", "2", ..] => format!("mid_block.resnets.1.{}", resnet(&key[15..])),
            [way @ ("input_blocks" | "output_blocks"), block, layer, rest] => {
                let down = *way == "input_blocks";
                let place = block.parse::<usize>().ok()?.checked_sub(usize::from(down))?;
                let (level, number) = (place / per_level, place % per_level);
                let level = format!("{}_blocks.{level}", if down { "down" } else { "up" });
                match (*layer, rest.split_once('.')) {
                    ("0", Some(("op", it))) => format!("{level}.downsamplers.0.conv.{it}"),
                    ("0", _) => format!("{level}.resnets.{number}.{}", resnet(rest)),
                    (_, Some(("conv", it))) => format!("{level}.upsamplers.0.conv.{it}"),
                    _ => format!("{level}.attentions.{number}.{rest}"),
                }
            }
            _ => return None,
        })
    }

    /// `OpenCLIP`'s tensors under transformers' keys: query, key and value are one tensor there, and the last layer is
    /// dropped, since Stable Diffusion 2.x uses the hidden states before it.
    fn open_clip(&self, stored: Stored) -> Vec<(String, Stored)> {
        let Some(key) = stored.key.strip_prefix(OPEN_CLIP) else { return Vec::new() };
        if OPEN_CLIP_UNUSED.contains(&key) {
            return Vec::new();
        }
        let new = match key {
            "positional_embedding" => "embeddings.position_embedding.weight".to_owned(),
            "token_embedding.weight" => "embeddings.token_embedding.weight".to_owned(),
            _ => {
                let segments: Vec<&str> = key.splitn(4, '.').collect();
                let ["transformer", "resblocks", layer, rest] = segments.as_slice() else {
                    let key = key.replace("ln_final", "final_layer_norm");
                    return vec![(key, stored)];
                };
                if layer.parse() == Ok(self.open_clip_layers - 1) {
                    return Vec::new();
                }
                let layer = format!("encoder.layers.{layer}");
                if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
                    let names = ["q_proj", "k_proj", "v_proj"];
                    let split = names.iter().enumerate().map(|(number, name)| {
                        let slice = stored.slice(number as u64, names.len() as u64)?;
                        Some((format!("{layer}.self_attn.{name}.{kind}"), slice))
                    });
                    return split
                        .collect::<Option<_>>()
                        .unwrap_or_else(|| vec![(key.to_owned(), stored.clone())]);
                }
                let names = [
                    ("ln_1", "layer_norm1"),
                    ("ln_2", "layer_norm2"),
                    ("c_fc", "fc1"),
                    ("c_proj", "fc2"),
                    ("attn", "self_attn"),
                ];
                let rest = rest
                    .split('.')
                    .map(|it| names.iter().find(|(old, _)| *old == it).map_or(it, |new| new.1));
                format!("{layer}.{}", rest.collect::<Vec<_>>().join("."))
            }
        };
        vec![(new, stored)]
    }
}

/// A tensor of the network with this prefix; one that `rename` does not know keeps its own key, and so is reported as
/// unused.
fn renamed(
    stored: Stored,
    prefix: &str,
    rename: impl Fn(&str) -> Option<String>,
) -> Vec<(String, Stored)> {
    let Some(key) = stored.key.strip_prefix(prefix) else { return Vec::new() };
    vec![(rename(key).unwrap_or_else(|| stored.key.clone()), stored)]
}

/// The diffusers key of a VAE with this many levels.
pub(super) fn vae_key(key: &str, levels: usize) -> Option<String> {
    let (way, rest) = key.split_once('.')?;
    let segments: Vec<&str> = rest.splitn(4, '.').collect();
    let new = match segments.as_slice() {
        ["norm_out", it] => format!("conv_norm_out.{it}"),
        ["mid", "block_1", ..] => format!("mid_block.resnets.0.{}", shortcut(&rest[12..])),
        ["mid", "block_2", ..] => format!("mid_block.resnets.1.{}", shortcut(&rest[12..])),
        ["mid", "attn_1", layer, it] => {
            let layer = match *layer {
                "norm" => "group_norm",
                "q" => "to_q",
                "k" => "to_k",
                "v" => "to_v",
                "proj_out" => "to_out.0",
                _ => return None,
            };
            format!("mid_block.attentions.0.{layer}.{it}")
        }
        ["down", level, "block", it] => format!("down_blocks.{level}.resnets.{}", shortcut(it)),
        ["down", level, "downsample", it] => format!("down_blocks.{level}.downsamplers.0.{it}"),
        ["up", level, kind, it] => {
            // The original numbers the way up as it numbers the way down.
            let level = levels.checked_sub(1 + level.parse::<usize>().ok()?)?;
            match *kind {
                "block" => format!("up_blocks.{level}.resnets.{}", shortcut(it)),
                "upsample" => format!("up_blocks.{level}.upsamplers.0.{it}"),
                _ => return None,
            }
        }
        // The first and last convolutions, and those around the latent.
        _ => rest.to_owned(),
    };
    Some(format!("{way}.{new}"))
}

/// A key within the U-Net's residual block.
fn resnet(key: &str) -> String {
    let names = [
        ("in_layers.0.", "norm1."),
        ("in_layers.2.", "conv1."),
        ("emb_layers.1.", "time_emb_proj."),
        ("out_layers.0.", "norm2."),
        ("out_layers.3.", "conv2."),
        ("skip_connection.", "conv_shortcut."),
    ];
    let found =
        names.iter().find_map(|(old, new)| Some(format!("{new}{}", key.strip_prefix(old)?)));
    found.unwrap_or_else(|| key.to_owned())
}

/// A key within the VAE's residual block.
fn shortcut(key: &str) -> String {
    key.replace("nin_shortcut", "conv_shortcut")
}

//! The configuration of [`UNet2DConditionModel`], and the sites of its attention layers.
//!
//! Source: diffusers 0.42.1, `models/unets/unet_2d_condition.py`, `UNet2DConditionModel.__init__`.
//!
//! [`UNet2DConditionModel`]: crate::models::stable_diffusion::unet_2d_condition::UNet2DConditionModel

use crate::attention::site::{AttnSite, Keys, Stage};
use crate::config_json::{ConfigJson, ConfigJsonError};

/// The kind of a block of the down or up path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockType {
    /// Residual blocks only: `DownBlock2D`, `UpBlock2D`.
    Plain,
    /// Residual blocks and transformers: `CrossAttnDownBlock2D`, `CrossAttnUpBlock2D`.
    CrossAttn,
}

/// Configuration of the U-Net, under diffusers' names; lists have one entry per level, finest first, except
/// `up_block_types`, which begins with the coarsest.
#[derive(Debug, Clone, PartialEq)]
pub struct UNet2DConditionConfig {
    /// Height and width of the latents that the model was trained on, in cells.
    pub sample_size: Option<(i64, i64)>,
    /// Channels of the input: 8 in InstructPix2Pix, noisy latents and image latents.
    pub in_channels: i64,
    /// Channels of the predicted noise.
    pub out_channels: i64,
    /// Whether the input is first mapped from 0..1 to −1..1.
    pub center_input_sample: bool,
    /// Whether the timestep's cosines come before its sines.
    pub flip_sin_to_cos: bool,
    /// Subtracted from half the timestep embedding's width in the frequencies' denominator.
    pub freq_shift: f64,
    /// The blocks of the down path.
    pub down_block_types: Vec<BlockType>,
    /// The blocks of the up path, in execution order.
    pub up_block_types: Vec<BlockType>,
    /// Channels of each level.
    pub block_out_channels: Vec<i64>,
    /// Residual blocks of each level's down block; its up block has one more.
    pub layers_per_block: Vec<i64>,
    /// Transformer blocks in each transformer of a level.
    pub transformer_layers_per_block: Vec<i64>,
    /// Attention heads of each level (config.json calls them `attention_head_dim`).
    pub num_attention_heads: Vec<i64>,
    /// Width of the prompt's hidden states.
    pub cross_attention_dim: i64,
    /// Padding of the downsampling convolutions: 1 rounds up, 0 down.
    pub downsample_padding: i64,
    /// Groups of the group norms.
    pub norm_num_groups: i64,
    /// Epsilon of the residual blocks' group norms.
    pub norm_eps: f64,
    /// Whether the transformers' projections are stored as linear layers.
    pub use_linear_projection: bool,
}

// === impl UNet2DConditionConfig ===

impl UNet2DConditionConfig {
    /// Reads the text of `unet/config.json`.
    ///
    /// # Errors
    /// [`ConfigJsonError`], naming the key, if a value is malformed or of an architecture other than Stable Diffusion
    /// 1.x and 2.x.
    pub fn from_json(text: &str) -> Result<Self, ConfigJsonError> {
        let json = ConfigJson::of_class("UNet2DConditionModel", text)?;
        for (key, supported) in SUPPORTED {
            json.only(key, supported)?;
        }
        json.silu("act_fn")?;

        let block_out_channels = json.ints("block_out_channels", &[320, 640, 1280, 1280])?;
        let levels = block_out_channels.len();
        let config = Self {
            sample_size: json.size("sample_size", None)?,
            in_channels: json.int("in_channels", 4, 1)?,
            out_channels: json.int("out_channels", 4, 1)?,
            center_input_sample: json.flag("center_input_sample", false)?,
            flip_sin_to_cos: json.flag("flip_sin_to_cos", true)?,
            freq_shift: json.number("freq_shift", 0.0)?,
            down_block_types: block_types(
                &json,
                "down_block_types",
                DOWN_BLOCK_TYPES,
                [1, 1, 1, 0],
                levels,
            )?,
            up_block_types: block_types(
                &json,
                "up_block_types",
                UP_BLOCK_TYPES,
                [0, 1, 1, 1],
                levels,
            )?,
            layers_per_block: json.per_block("layers_per_block", 2, levels)?,
            transformer_layers_per_block: json.per_block(
                "transformer_layers_per_block",
                1,
                levels,
            )?,
            num_attention_heads: json.per_block("attention_head_dim", 8, levels)?,
            cross_attention_dim: json.int("cross_attention_dim", 1280, 1)?,
            downsample_padding: json.int("downsample_padding", 1, 0)?,
            norm_num_groups: json.int("norm_num_groups", 32, 1)?,
            norm_eps: json.number("norm_eps", 1e-5)?,
            use_linear_projection: json.flag("use_linear_projection", false)?,
            block_out_channels,
        };
        config.check(&json)?;
        Ok(config)
    }

    /// Refuses inconsistent sizes.
    fn check(&self, json: &ConfigJson) -> Result<(), ConfigJsonError> {
        let groups = self.norm_num_groups;
        if self.block_out_channels.iter().any(|channels| channels % groups != 0) {
            return Err(json
                .fault("block_out_channels", format!("multiples of `norm_num_groups`, {groups}")));
        }
        if self.block_out_channels[0] % 2 != 0 {
            return Err(json.fault(
                "block_out_channels",
                "an even number first, for the timestep's sines and cosines",
            ));
        }
        let mut heads = self.block_out_channels.iter().zip(&self.num_attention_heads);
        if heads.any(|(channels, heads)| channels % heads != 0) {
            return Err(json
                .fault("attention_head_dim", "numbers of heads that divide `block_out_channels`"));
        }
        if self.downsample_padding > 1 {
            return Err(json.fault("downsample_padding", "0 or 1"));
        }
        if self.freq_shift >= (self.block_out_channels[0] / 2) as f64 {
            return Err(
                json.fault("freq_shift", "less than half of the first of `block_out_channels`")
            );
        }
        Ok(())
    }

    /// Number of levels; each halves height and width of the one before.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// The level of the up path's block `block`; the first is the coarsest.
    pub fn up_level(&self, block: usize) -> usize {
        self.levels() - 1 - block
    }

    /// All attention layers in execution order, with their resolutions for a latent of this height and width.
    pub fn sites(&self, latent_height: i64, latent_width: i64) -> Vec<AttnSite> {
        let halve =
            |side: i64| if self.downsample_padding == 0 { side / 2 } else { side - side / 2 };
        let mut sizes = vec![(latent_height, latent_width)];
        for level in 1..self.levels() {
            let (height, width) = sizes[level - 1];
            sizes.push((halve(height), halve(width)));
        }

        let mut sites = Vec::new();
        let mut push = |stage, block, level: usize, attentions: i64| {
            let (height, width) = sizes[level];
            for attention in 0..attentions as usize {
                for transformer in 0..self.transformer_layers_per_block[level] as usize {
                    for keys in [Keys::Image, Keys::Text] {
                        sites.push(AttnSite {
                            stage,
                            block,
                            attention,
                            transformer,
                            keys,
                            level: Some(level),
                            height,
                            width,
                        });
                    }
                }
            }
        };
        for (level, kind) in self.down_block_types.iter().enumerate() {
            if *kind == BlockType::CrossAttn {
                push(Stage::Down, level, level, self.layers_per_block[level]);
            }
        }
        push(Stage::Mid, 0, self.levels() - 1, 1);
        for (block, kind) in self.up_block_types.iter().enumerate() {
            let level = self.up_level(block);
            if *kind == BlockType::CrossAttn {
                push(Stage::Up, block, level, self.layers_per_block[level] + 1);
            }
        }
        sites
    }
}

/// Names of the down path's blocks: plain, with attention.
const DOWN_BLOCK_TYPES: [&str; 2] = ["DownBlock2D", "CrossAttnDownBlock2D"];
/// Names of the up path's blocks: plain, with attention.
const UP_BLOCK_TYPES: [&str; 2] = ["UpBlock2D", "CrossAttnUpBlock2D"];

/// Keys that only other architectures set, with the JSON value of Stable Diffusion 1.x and 2.x.
///
/// Like diffusers, this refuses `num_attention_heads`: by a historical misnomer, `attention_head_dim` is the number of
/// heads.
const SUPPORTED: [(&str, &str); 22] = [
    ("mid_block_type", "\"UNetMidBlock2DCrossAttn\""),
    ("num_attention_heads", "null"),
    ("only_cross_attention", "false"),
    ("dual_cross_attention", "false"),
    ("cross_attention_norm", "null"),
    ("attention_type", "\"default\""),
    ("reverse_transformer_layers_per_block", "null"),
    ("encoder_hid_dim", "null"),
    ("encoder_hid_dim_type", "null"),
    ("class_embed_type", "null"),
    ("num_class_embeds", "null"),
    ("class_embeddings_concat", "false"),
    ("addition_embed_type", "null"),
    ("time_embedding_type", "\"positional\""),
    ("time_embedding_dim", "null"),
    ("time_embedding_act_fn", "null"),
    ("timestep_post_act", "null"),
    ("time_cond_proj_dim", "null"),
    ("resnet_time_scale_shift", "\"default\""),
    ("conv_in_kernel", "3"),
    ("conv_out_kernel", "3"),
    ("mid_block_scale_factor", "1"),
];

/// The types of one path's blocks, one for each level.
fn block_types(
    json: &ConfigJson,
    key: &'static str,
    names: [&str; 2],
    default: [usize; 4],
    levels: usize,
) -> Result<Vec<BlockType>, ConfigJsonError> {
    let [plain, cross_attn] = names;
    let block_types: Option<Vec<_>> = json
        .texts(key, &default.map(|index| names[index]))?
        .iter()
        .map(|name| match name.as_str() {
            name if name == plain => Some(BlockType::Plain),
            name if name == cross_attn => Some(BlockType::CrossAttn),
            _ => None,
        })
        .collect();
    let expected = || {
        format!(
            "{levels} of \"{plain}\" and \"{cross_attn}\", one for each of `block_out_channels`"
        )
    };
    block_types.filter(|types| types.len() == levels).ok_or_else(|| json.fault(key, expected()))
}

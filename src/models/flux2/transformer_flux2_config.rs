//! The configuration of [`Flux2Transformer2DModel`], and the sites of its attention layers.
//!
//! Source: diffusers 0.42.1, `models/transformers/transformer_flux2.py`, `Flux2Transformer2DModel.__init__`.
//!
//! [`Flux2Transformer2DModel`]: crate::models::flux2::transformer_flux2::Flux2Transformer2DModel

use crate::attention::site::{AttnSite, Keys, Span, Stage};
use crate::config_json::{ConfigJson, ConfigJsonError};

/// Configuration of the transformer, under diffusers' names.
#[derive(Debug, Clone, PartialEq)]
pub struct Flux2Transformer2DConfig {
    /// Channels of a cell of the latents.
    pub in_channels: i64,
    /// Blocks with weights of their own for prompt and image.
    pub num_layers: usize,
    /// Blocks with the same weights for both.
    pub num_single_layers: usize,
    /// Channels of a head.
    pub attention_head_dim: i64,
    /// Attention heads.
    pub num_attention_heads: i64,
    /// Width of the prompt's hidden states.
    pub joint_attention_dim: i64,
    /// Sinusoids of a timestep.
    pub timestep_guidance_channels: i64,
    /// Ratio of the feed-forward networks' hidden width to the transformer's.
    pub mlp_ratio: f64,
    /// Channels of a head that the rotary embedding turns by each of a token's four coordinates.
    pub axes_dims_rope: Vec<i64>,
    /// Base of its periods.
    pub rope_theta: f64,
    /// Epsilon of all norms.
    pub eps: f64,
}

/// What tokens a call's sequence is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequenceShape {
    /// Tokens of the prompt.
    pub tokens: i64,
    /// How many of them, from the first, are the same for every prompt.
    pub shared: i64,
    /// Rows of the latents' cells.
    pub height: i64,
    /// Columns of the latents' cells.
    pub width: i64,
    /// Pictures that are edited, of the latents' size each.
    pub references: i64,
}

// === impl Flux2Transformer2DConfig ===

impl Flux2Transformer2DConfig {
    /// Reads the text of `transformer/config.json`.
    ///
    /// # Errors
    /// [`ConfigJsonError`], naming the key, if a value is malformed or of a model that is told its guidance scale.
    pub fn from_json(text: &str) -> Result<Self, ConfigJsonError> {
        let json = ConfigJson::of_class("Flux2Transformer2DModel", text)?.without_nulls();
        json.only("patch_size", "1")?;
        if json.flag("guidance_embeds", true)? {
            return Err(json.fault("guidance_embeds", "false, as in FLUX.2-klein"));
        }
        let above = |it: f64| it > 0.0;
        let config = Self {
            in_channels: json.int("in_channels", 128, 4)?,
            num_layers: json.int("num_layers", 8, 1)? as usize,
            num_single_layers: json.int("num_single_layers", 48, 1)? as usize,
            attention_head_dim: json.int("attention_head_dim", 128, 1)?,
            num_attention_heads: json.int("num_attention_heads", 48, 1)?,
            joint_attention_dim: json.int("joint_attention_dim", 15360, 1)?,
            timestep_guidance_channels: json.int("timestep_guidance_channels", 256, 2)?,
            mlp_ratio: json.number_in("mlp_ratio", 3.0, "a number above 0", above)?,
            axes_dims_rope: json.ints("axes_dims_rope", &[32; 4])?,
            rope_theta: json.number_in("rope_theta", 2000.0, "a number above 0", above)?,
            eps: json.number_in("eps", 1e-6, "a number above 0", above)?,
        };
        let out_channels = json.int("out_channels", config.in_channels, 1)?;
        if out_channels != config.in_channels {
            return Err(json.fault("out_channels", format!("{}, as in", config.in_channels)));
        }
        let axes = &config.axes_dims_rope;
        let turned: i64 = axes.iter().sum();
        let is_even = axes.len() == 4 && axes.iter().all(|it| it % 2 == 0);
        if !is_even || turned != config.attention_head_dim {
            let head = config.attention_head_dim;
            let expected = format!("four even numbers with the sum `attention_head_dim`, {head}");
            return Err(json.fault("axes_dims_rope", expected));
        }
        if config.timestep_guidance_channels % 2 != 0 {
            return Err(json.fault("timestep_guidance_channels", "an even number"));
        }
        Ok(config)
    }

    /// Width of the hidden states.
    pub fn inner_dim(&self) -> i64 {
        self.num_attention_heads * self.attention_head_dim
    }

    /// Hidden width of the feed-forward networks.
    pub fn mlp_hidden_dim(&self) -> i64 {
        (self.inner_dim() as f64 * self.mlp_ratio) as i64
    }

    /// All attention layers in a call on such a sequence, in execution order.
    pub fn sites(&self, shape: SequenceShape) -> Vec<AttnSite> {
        let double = (0..self.num_layers).map(|block| shape.site(Stage::Double, block));
        let single = (0..self.num_single_layers).map(|block| shape.site(Stage::Single, block));
        double.chain(single).collect()
    }
}

// === impl SequenceShape ===

impl SequenceShape {
    /// Cells of the latents.
    pub fn cells(self) -> i64 {
        self.height * self.width
    }

    /// The attention layer of a block.
    pub fn site(self, stage: Stage, block: usize) -> AttnSite {
        let Self { tokens, shared, height, width, references } = self;
        let cells = self.cells();
        let keys = Keys::Joint {
            text: Span::first(tokens),
            shared,
            latents: Span { start: tokens, length: cells },
            references: Span { start: tokens + cells, length: references * cells },
        };
        AttnSite { stage, block, attention: 0, transformer: 0, keys, level: None, height, width }
    }
}

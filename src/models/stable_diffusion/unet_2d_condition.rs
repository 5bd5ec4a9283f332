//! The U-Net: predicts noise from noisy latents, a timestep and a prompt.
//!
//! Source: diffusers 0.42.1, `models/unets/unet_2d_condition.py`, `UNet2DConditionModel`.

use tch::{Tensor, no_grad};

use crate::attention::{
    processor::AttnProcessor,
    role::Role,
    site::{AttnSite, Keys, Stage},
};
use crate::models::{
    layers::{Conv2d, GroupNorm, channels_last},
    stable_diffusion::{
        attention::AttnContext,
        embeddings::{TimestepEmbedding, Timesteps},
        resnet::ResnetConfig,
        transformer_2d::Transformer2DConfig,
        unet_2d_blocks::{BlockConfig, DownBlock2D, UNetMidBlock2DCrossAttn, UpBlock2D},
        unet_2d_condition_config::{BlockType, UNet2DConditionConfig},
    },
    weights::VarPath,
};

/// The U-Net of Stable Diffusion 1.x and 2.x.
#[derive(Debug)]
pub struct UNet2DConditionModel {
    config: UNet2DConditionConfig,
    time_proj: Timesteps,
    time_embedding: TimestepEmbedding,
    conv_in: Conv2d,
    down_blocks: Vec<DownBlock2D>,
    mid_block: UNetMidBlock2DCrossAttn,
    up_blocks: Vec<UpBlock2D>,
    conv_norm_out: GroupNorm,
    conv_out: Conv2d,
}

/// State of a U-Net call between two stages.
///
/// [`UNet2DConditionModel::forward`] runs the stages in order; each is a method, so that tests can inspect the states.
#[derive(Debug)]
pub struct UNetState {
    /// The hidden states after the last stage, (N, C, h, w).
    pub sample: Tensor,
    /// `SiLU` of the time embedding, (N, 4·C₀), the input of each residual block.
    pub emb: Tensor,
    /// The skip connections not yet used by the up path, (N, C, h, w) each.
    pub residuals: Vec<Tensor>,
}

// === impl UNet2DConditionModel ===

impl UNet2DConditionModel {
    /// Loads the U-Net.
    pub fn new(vs: &VarPath<'_>, config: &UNet2DConditionConfig) -> Self {
        let channels = &config.block_out_channels;
        let (first, last) = (channels[0], channels[config.levels() - 1]);
        let time_embed_dim = 4 * first;

        let down_blocks = (0..config.levels()).map(|level| {
            let in_channels = channels[level.saturating_sub(1)];
            let block = block_config(config, Stage::Down, level, in_channels);
            DownBlock2D::new(&(vs / "down_blocks" / level), &block, config.downsample_padding)
        });
        let mid_block = block_config(config, Stage::Mid, 0, last);
        let up_blocks = (0..config.levels()).map(|block| {
            let level = config.up_level(block);
            let prev_output_channels = if block == 0 { last } else { channels[level + 1] };
            let config = block_config(config, Stage::Up, block, prev_output_channels);
            UpBlock2D::new(&(vs / "up_blocks" / block), &config, channels[level.saturating_sub(1)])
        });

        Self {
            time_proj: Timesteps {
                channels: first,
                flip_sin_to_cos: config.flip_sin_to_cos,
                freq_shift: config.freq_shift,
            },
            time_embedding: TimestepEmbedding::new(&(vs / "time_embedding"), first, time_embed_dim),
            conv_in: Conv2d::new(&(vs / "conv_in"), config.in_channels, first, 3),
            down_blocks: down_blocks.collect(),
            mid_block: UNetMidBlock2DCrossAttn::new(&(vs / "mid_block"), &mid_block),
            up_blocks: up_blocks.collect(),
            conv_norm_out: GroupNorm::new(
                &(vs / "conv_norm_out"),
                config.norm_num_groups,
                first,
                config.norm_eps,
            ),
            conv_out: Conv2d::new(&(vs / "conv_out"), first, config.out_channels, 3),
            config: config.clone(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &UNet2DConditionConfig {
        &self.config
    }

    /// All attention layers, with their resolutions for a latent of this height and width.
    pub fn sites(&self, latent_height: i64, latent_width: i64) -> Vec<AttnSite> {
        self.config.sites(latent_height, latent_width)
    }

    /// Predicts the noise (or velocity) of each row, (N, out, h, w).
    ///
    /// `sample` is (N, in, h, w) and `encoder_hidden_states` (N, K, E), both of the weights' kind and device;
    /// `timesteps` is (N,) of any kind; `roles` says what each row is. Keys and values of the last prompts are kept.
    ///
    /// # Panics
    /// If the shapes do not fit each other, or `roles` has not one entry for each row.
    pub fn forward(
        &self,
        sample: &Tensor,
        timesteps: &Tensor,
        encoder_hidden_states: &Tensor,
        roles: &[Role],
        processor: &mut dyn AttnProcessor,
    ) -> Tensor {
        assert_eq!(roles.len() as i64, sample.size()[0], "each row of a batch has a role");
        no_grad(|| {
            let mut context = AttnContext { encoder_hidden_states, roles, processor };
            // 1. and 2. time, pre-process
            let mut state = self.pre_process(sample, timesteps);
            // 3. down
            for block in 0..self.down_blocks.len() {
                state = self.down(block, state, &mut context);
            }
            // 4. mid
            state = self.mid(state, &mut context);
            // 5. up
            for block in 0..self.up_blocks.len() {
                state = self.up(block, state, &mut context);
            }
            // 6. post-process
            self.post_process(&state)
        })
    }

    /// Embeds the timesteps, and applies the first convolution to the sample.
    pub fn pre_process(&self, sample: &Tensor, timesteps: &Tensor) -> UNetState {
        // 1. time: sinusoids in fp32, then the kind of the sample
        let t_emb = self.time_proj.forward(timesteps).to_kind(sample.kind()); // (N, C₀)
        let emb = self.time_embedding.forward(&t_emb).silu_(); // (N, 4·C₀)

        // 2. pre-process
        let sample = if self.config.center_input_sample {
            self.conv_in.forward(&channels_last(&(sample * 2.0 - 1.0)))
        } else {
            self.conv_in.forward(&channels_last(sample))
        }; // (N, C₀, h, w)
        UNetState { residuals: vec![sample.shallow_clone()], sample, emb }
    }

    /// Runs one block of the down path.
    pub fn down(&self, block: usize, state: UNetState, context: &mut AttnContext<'_>) -> UNetState {
        let UNetState { sample, emb, mut residuals } = state;
        let sample = self.down_blocks[block].forward(sample, &emb, context, &mut residuals);
        UNetState { sample, emb, residuals }
    }

    /// Runs the middle block.
    pub fn mid(&self, state: UNetState, context: &mut AttnContext<'_>) -> UNetState {
        let sample = self.mid_block.forward(&state.sample, &state.emb, context);
        UNetState { sample, ..state }
    }

    /// Runs one block of the up path.
    pub fn up(&self, block: usize, state: UNetState, context: &mut AttnContext<'_>) -> UNetState {
        let UNetState { sample, emb, mut residuals } = state;
        let sample = self.up_blocks[block].forward(sample, &emb, context, &mut residuals);
        UNetState { sample, emb, residuals }
    }

    /// Applies the last norm and convolution.
    pub fn post_process(&self, state: &UNetState) -> Tensor {
        self.conv_out.forward(&self.conv_norm_out.forward_silu(&state.sample))
    }
}

/// Configuration of one block; `in_channels` is the number of channels from the block before.
fn block_config(
    config: &UNet2DConditionConfig,
    stage: Stage,
    block: usize,
    in_channels: i64,
) -> BlockConfig {
    let last = config.levels() - 1;
    let (level, block_type, layers) = match stage {
        Stage::Mid => (last, BlockType::CrossAttn, 1),
        Stage::Up => {
            let level = config.up_level(block);
            (level, config.up_block_types[block], config.layers_per_block[level] + 1)
        }
        // The down path: a U-Net has no other stages.
        _ => (block, config.down_block_types[block], config.layers_per_block[block]),
    };
    let channels = config.block_out_channels[level];
    BlockConfig {
        site: AttnSite {
            stage,
            block,
            attention: 0,
            transformer: 0,
            keys: Keys::Image,
            level: Some(level),
            height: 0,
            width: 0,
        },
        layers,
        resnet: ResnetConfig {
            in_channels,
            out_channels: channels,
            temb_channels: Some(4 * config.block_out_channels[0]),
            groups: config.norm_num_groups,
            eps: config.norm_eps,
        },
        transformer: (block_type == BlockType::CrossAttn).then(|| Transformer2DConfig {
            channels,
            heads: config.num_attention_heads[level],
            layers: config.transformer_layers_per_block[level],
            cross_attention_dim: config.cross_attention_dim,
            norm_num_groups: config.norm_num_groups,
            use_linear_projection: config.use_linear_projection,
        }),
        resample: block != last,
    }
}

//! The transformer: predicts the velocity of noisy latents from a timestep, a prompt and the pictures that are edited.
//!
//! Source: diffusers 0.42.1, `models/transformers/transformer_flux2.py`, `Flux2Transformer2DModel`.

use std::slice;

use tch::{Tensor, no_grad};

use crate::attention::{processor::AttnProcessor, role::Role, site::AttnSite};
use crate::models::{
    flux2::{
        attention::JointContext,
        blocks::{DoubleModulation, SingleTransformerBlock, TransformerBlock},
        embeddings::{Modulated, Modulation, TimestepGuidanceEmbeddings, layer_norm, rotary},
        transformer_flux2_config::{Flux2Transformer2DConfig, SequenceShape},
    },
    layers::Linear,
    weights::VarPath,
};

/// The transformer of FLUX.2.
#[derive(Debug)]
pub struct Flux2Transformer2DModel {
    config: Flux2Transformer2DConfig,
    time_guidance_embed: TimestepGuidanceEmbeddings,
    double_stream_modulation_img: Modulation,
    double_stream_modulation_txt: Modulation,
    single_stream_modulation: Modulation,
    x_embedder: Linear,
    context_embedder: Linear,
    transformer_blocks: Vec<TransformerBlock>,
    single_transformer_blocks: Vec<SingleTransformerBlock>,
    norm_out: Linear,
    proj_out: Linear,
}

/// Inputs of one call.
#[derive(Debug)]
pub struct Flux2Call<'a> {
    /// Noisy latents, (N, C, h, w).
    pub latents: &'a Tensor,
    /// The latents of the pictures that are edited, (N, R, C, h, w).
    pub references: &'a Tensor,
    /// (N,), of any kind: 1000 times the noise level.
    pub timesteps: &'a Tensor,
    /// Hidden states of the prompts, (N, T, E).
    pub prompts: &'a Tensor,
    /// How many of their tokens, from the first, are the same for every prompt.
    pub shared: i64,
}

/// What a call begins with.
#[derive(Debug)]
struct Flux2State {
    /// Hidden states of the prompt's tokens, (N, T, C), and of the cells, (N, I, C).
    streams: [Tensor; 2],
    modulation: DoubleModulation,
    single: Vec<Modulated>,
    /// `SiLU` of the timestep's embedding, (N, C).
    temb: Tensor,
}

// === impl Flux2Transformer2DModel ===

impl Flux2Transformer2DModel {
    /// Loads the transformer.
    pub fn new(vs: &VarPath<'_>, config: &Flux2Transformer2DConfig) -> Self {
        let inner = config.inner_dim();
        let modulation = |name: &str, sets| Modulation::new(&(vs / name), inner, sets);
        let (double, single) = (vs / "transformer_blocks", vs / "single_transformer_blocks");
        let linear = |name: &str, from, to| Linear::without_bias(&(vs / name), from, to);
        Self {
            time_guidance_embed: TimestepGuidanceEmbeddings::new(
                &(vs / "time_guidance_embed"),
                config,
            ),
            double_stream_modulation_img: modulation("double_stream_modulation_img", 2),
            double_stream_modulation_txt: modulation("double_stream_modulation_txt", 2),
            single_stream_modulation: modulation("single_stream_modulation", 1),
            x_embedder: linear("x_embedder", config.in_channels, inner),
            context_embedder: linear("context_embedder", config.joint_attention_dim, inner),
            transformer_blocks: (0..config.num_layers)
                .map(|block| TransformerBlock::new(&(&double / block), block, config))
                .collect(),
            single_transformer_blocks: (0..config.num_single_layers)
                .map(|block| SingleTransformerBlock::new(&(&single / block), block, config))
                .collect(),
            norm_out: Linear::without_bias(&(vs / "norm_out" / "linear"), inner, 2 * inner),
            proj_out: linear("proj_out", inner, config.in_channels),
            config: config.clone(),
        }
    }

    /// The configuration.
    pub fn config(&self) -> &Flux2Transformer2DConfig {
        &self.config
    }

    /// All attention layers in a call on such a sequence.
    pub fn sites(&self, shape: SequenceShape) -> Vec<AttnSite> {
        self.config.sites(shape)
    }

    /// Predicts the velocity of each row, (N, C, h, w): noise minus clean latents.
    ///
    /// All tensors but the timesteps are of the weights' kind and device; `roles` says what each row is.
    ///
    /// # Panics
    /// If the shapes do not fit each other, or `roles` has not one entry for each row.
    pub fn forward(
        &self,
        call: &Flux2Call<'_>,
        roles: &[Role],
        processor: &mut dyn AttnProcessor,
    ) -> Tensor {
        self.forward_told(call, roles, processor, &mut |_, _| {})
    }

    /// [`Self::forward`], which tells each block's name and what it gives: the prompt's tokens (N, T, C) and the cells
    /// (N, I, C), or both as one sequence. What is told is overwritten later.
    ///
    /// # Panics
    /// As [`Self::forward`].
    pub fn forward_told(
        &self,
        call: &Flux2Call<'_>,
        roles: &[Role],
        processor: &mut dyn AttnProcessor,
        tell: &mut dyn FnMut(&str, &[Tensor]),
    ) -> Tensor {
        assert_eq!(roles.len() as i64, call.latents.size()[0], "each row of a batch has a role");
        no_grad(|| {
            let shape = call.shape();
            let rotary = rotary(&self.config, shape, call.latents.device());
            let mut context = JointContext { shape, roles, processor, rotary: &rotary };

            // 1. Timestep and inputs
            let mut state = self.pre_process(call);

            // 2. Blocks with weights of their own for prompt and image
            for (index, block) in self.transformer_blocks.iter().enumerate() {
                state.streams = block.forward(state.streams, &state.modulation, &mut context);
                tell(&format!("transformer_blocks.{index}"), &state.streams);
            }

            // 3. Blocks with the same weights for both
            let mut hidden_states = Tensor::cat(&state.streams, 1); // (N, L, C)
            drop(state.streams);
            for (index, block) in self.single_transformer_blocks.iter().enumerate() {
                hidden_states = block.forward(hidden_states, &state.single[0], &mut context);
                let name = format!("single_transformer_blocks.{index}");
                tell(&name, slice::from_ref(&hidden_states));
            }

            // 4. The latents' cells
            let cells = hidden_states.narrow(1, shape.tokens, shape.cells());
            self.post_process(&cells, &state.temb)
                .transpose(1, 2)
                .unflatten(2, [shape.height, shape.width])
        })
    }

    fn pre_process(&self, call: &Flux2Call<'_>) -> Flux2State {
        let kind = call.latents.kind();
        let temb = self.time_guidance_embed.forward(call.timesteps, kind);
        let rows = |grid: &Tensor| grid.flatten(-2, -1).transpose(-1, -2); // (…, h·w, C)
        let references = rows(call.references).flatten(1, 2); // (N, R·h·w, C)
        let image = Tensor::cat(&[rows(call.latents), references], 1);
        Flux2State {
            streams: [self.context_embedder.forward(call.prompts), self.x_embedder.forward(&image)],
            modulation: DoubleModulation {
                text: self.double_stream_modulation_txt.forward(&temb),
                image: self.double_stream_modulation_img.forward(&temb),
            },
            single: self.single_stream_modulation.forward(&temb),
            temb,
        }
    }

    /// Layer norm, scaled and shifted by the timestep (diffusers: `AdaLayerNormContinuous`), and projection of hidden
    /// states (N, I, C) to (N, I, in).
    fn post_process(&self, hidden_states: &Tensor, temb: &Tensor) -> Tensor {
        let both = self.norm_out.forward(temb).unsqueeze(1).chunk(2, -1); // scale and shift
        let normed =
            both[1].addcmul(&layer_norm(hidden_states, self.config.eps), &(&both[0] + 1.0));
        self.proj_out.forward(&normed)
    }
}

// === impl Flux2Call ===

impl Flux2Call<'_> {
    /// What its sequence is made of.
    pub fn shape(&self) -> SequenceShape {
        let (latents, references) = (self.latents.size(), self.references.size());
        SequenceShape {
            tokens: self.prompts.size()[1],
            shared: self.shared,
            height: latents[2],
            width: latents[3],
            references: references[1],
        }
    }
}

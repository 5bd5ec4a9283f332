//! Attention over one sequence of prompt, latents and pictures, with an attention processor as hook.
//!
//! Source: diffusers 0.42.1, `models/transformers/transformer_flux2.py`: `Flux2Attention`, `Flux2AttnProcessor`,
//! `Flux2ParallelSelfAttention`, `Flux2ParallelSelfAttnProcessor`.

use std::fmt;

use tch::Tensor;

use crate::attention::{
    processor::AttnProcessor,
    qkv::{Qkv, Unrotated},
    role::Role,
    rotary::Rotary,
    site::Stage,
};
use crate::models::{
    flux2::transformer_flux2_config::{Flux2Transformer2DConfig, SequenceShape},
    layers::Linear,
    weights::VarPath,
};

/// Arguments that all attention layers of one call share.
pub(super) struct JointContext<'a> {
    /// What the sequence is made of.
    pub(super) shape: SequenceShape,
    /// What each of the N rows is.
    pub(super) roles: &'a [Role],
    /// The attention processor of the layers.
    pub(super) processor: &'a mut dyn AttnProcessor,
    /// Rotation of queries and keys by their place.
    pub(super) rotary: &'a Rotary,
}

/// The attention of a double block, with weights of their own for prompt and image.
#[derive(Debug)]
pub(super) struct JointAttention {
    block: usize,
    heads: i64,
    image: Projections,
    text: Projections,
    to_out: Linear,
    to_add_out: Linear,
}

/// The attention of a single block, whose projections are also those of its feed-forward network.
#[derive(Debug)]
pub(super) struct ParallelSelfAttention {
    block: usize,
    heads: i64,
    inner: i64,
    mlp: i64,
    to_qkv_mlp_proj: Linear,
    norm: QkNorm,
    to_out: Linear,
}

/// Queries, keys and values of a part of the sequence.
#[derive(Debug)]
struct Projections {
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    norm: QkNorm,
}

/// Root mean square norms of each head's queries and keys.
#[derive(Debug)]
struct QkNorm {
    query: Tensor,
    key: Tensor,
    eps: f64,
}

/// From gates and values, (…, 2·I), to `SiLU`(gates) · values, (…, I) (diffusers: `Flux2SwiGLU`).
pub(super) fn swiglu(xs: &Tensor) -> Tensor {
    let halves = xs.chunk(2, -1);
    halves[0].silu() * &halves[1]
}

// === impl JointAttention ===

impl JointAttention {
    pub(super) fn new(vs: &VarPath<'_>, block: usize, config: &Flux2Transformer2DConfig) -> Self {
        let inner = config.inner_dim();
        let linear = |name: &str| Linear::without_bias(&(vs / name), inner, inner);
        let projections = |[q, k, v]: [&str; 3], norms| Projections {
            to_q: linear(q),
            to_k: linear(k),
            to_v: linear(v),
            norm: QkNorm::new(vs, norms, config),
        };
        Self {
            block,
            heads: config.num_attention_heads,
            image: projections(["to_q", "to_k", "to_v"], ["norm_q", "norm_k"]),
            text: projections(
                ["add_q_proj", "add_k_proj", "add_v_proj"],
                ["norm_added_q", "norm_added_k"],
            ),
            to_out: Linear::without_bias(&(vs / "to_out" / 0), inner, inner),
            to_add_out: linear("to_add_out"),
        }
    }

    /// Attention of the prompt's tokens (N, T, C) and the cells (N, I, C): what comes of each.
    pub(super) fn forward(
        &self,
        [text, image]: [&Tensor; 2],
        context: &mut JointContext<'_>,
    ) -> [Tensor; 2] {
        let (of_text, of_image) =
            (self.text.of(text, self.heads), self.image.of(image, self.heads));
        let mut joined = of_text.into_iter().zip(of_image).map(|(a, b)| Tensor::cat(&[a, b], 1));
        let mut next = || joined.next().expect("queries, keys and values");
        let output = attend([next(), next(), next()], Stage::Double, self.block, context);
        let tokens = text.size()[1];
        let cells = output.size()[1] - tokens;
        [
            self.to_add_out.forward(&output.narrow(1, 0, tokens)),
            self.to_out.forward(&output.narrow(1, tokens, cells)),
        ]
    }
}

// === impl ParallelSelfAttention ===

impl ParallelSelfAttention {
    pub(super) fn new(vs: &VarPath<'_>, block: usize, config: &Flux2Transformer2DConfig) -> Self {
        let (inner, mlp) = (config.inner_dim(), config.mlp_hidden_dim());
        let path = vs / "to_qkv_mlp_proj";
        Self {
            block,
            heads: config.num_attention_heads,
            inner,
            mlp,
            to_qkv_mlp_proj: Linear::without_bias(&path, inner, 3 * inner + 2 * mlp),
            norm: QkNorm::new(vs, ["norm_q", "norm_k"], config),
            to_out: Linear::without_bias(&(vs / "to_out"), inner + mlp, inner),
        }
    }

    /// Attention and feed-forward network of the whole sequence, (N, L, C) to (N, L, C).
    pub(super) fn forward(&self, hidden_states: &Tensor, context: &mut JointContext<'_>) -> Tensor {
        let all = self.to_qkv_mlp_proj.forward(hidden_states); // (N, L, 3·C + 2·I)
        let part = |index| split_heads(&all.narrow(2, index * self.inner, self.inner), self.heads);
        let [query, key] = self.norm.of([part(0), part(1)]);
        let output = attend([query, key, part(2)], Stage::Single, self.block, context);
        let mlp = swiglu(&all.narrow(2, 3 * self.inner, 2 * self.mlp));
        drop(all);
        self.to_out.forward(&Tensor::cat(&[output, mlp], 2))
    }
}

/// What comes of attention over a whole sequence, (N, L, C), of queries, keys and values (N, L, H, D) before they are
/// turned by their place.
fn attend(
    [query, key, value]: [Tensor; 3],
    stage: Stage,
    block: usize,
    context: &mut JointContext<'_>,
) -> Tensor {
    let scale = (query.size()[3] as f64).powf(-0.5);
    let site = context.shape.site(stage, block);
    let is_watched = context.processor.watches(&site);
    let is_read = is_watched && context.processor.reads_unrotated(&site);
    let by_head = |it: &Tensor| it.transpose(1, 2); // (N, H, L, D)
    let unrotated = is_read.then(|| Unrotated {
        query: by_head(&query),
        key: by_head(&key),
        rotary: context.rotary,
    });
    let [query, key] = [query, key].map(|it| context.rotary.turn(&it));
    let [query, key, value] = [query, key, value].map(|it| by_head(&it));
    let qkv = Qkv { query, key, value, scale, roles: context.roles, unrotated };
    let attended = qkv.attend();
    if is_watched {
        context.processor.visit(&site, &qkv, &attended);
    }
    attended.output.transpose(1, 2).flatten(2, 3)
}

/// (N, L, H·D) to (N, L, H, D), a view.
fn split_heads(xs: &Tensor, heads: i64) -> Tensor {
    xs.unflatten(2, [heads, -1])
}

// === impl Projections ===

impl Projections {
    /// Queries, keys and values (N, L, H, D) of hidden states (N, L, C).
    fn of(&self, hidden_states: &Tensor, heads: i64) -> [Tensor; 3] {
        let [query, key, value] = [&self.to_q, &self.to_k, &self.to_v]
            .map(|it| split_heads(&it.forward(hidden_states), heads));
        let [query, key] = self.norm.of([query, key]);
        [query, key, value]
    }
}

// === impl QkNorm ===

impl QkNorm {
    fn new(vs: &VarPath<'_>, names: [&str; 2], config: &Flux2Transformer2DConfig) -> Self {
        let [query, key] = names.map(|it| (vs / it).tensor("weight", &[config.attention_head_dim]));
        Self { query, key, eps: config.eps }
    }

    fn of(&self, [query, key]: [Tensor; 2]) -> [Tensor; 2] {
        let norm =
            |xs: &Tensor, weight: &Tensor| xs.rms_norm(weight.size(), Some(weight), self.eps);
        [norm(&query, &self.query), norm(&key, &self.key)]
    }
}

// === impl JointContext ===

impl fmt::Debug for JointContext<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JointContext").field("shape", &self.shape).finish_non_exhaustive()
    }
}

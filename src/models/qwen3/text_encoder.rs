//! Qwen3 up to the last layer that is read: from token ids to the hidden states after some layers, concatenated
//! (transformers: `Qwen3Model`; diffusers: `Flux2KleinPipeline._get_qwen3_prompt_embeds`).
//!
//! Layers above are not loaded: nothing of them reaches the states below.

use tch::{Device, Kind, Tensor};

use crate::models::{
    layers::Linear,
    qwen3::{config::Qwen3Config, prompt::PromptConfig},
    weights::VarPath,
};

/// A Qwen3 text encoder.
#[derive(Debug)]
pub struct Qwen3TextEncoder {
    embed_tokens: Tensor,
    layers: Vec<Layer>,
    out_layers: Vec<i64>,
    head_dim: i64,
    rope_theta: f64,
}

/// One pre-norm layer: self-attention, then a gated feed-forward network, each with a residual connection.
#[derive(Debug)]
struct Layer {
    input_layernorm: RmsNorm,
    self_attn: Attention,
    post_attention_layernorm: RmsNorm,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

/// Self-attention whose keys and values have fewer heads than its queries (grouped-query attention).
#[derive(Debug)]
struct Attention {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    heads: i64,
    key_value_heads: i64,
    head_dim: i64,
}

/// Root mean square norm over the last dimension (transformers: `Qwen3RMSNorm`).
#[derive(Debug)]
struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

/// What all layers share: the rotary embedding's tables, (T, D), and where a token may look, (N, 1, T, T).
struct Shared {
    cos: Tensor,
    sin: Tensor,
    mask: Tensor,
}

// === impl Qwen3TextEncoder ===

impl Qwen3TextEncoder {
    /// Loads the layers that are computed; their keys may have the prefix `model`.
    pub fn new(vs: &VarPath<'_>, config: &Qwen3Config, prompt: &PromptConfig) -> Self {
        vs.ignore("lm_head.weight");
        let bare = vs.contains("embed_tokens.weight");
        let vs = if bare { vs.clone() } else { vs / "model" };
        vs.ignore("norm.weight");
        let layers = &vs / "layers";
        for above in prompt.depth()..config.num_hidden_layers {
            layers.ignore_under(&above.to_string());
        }
        Self {
            embed_tokens: (&vs / "embed_tokens")
                .tensor("weight", &[config.vocab_size, config.hidden_size]),
            layers: (0..prompt.depth()).map(|it| Layer::new(&(&layers / it), config)).collect(),
            out_layers: prompt.out_layers.clone(),
            head_dim: config.head_dim,
            rope_theta: config.rope_theta,
        }
    }

    /// Encodes `input_ids` (N, T), integers below the vocabulary size, of which the first `lengths[n]` are no padding.
    /// Gives (N, T, L·C): for each token its states after each of the L layers that are read, one after the other.
    ///
    /// Padding is encoded, too, and reads the tokens before it, since FLUX.2 attends to it.
    ///
    /// # Panics
    /// If the ids have another shape, dtype or range.
    pub fn forward(&self, input_ids: &Tensor, lengths: &[usize]) -> Tensor {
        let (n, t) = input_ids.size2().expect("token ids are (N, T)");
        let input_ids = input_ids.to_device(self.embed_tokens.device());
        let shared = self.shared(t, lengths);
        let mut hidden_states =
            self.embed_tokens.index_select(0, &input_ids.flatten(0, 1)).view([n, t, -1]); // (N, T, C)
        let mut out = Vec::with_capacity(self.out_layers.len());
        for (number, layer) in (0..).zip(&self.layers) {
            if self.out_layers.contains(&number) {
                out.push(hidden_states.shallow_clone());
            }
            hidden_states = layer.forward(hidden_states, &shared);
        }
        out.push(hidden_states);
        Tensor::cat(&out, -1)
    }

    fn shared(&self, t: i64, lengths: &[usize]) -> Shared {
        let (kind, device) = (self.embed_tokens.kind(), self.embed_tokens.device());
        // 1. Tables in fp32, each half of the channels alike
        let half = Tensor::arange_start_step(0, self.head_dim, 2, (Kind::Double, Device::Cpu));
        let frequencies = (half / self.head_dim as f64 * -self.rope_theta.ln()).exp(); // (D/2,)
        let frequencies = frequencies.to_kind(Kind::Float);
        let positions = Tensor::arange(t, (Kind::Float, Device::Cpu)).unsqueeze(1); // (T, 1)
        let angles = (positions * frequencies).repeat([1, 2]); // (T, D)
        let [cos, sin] = [angles.cos(), angles.sin()].map(|it| it.to_device(device).to_kind(kind));
        // 2. No token looks at a later one, or at padding
        let causal = Tensor::ones([t, t], (Kind::Bool, Device::Cpu)).tril(0); // (T, T)
        let lengths: Vec<i64> = lengths.iter().map(|&it| it as i64).collect();
        let places = Tensor::arange(t, (Kind::Int64, Device::Cpu));
        let is_text = places.unsqueeze(0).lt_tensor(&Tensor::from_slice(&lengths).unsqueeze(1)); // (N, T)
        let mask = causal.logical_and(&is_text.unsqueeze(1)).unsqueeze(1); // (N, 1, T, T)
        Shared { cos, sin, mask: mask.to_device(device) }
    }
}

// === impl Layer ===

impl Layer {
    fn new(vs: &VarPath<'_>, config: &Qwen3Config) -> Self {
        let (size, inner, eps) =
            (config.hidden_size, config.intermediate_size, config.rms_norm_eps);
        let norm = |name: &str| RmsNorm::new(&(vs / name), size, eps);
        let mlp = vs / "mlp";
        Self {
            input_layernorm: norm("input_layernorm"),
            self_attn: Attention::new(&(vs / "self_attn"), config),
            post_attention_layernorm: norm("post_attention_layernorm"),
            gate_proj: Linear::without_bias(&(&mlp / "gate_proj"), size, inner),
            up_proj: Linear::without_bias(&(&mlp / "up_proj"), size, inner),
            down_proj: Linear::without_bias(&(&mlp / "down_proj"), inner, size),
        }
    }

    /// (N, T, C) to (N, T, C).
    fn forward(&self, hidden_states: Tensor, shared: &Shared) -> Tensor {
        let normed = self.input_layernorm.forward(&hidden_states);
        let hidden_states = hidden_states + self.self_attn.forward(&normed, shared);
        let normed = self.post_attention_layernorm.forward(&hidden_states);
        let inner = self.gate_proj.forward(&normed).silu() * self.up_proj.forward(&normed);
        hidden_states + self.down_proj.forward(&inner)
    }
}

// === impl Attention ===

impl Attention {
    fn new(vs: &VarPath<'_>, config: &Qwen3Config) -> Self {
        let (heads, key_value_heads, head_dim) =
            (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let linear = |name: &str, from, to| Linear::without_bias(&(vs / name), from, to);
        let norm = |name: &str| RmsNorm::new(&(vs / name), head_dim, config.rms_norm_eps);
        let size = config.hidden_size;
        Self {
            q_proj: linear("q_proj", size, heads * head_dim),
            k_proj: linear("k_proj", size, key_value_heads * head_dim),
            v_proj: linear("v_proj", size, key_value_heads * head_dim),
            o_proj: linear("o_proj", heads * head_dim, size),
            q_norm: norm("q_norm"),
            k_norm: norm("k_norm"),
            heads,
            key_value_heads,
            head_dim,
        }
    }

    /// (N, T, C) to (N, T, C).
    fn forward(&self, hidden_states: &Tensor, shared: &Shared) -> Tensor {
        let (n, t, _) = hidden_states.size3().expect("hidden states are (N, T, C)");
        let split =
            |it: &Linear, heads| it.forward(hidden_states).view([n, t, heads, self.head_dim]);
        let query = self.q_norm.forward(&split(&self.q_proj, self.heads));
        let key = self.k_norm.forward(&split(&self.k_proj, self.key_value_heads));
        let value = split(&self.v_proj, self.key_value_heads).transpose(1, 2);
        let [query, key] = [query, key].map(|it| shared.rotate(&it.transpose(1, 2))); // (N, heads, T, D)
        let group = self.heads / self.key_value_heads;
        let [key, value] = [key, value].map(|it| it.repeat_interleave_self_int(group, 1, None));
        let mask = Some(&shared.mask);
        let context = Tensor::scaled_dot_product_attention(
            &query, &key, &value, mask, 0.0, false, None, false,
        );
        self.o_proj.forward(&context.transpose(1, 2).reshape([n, t, self.heads * self.head_dim]))
    }
}

// === impl Shared ===

impl Shared {
    /// Rotates pairs of channels, D/2 apart, by the token's position: (N, heads, T, D).
    fn rotate(&self, xs: &Tensor) -> Tensor {
        let halves = xs.chunk(2, -1);
        let turned = Tensor::cat(&[-&halves[1], halves[0].shallow_clone()], -1);
        xs * &self.cos + turned * &self.sin
    }
}

// === impl RmsNorm ===

impl RmsNorm {
    /// Loads `weight` (channels,).
    fn new(vs: &VarPath<'_>, channels: i64, eps: f64) -> Self {
        Self { weight: vs.tensor("weight", &[channels]), eps }
    }

    /// Norm of (…, channels), computed in fp32.
    fn forward(&self, xs: &Tensor) -> Tensor {
        xs.rms_norm(self.weight.size(), Some(&self.weight), Some(self.eps))
    }
}

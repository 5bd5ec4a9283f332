//! CLIP's text encoder: from token ids to one hidden state per token (transformers: `CLIPTextModel`).

use tch::{Kind, Tensor};

use crate::config_json::{ConfigJson, ConfigJsonError};
use crate::models::{
    layers::{LayerNorm, Linear},
    weights::VarPath,
};

/// The end token id that configurations before transformers 4.31 give by mistake; CLIP's actual one is the largest id.
const LEGACY_EOS: i64 = 2;

/// Configuration of a text encoder (transformers: `CLIPTextConfig`).
#[derive(Debug, Clone, PartialEq)]
pub struct ClipTextConfig {
    /// Vocabulary size.
    pub vocab_size: i64,
    /// Channels C.
    pub hidden_size: i64,
    /// Channels inside each feed-forward network.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Attention heads H, a divisor of C.
    pub num_attention_heads: i64,
    /// Maximum prompt length T, in tokens.
    pub max_position_embeddings: i64,
    /// The feed-forward's activation.
    pub hidden_act: HiddenAct,
    /// Epsilon of the layer norms.
    pub layer_norm_eps: f64,
    /// Id of the end token, whose hidden state is the pooled output.
    pub eos_token_id: i64,
}

/// An activation of a feed-forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenAct {
    /// x · sigmoid(1.702 x), as in the original CLIP.
    QuickGelu,
    /// x · Φ(x), as in `OpenCLIP`.
    Gelu,
}

/// A CLIP text encoder. A text projection in the checkpoint is ignored.
#[derive(Debug)]
pub struct ClipTextModel {
    token_embedding: Tensor,
    position_embedding: Tensor,
    layers: Vec<Layer>,
    final_layer_norm: LayerNorm,
    eos_token_id: i64,
}

/// Output of a text encoder.
#[derive(Debug)]
pub struct ClipTextOutput {
    /// (N, T, C), after the final layer norm.
    pub last_hidden_state: Tensor,
    /// (N, C): the last hidden state at the end token.
    pub pooled_output: Tensor,
}

/// One pre-norm layer: self-attention, then a feed-forward network, each with a residual connection.
#[derive(Debug)]
struct Layer {
    norm1: LayerNorm,
    self_attn: Attention,
    norm2: LayerNorm,
    fc1: Linear,
    fc2: Linear,
    activation: HiddenAct,
}

#[derive(Debug)]
struct Attention {
    query: Linear,
    key: Linear,
    value: Linear,
    out: Linear,
    heads: i64,
}

// === impl ClipTextConfig ===

impl ClipTextConfig {
    /// Reads a `text_encoder/config.json`.
    ///
    /// # Errors
    /// [`ConfigJsonError`] if it is not that of a CLIP text encoder.
    pub fn from_json(text: &str) -> Result<Self, ConfigJsonError> {
        // A configuration of transformers names its classes in a list, which diffusers' key is not.
        let json = ConfigJson::of_class("CLIPTextModel", text)?;
        json.only("model_type", "\"clip_text_model\"")?;
        let config = Self {
            vocab_size: json.int("vocab_size", 49_408, 1)?,
            hidden_size: json.int("hidden_size", 512, 1)?,
            intermediate_size: json.int("intermediate_size", 2048, 1)?,
            num_hidden_layers: json.int("num_hidden_layers", 12, 1)?,
            num_attention_heads: json.int("num_attention_heads", 8, 1)?,
            max_position_embeddings: json.int("max_position_embeddings", 77, 3)?,
            hidden_act: json.choice(
                "hidden_act",
                HiddenAct::QuickGelu,
                &[("quick_gelu", HiddenAct::QuickGelu), ("gelu", HiddenAct::Gelu)],
            )?,
            layer_norm_eps: json.number("layer_norm_eps", 1e-5)?,
            eos_token_id: json.int("eos_token_id", 49_407, 0)?,
        };
        if config.hidden_size % config.num_attention_heads != 0 {
            let expected = format!("a divisor of the hidden size {}", config.hidden_size);
            return Err(json.fault("num_attention_heads", expected));
        }
        Ok(config)
    }
}

// === impl ClipTextModel ===

impl ClipTextModel {
    /// Loads the encoder's tensors; their keys may have the prefix `text_model`.
    pub fn new(vs: &VarPath<'_>, config: &ClipTextConfig) -> Self {
        // Parts of the classes with a projection, and of a whole CLIP, which nothing here reads.
        for name in ["text_projection.weight", "visual_projection.weight", "logit_scale"] {
            vs.ignore(name);
        }
        vs.ignore_under("vision_model");
        let bare = vs.contains("embeddings.token_embedding.weight");
        let vs = if bare { vs.clone() } else { vs / "text_model" };
        let embeddings = &vs / "embeddings";
        // A buffer that old checkpoints carry.
        embeddings.ignore("position_ids");
        let size = config.hidden_size;
        let layers = &vs / "encoder" / "layers";
        Self {
            token_embedding: (&embeddings / "token_embedding")
                .tensor("weight", &[config.vocab_size, size]),
            position_embedding: (&embeddings / "position_embedding")
                .tensor("weight", &[config.max_position_embeddings, size]),
            layers: (0..config.num_hidden_layers)
                .map(|it| Layer::new(&(&layers / it), config))
                .collect(),
            final_layer_norm: LayerNorm::new(
                &(&vs / "final_layer_norm"),
                size,
                config.layer_norm_eps,
            ),
            eos_token_id: config.eos_token_id,
        }
    }

    /// Encodes `input_ids` (N, T), integers below the vocabulary size, with T at most the maximum prompt length.
    ///
    /// # Panics
    /// If the ids have another shape, dtype or range.
    pub fn forward(&self, input_ids: &Tensor) -> ClipTextOutput {
        let (n, t) = input_ids.size2().expect("token ids are (N, T)");
        // 1. Tokens and their positions.
        let input_ids = input_ids.to_device(self.token_embedding.device());
        let tokens =
            self.token_embedding.index_select(0, &input_ids.flatten(0, 1)).view([n, t, -1]);
        let mut hidden_states = tokens + self.position_embedding.narrow(0, 0, t); // (N, T, C)
        // 2. Layers.
        for layer in &self.layers {
            hidden_states = layer.forward(&hidden_states);
        }
        let last_hidden_state = self.final_layer_norm.forward(&hidden_states);
        // 3. The state at the end token: at its first place, or at the largest id where the configuration is of old.
        let end = if self.eos_token_id == LEGACY_EOS {
            input_ids.argmax(1, false)
        } else {
            input_ids.eq(self.eos_token_id).to_kind(Kind::Int).argmax(1, false)
        }; // (N,)
        let channels = last_hidden_state.size()[2];
        let end = end.view([n, 1, 1]).expand([n, 1, channels], false);
        let pooled_output = last_hidden_state.gather(1, &end, false).squeeze_dim(1); // (N, C)
        ClipTextOutput { last_hidden_state, pooled_output }
    }
}

// === impl Layer ===

impl Layer {
    fn new(vs: &VarPath<'_>, config: &ClipTextConfig) -> Self {
        let (size, inner, eps) =
            (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
        let attention = vs / "self_attn";
        let linear = |name| Linear::new(&(&attention / name), size, size);
        Self {
            norm1: LayerNorm::new(&(vs / "layer_norm1"), size, eps),
            self_attn: Attention {
                query: linear("q_proj"),
                key: linear("k_proj"),
                value: linear("v_proj"),
                out: linear("out_proj"),
                heads: config.num_attention_heads,
            },
            norm2: LayerNorm::new(&(vs / "layer_norm2"), size, eps),
            fc1: Linear::new(&(vs / "mlp" / "fc1"), size, inner),
            fc2: Linear::new(&(vs / "mlp" / "fc2"), inner, size),
            activation: config.hidden_act,
        }
    }

    /// (N, T, C) to (N, T, C).
    fn forward(&self, hidden_states: &Tensor) -> Tensor {
        let hidden_states =
            hidden_states + self.self_attn.forward(&self.norm1.forward(hidden_states));
        let inner = self.fc1.forward(&self.norm2.forward(&hidden_states));
        &hidden_states + self.fc2.forward(&self.activation.apply(&inner))
    }
}

// === impl Attention ===

impl Attention {
    /// Causal self-attention, (N, T, C) to (N, T, C).
    fn forward(&self, hidden_states: &Tensor) -> Tensor {
        let (n, t, c) = hidden_states.size3().expect("hidden states are (N, T, C)");
        let split = |it: &Linear| {
            it.forward(hidden_states).view([n, t, self.heads, c / self.heads]).transpose(1, 2)
        }; // (N, H, T, D)
        let (query, key, value) = (split(&self.query), split(&self.key), split(&self.value));
        let mask = None::<Tensor>;
        let context = Tensor::scaled_dot_product_attention(
            &query, &key, &value, mask, 0.0, true, None, false,
        );
        self.out.forward(&context.transpose(1, 2).reshape([n, t, c]))
    }
}

// === impl HiddenAct ===

impl HiddenAct {
    fn apply(self, xs: &Tensor) -> Tensor {
        match self {
            Self::QuickGelu => xs * (xs * 1.702).sigmoid(),
            Self::Gelu => xs.gelu("none"),
        }
    }
}

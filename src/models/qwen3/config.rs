//! Configuration of a Qwen3 text encoder (transformers: `Qwen3Config`).

use serde_json::Value;

use crate::config_json::{ConfigJson, ConfigJsonError};

/// Base of the rotary embedding's wavelengths where a configuration says none.
const ROPE_THETA: f64 = 10_000.0;

/// Sizes of a Qwen3 model.
#[derive(Debug, Clone, PartialEq)]
pub struct Qwen3Config {
    /// Vocabulary size.
    pub vocab_size: i64,
    /// Channels C.
    pub hidden_size: i64,
    /// Channels inside each feed-forward network.
    pub intermediate_size: i64,
    /// Layers.
    pub num_hidden_layers: i64,
    /// Heads H of the queries.
    pub num_attention_heads: i64,
    /// Heads of keys and values, a divisor of H.
    pub num_key_value_heads: i64,
    /// Channels D of a head, an even number.
    pub head_dim: i64,
    /// Maximum number of tokens.
    pub max_position_embeddings: i64,
    /// Epsilon of the norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary embedding's wavelengths.
    pub rope_theta: f64,
}

impl Qwen3Config {
    /// Reads a `text_encoder/config.json`.
    ///
    /// # Errors
    /// [`ConfigJsonError`] if it is not that of a dense Qwen3 with full attention.
    pub fn from_json(text: &str) -> Result<Self, ConfigJsonError> {
        let json = ConfigJson::parse("config.json", text)?.without_nulls();
        json.only("model_type", "\"qwen3\"")?;
        json.only("attention_bias", "false")?;
        json.only("use_sliding_window", "false")?;
        json.silu("hidden_act")?;
        let full = "\"full_attention\" for each layer";
        json.read("layer_types", full, |found| {
            found.as_array()?.iter().all(|it| it == "full_attention").then_some(())
        })?;
        json.read("rope_scaling", "null, or of the type \"default\"", rope)?;
        let rope = json.read("rope_parameters", "of the type \"default\"", rope)?;
        let config = Self {
            vocab_size: json.int("vocab_size", 151_936, 1)?,
            hidden_size: json.int("hidden_size", 4096, 1)?,
            intermediate_size: json.int("intermediate_size", 22_016, 1)?,
            num_hidden_layers: json.int("num_hidden_layers", 32, 1)?,
            num_attention_heads: json.int("num_attention_heads", 32, 1)?,
            num_key_value_heads: json.int("num_key_value_heads", 32, 1)?,
            head_dim: json.int("head_dim", 128, 2)?,
            max_position_embeddings: json.int("max_position_embeddings", 32_768, 1)?,
            rms_norm_eps: json
                .number_in("rms_norm_eps", 1e-6, "a number above 0", |it| it > 0.0)?,
            rope_theta: json.number_in(
                "rope_theta",
                rope.unwrap_or(ROPE_THETA),
                "a number above 0",
                |it| it > 0.0,
            )?,
        };
        if config.num_attention_heads % config.num_key_value_heads != 0 {
            let expected = format!("a divisor of the {} heads", config.num_attention_heads);
            return Err(json.fault("num_key_value_heads", expected));
        }
        if config.head_dim % 2 != 0 {
            return Err(json.fault("head_dim", "an even number"));
        }
        Ok(config)
    }
}

/// The base that a rotary embedding's parameters name, or the usual one; `None` for those of another type than the plain
/// one.
fn rope(found: &Value) -> Option<f64> {
    let parameters = found.as_object()?;
    let kind = parameters.get("rope_type").or_else(|| parameters.get("type"));
    if kind.is_some_and(|it| it != "default") {
        return None;
    }
    let theta = parameters.get("rope_theta").map_or(Some(ROPE_THETA), Value::as_f64);
    theta.filter(|it| *it > 0.0)
}

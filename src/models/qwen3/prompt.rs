//! How prompts are given to the text encoder: what diffusers has as arguments of a call, and models here in their
//! `retouch.json`.

use crate::config_json::{ConfigJson, ConfigJsonError};
use crate::models::qwen3::config::Qwen3Config;

/// The file that holds both.
const FILE: &str = "retouch.json";

/// Its key of the layers (diffusers: `text_encoder_out_layers`).
const LAYERS: &str = "text_encoder_out_layers";

/// Its key of the length (diffusers: `max_sequence_length`).
const LENGTH: &str = "max_sequence_length";

/// The layers whose hidden states are read in FLUX.2 \[klein\].
const DEFAULT_LAYERS: [i64; 3] = [9, 18, 27];

/// The length of its prompts, also the most that diffusers accepts.
const MAX_LENGTH: i64 = 512;

/// The least length: the tokens around an instruction, and some for one.
const MIN_LENGTH: i64 = 16;

/// What decides how a prompt is encoded, beside the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptConfig {
    /// After which layers hidden states are read, ascending; 0 is before the first.
    pub out_layers: Vec<i64>,
    /// Tokens T of every prompt, with the padding: 16 to 512.
    pub max_sequence_length: usize,
}

// === impl PromptConfig ===

impl PromptConfig {
    /// That of a model's `retouch.json`; without one, or without its keys, that of FLUX.2 \[klein\].
    ///
    /// # Errors
    /// [`ConfigJsonError`] if a value is invalid, or a layer is none of the text encoder's.
    pub fn from_retouch_json(
        text: Option<&str>,
        encoder: &Qwen3Config,
    ) -> Result<Self, ConfigJsonError> {
        let json = ConfigJson::parse(FILE, text.unwrap_or("{}"))?.without_nulls();
        // The states after the last layer are normed in transformers, which no published model reads.
        let layers = encoder.num_hidden_layers;
        let out_layers = json.read(LAYERS, "a list of whole numbers from 0", |found| {
            let layers = found.as_array()?.iter().map(|it| it.as_i64().filter(|it| *it >= 0));
            layers.collect::<Option<Vec<_>>>().filter(|it| !it.is_empty())
        })?;
        let out_layers = out_layers.unwrap_or_else(|| DEFAULT_LAYERS.to_vec());
        let is_ascending = out_layers.windows(2).all(|it| it[0] < it[1]);
        if !is_ascending || out_layers.iter().any(|it| *it >= layers) {
            let expected = format!(
                "ascending layers below the text encoder's {layers} ({DEFAULT_LAYERS:?} where none are named)"
            );
            return Err(json.fault(LAYERS, expected));
        }
        let expected = format!("a whole number from {MIN_LENGTH} to {MAX_LENGTH}");
        let in_range = |it: &i64| (MIN_LENGTH..=MAX_LENGTH).contains(it);
        let length = json.read(LENGTH, &expected, |it| it.as_i64().filter(in_range))?;
        let most = length.unwrap_or(MAX_LENGTH).min(encoder.max_position_embeddings);
        Ok(Self { out_layers, max_sequence_length: most as usize })
    }

    /// The number of layers that are computed.
    pub fn depth(&self) -> i64 {
        self.out_layers.last().copied().unwrap_or_default()
    }

    /// Channels of a prompt's hidden states: those of all layers that are read.
    pub fn channels(&self, encoder: &Qwen3Config) -> i64 {
        self.out_layers.len() as i64 * encoder.hidden_size
    }
}

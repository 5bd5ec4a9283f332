//! CLIP's tokenizer: from text to padded token ids, each with its byte range in the text (transformers:
//! `CLIPTokenizer`).
//!
//! Text is normalized (NFC), its white space collapsed, lowercased, split by CLIP's pattern, and encoded by byte pairs
//! (BPE).

use std::{collections::BTreeSet, path::Path};

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::models::{
    stable_diffusion::clip::vocabulary,
    tokenized::{TokenizedPrompt, TokenizerError, Truncation, merges, places, read, read_json},
};

/// Splits text before byte pairs are merged (openai/CLIP: `SimpleTokenizer.pat`).
const SPLIT: &str =
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// A CLIP tokenizer, with the maximum length of its text encoder.
#[derive(Debug, Clone)]
pub struct ClipTokenizer {
    tokenizer: Tokenizer,
    max_length: usize,
    bos: u32,
    eos: u32,
    pad: u32,
}

/// Special tokens, from `tokenizer_config.json` and `special_tokens_map.json`.
struct Special {
    bos: String,
    eos: String,
    pad: String,
    max_length: Option<usize>,
}

// === impl ClipTokenizer ===

impl ClipTokenizer {
    /// Loads a snapshot's `tokenizer/`, for a text encoder of `max_positions` positions (77 for CLIP).
    ///
    /// # Errors
    /// [`TokenizerError`] if files are missing, unreadable or inconsistent.
    pub fn open(folder: &Path, max_positions: usize) -> Result<Self, TokenizerError> {
        let special = Special::read(folder)?;
        let [whole, vocabulary, merged] =
            ["tokenizer.json", "vocab.json", "merges.txt"].map(|it| folder.join(it));
        let (definition, path) = if whole.is_file() {
            (read_json(&whole)?, whole)
        } else if vocabulary.is_file() && merged.is_file() {
            let Value::Object(vocabulary) = read_json(&vocabulary)? else {
                let reason = "expected an object of tokens and ids".to_owned();
                return Err(TokenizerError::Malformed { path: vocabulary, reason });
            };
            let text = read(&merged)?;
            let pairs = merges(&text).ok_or_else(|| TokenizerError::Malformed {
                path: merged,
                reason: "expected two tokens on each line".to_owned(),
            })?;
            (definition(&vocabulary, &pairs, &special), folder.to_owned())
        } else {
            return Err(TokenizerError::Missing { folder: folder.to_owned() });
        };
        Self::build(&definition, &special, max_positions)
            .map_err(|reason| TokenizerError::Malformed { path, reason })
    }

    /// CLIP's own tokenizer with the built-in vocabulary, for a text encoder of `max_positions` positions.
    ///
    /// `pad` is the text of the padding token: [`EOS`](Self::EOS) for Stable Diffusion 1.x, `!` for 2.x.
    ///
    /// # Errors
    /// [`TokenizerError::Unfit`] if `pad` is not a token, or if `max_positions` leaves no room for text.
    pub fn clip(pad: &str, max_positions: usize) -> Result<Self, TokenizerError> {
        let merges = merges(vocabulary::MERGES).ok_or_else(|| TokenizerError::Unfit {
            reason: "its merges are no pairs".to_owned(),
        })?;
        let special = Special { pad: pad.to_owned(), ..Special::default() };
        let definition = definition(&vocabulary::vocabulary(&merges), &merges, &special);
        Self::build(&definition, &special, max_positions)
            .map_err(|reason| TokenizerError::Unfit { reason })
    }

    /// CLIP's end token, also used for padding.
    pub const EOS: &str = vocabulary::EOS;

    fn build(definition: &Value, special: &Special, max_positions: usize) -> Result<Self, String> {
        let text = definition.to_string();
        let mut tokenizer = Tokenizer::from_bytes(text).map_err(|error| error.to_string())?;
        // What the file says of lengths is done here, so that nothing is cut unseen.
        tokenizer.with_truncation(None).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        let id = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| format!("the vocabulary has no `{token}`"))
        };
        let (bos, eos, pad) = (id(&special.bos)?, id(&special.eos)?, id(&special.pad)?);
        let max_length = special.max_length.map_or(max_positions, |it| it.min(max_positions));
        if max_length < 3 {
            return Err(format!("a length of {max_length} tokens has no room for text"));
        }
        Ok(Self { tokenizer, max_length, bos, eos, pad })
    }

    /// Length of every tokenized prompt, padding included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The number of tokens in the vocabulary.
    pub fn vocab_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }

    /// Tokenizes a text; the result says what was cut off.
    ///
    /// # Errors
    /// [`TokenizerError::Text`] if the vocabulary lacks a byte of the text.
    pub fn encode(&self, text: &str) -> Result<TokenizedPrompt, TokenizerError> {
        let encoding = self
            .tokenizer
            .encode(text, false)
            .map_err(|error| TokenizerError::Text { reason: error.to_string() })?;
        // 1. The text's own tokens, without room for the two that are added.
        let room = self.max_length - 2;
        let spans = places(text, encoding.get_offsets());
        let kept = spans.len().min(room);
        let truncated = spans.get(room).map(|first| Truncation {
            kept: spans[room - 1].end.min(first.start),
            dropped: text[first.start..].trim().to_owned(),
        });
        // 2. Start, text, end, padding.
        let mut ids = vec![i64::from(self.bos)];
        ids.extend(encoding.get_ids()[..kept].iter().map(|&id| i64::from(id)));
        ids.push(i64::from(self.eos));
        let length = ids.len();
        ids.resize(self.max_length, i64::from(self.pad));
        let mut offsets = vec![None];
        offsets.extend(spans.into_iter().take(kept).map(Some));
        offsets.resize(self.max_length, None);
        Ok(TokenizedPrompt { ids, offsets, length, truncated })
    }
}

// === impl Special ===

impl Default for Special {
    fn default() -> Self {
        let [bos, eos, pad] =
            [vocabulary::BOS, vocabulary::EOS, vocabulary::EOS].map(str::to_owned);
        Self { bos, eos, pad, max_length: None }
    }
}

impl Special {
    fn read(folder: &Path) -> Result<Self, TokenizerError> {
        let files = ["tokenizer_config.json", "special_tokens_map.json"].map(|it| folder.join(it));
        let mut values = Vec::new();
        for path in files.iter().filter(|it| it.is_file()) {
            values.push(read_json(path)?);
        }
        // Before `added_tokens_decoder` the map overwrote the configuration (transformers: `_from_pretrained`), and the
        // two of Stable Diffusion 2.x pad with different tokens.
        if values.first().is_none_or(|it| it.get("added_tokens_decoder").is_none()) {
            values.reverse();
        }
        // A token is a text, or an object with the text as its content.
        let token = |key: &str| {
            values.iter().find_map(|it| {
                let token = it.get(key)?;
                token.as_str().or_else(|| token.get("content")?.as_str()).map(str::to_owned)
            })
        };
        let default = Self::default();
        // A length that nobody set is written as 10^30, which is no `u64`.
        let max_length = values.iter().find_map(|it| it.get("model_max_length")?.as_u64());
        Ok(Self {
            bos: token("bos_token").unwrap_or(default.bos),
            pad: token("pad_token").or_else(|| token("eos_token")).unwrap_or(default.pad),
            eos: token("eos_token").unwrap_or(default.eos),
            max_length: max_length.map(|it| it as usize),
        })
    }
}

/// CLIP's tokenizer over a vocabulary, in the form of a `tokenizer.json`.
fn definition(
    vocabulary: &Map<String, Value>,
    merges: &[(&str, &str)],
    special: &Special,
) -> Value {
    // As in transformers, the padding token is also found in the text, which `!` of Stable Diffusion 2.x shows.
    let specials = BTreeSet::from([&special.bos, &special.eos, &special.pad]);
    let added: Vec<Value> = specials
        .into_iter()
        .filter_map(|token| {
            let id = vocabulary.get(token)?;
            Some(json!({
                "id": id, "content": token, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            }))
        })
        .collect();
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]},
        "model": {
            "type": "BPE", "vocab": vocabulary, "merges": merges, "unk_token": special.eos,
            "continuing_subword_prefix": "", "end_of_word_suffix": vocabulary::END_OF_WORD,
            "fuse_unk": false, "byte_fallback": false,
        },
    })
}

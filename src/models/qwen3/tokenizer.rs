//! Qwen2's tokenizer: from an instruction to padded token ids within the chat template, each with its byte range in the
//! instruction (transformers: `Qwen2TokenizerFast`).
//!
//! Added tokens are split off first; the rest is normalized (NFC), split by Qwen2's pattern, and encoded by byte pairs
//! (BPE) over an alphabet of bytes.

use std::{ops::Range, path::Path};

use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

use crate::models::tokenized::{
    TokenizedPrompt, TokenizerError, Truncation, merges, places, read, read_json,
};

/// Splits text before byte pairs are merged (transformers: `PRETOKENIZE_REGEX` of Qwen2).
const SPLIT: &str = concat!(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}",
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
);

/// Before the instruction.
const BEFORE: &str = "<|im_start|>user\n";

/// After the instruction: the assistant's turn, with thinking switched off.
///
/// Differs: the chat template of Qwen3 is written here; that of a model's folder is not read.
const AFTER: &str = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n";

/// Tokens of the template, each of which must be one.
const SPECIAL: [&str; 4] = ["<|im_start|>", "<|im_end|>", "<think>", "</think>"];

/// The token of the padding where a folder names none.
const PAD: &str = "<|endoftext|>";

/// A Qwen2 tokenizer, with the length of its prompts.
#[derive(Debug, Clone)]
pub struct Qwen2Tokenizer {
    tokenizer: Tokenizer,
    max_length: usize,
    pad: u32,
    /// Tokens of the template around an instruction.
    around: usize,
    /// Those before it.
    shared: usize,
}

// === impl Qwen2Tokenizer ===

impl Qwen2Tokenizer {
    /// Loads a snapshot's `tokenizer/`; prompts are padded to, and cut at, `max_length` tokens.
    ///
    /// # Errors
    /// [`TokenizerError`] if files are missing, unreadable or inconsistent, or if the length has no room for text.
    pub fn open(folder: &Path, max_length: usize) -> Result<Self, TokenizerError> {
        let [whole, vocabulary, merged, config, added] = [
            "tokenizer.json",
            "vocab.json",
            "merges.txt",
            "tokenizer_config.json",
            "added_tokens.json",
        ]
        .map(|it| folder.join(it));
        let config = if config.is_file() { read_json(&config)? } else { Value::Null };
        let (definition, path) = if whole.is_file() {
            (read_json(&whole)?, whole)
        } else if vocabulary.is_file() && merged.is_file() {
            let Value::Object(tokens) = read_json(&vocabulary)? else {
                let reason = "expected an object of tokens and ids".to_owned();
                return Err(TokenizerError::Malformed { path: vocabulary, reason });
            };
            let text = read(&merged)?;
            let pairs = merges(&text).ok_or_else(|| TokenizerError::Malformed {
                path: merged,
                reason: "expected two tokens on each line".to_owned(),
            })?;
            let added = if added.is_file() { read_json(&added)? } else { Value::Null };
            (definition(&tokens, &pairs, &added_tokens(&config, &added)), folder.to_owned())
        } else {
            return Err(TokenizerError::Missing { folder: folder.to_owned() });
        };
        let pad = token(&config, "pad_token").unwrap_or(PAD);
        Self::build(definition, pad, max_length)
            .map_err(|reason| TokenizerError::Malformed { path, reason })
    }

    fn build(mut definition: Value, pad: &str, max_length: usize) -> Result<Self, String> {
        // What the file says of lengths and of trimming is done here.
        if let Value::Object(definition) = &mut definition {
            for key in ["truncation", "padding", "post_processor"] {
                definition.insert(key.to_owned(), Value::Null);
            }
        }
        let tokenizer =
            Tokenizer::from_bytes(definition.to_string()).map_err(|error| error.to_string())?;
        // An added token whose id is not the next one gets another without a word.
        let added = definition.get("added_tokens").and_then(Value::as_array);
        for it in added.into_iter().flatten() {
            let (id, text) = (it["id"].as_u64(), it["content"].as_str().unwrap_or_default());
            let found = tokenizer.token_to_id(text);
            if found.map(u64::from) != id {
                return Err(format!("the added token `{text}` has the id {}", it["id"]));
            }
        }
        let id = |token: &str| {
            tokenizer.token_to_id(token).ok_or_else(|| format!("the vocabulary has no `{token}`"))
        };
        for token in SPECIAL {
            id(token)?;
        }
        let pad = id(pad)?;
        let encoding = tokenizer.encode(BEFORE, false).map_err(|error| error.to_string())?;
        let shared = encoding.len();
        let mut tokenizer = Self { tokenizer, max_length, pad, around: 0, shared };
        tokenizer.around = tokenizer.encode("").map_err(|error| error.to_string())?.length;
        if tokenizer.around >= max_length {
            return Err(format!("a length of {max_length} tokens has no room for text"));
        }
        Ok(tokenizer)
    }

    /// Length of every tokenized prompt, padding included.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// Tokens before the instruction, which are the same for every instruction, unless it begins with a line break that
    /// the vocabulary joins to the template's.
    pub fn shared(&self) -> usize {
        self.shared
    }

    /// The most tokens of an instruction with all of the template around it.
    pub fn room(&self) -> usize {
        self.max_length - self.around
    }

    /// The least vocabulary of a text encoder for it: one more than the largest id.
    pub fn vocab_size(&self) -> usize {
        let ids = self.tokenizer.get_vocab(true).into_values();
        ids.max().map_or(0, |it| it as usize + 1)
    }

    /// Tokenizes an instruction; the result says what was cut off.
    ///
    /// As in diffusers the template's end is cut before the instruction is.
    ///
    /// # Errors
    /// [`TokenizerError::Text`] if the vocabulary lacks a byte of the text.
    pub fn encode(&self, text: &str) -> Result<TokenizedPrompt, TokenizerError> {
        let whole = [BEFORE, text, AFTER].concat();
        let encoding = self
            .tokenizer
            .encode(whole.as_str(), false)
            .map_err(|error| TokenizerError::Text { reason: error.to_string() })?;
        let spans: Vec<_> = places(&whole, encoding.get_offsets())
            .into_iter()
            .map(|it| within(text, &it))
            .collect();
        // 1. What does not fit
        let (kept, dropped) = spans.split_at(spans.len().min(self.max_length));
        let truncated = dropped.iter().flatten().next().map(|first| {
            let end = kept.iter().rev().flatten().next().map_or(0, |it| it.end);
            Truncation {
                kept: end.min(first.start),
                dropped: text[first.start..].trim().to_owned(),
            }
        });
        // 2. Tokens, padding
        let mut offsets = kept.to_vec();
        let length = offsets.len();
        let mut ids: Vec<i64> =
            encoding.get_ids()[..length].iter().map(|&id| i64::from(id)).collect();
        ids.resize(self.max_length, i64::from(self.pad));
        offsets.resize(self.max_length, None);
        Ok(TokenizedPrompt { ids, offsets, length, truncated })
    }
}

/// The part of a token's range that is in the instruction, without the white space before and after it, which is a part
/// of the token; `None` for a token of the template.
fn within(text: &str, place: &Range<usize>) -> Option<Range<usize>> {
    let start = place.start.max(BEFORE.len()) - BEFORE.len();
    let end = place.end.saturating_sub(BEFORE.len()).min(text.len());
    let found = text.get(start..end).filter(|it| !it.is_empty())?;
    let trimmed = found.trim();
    if trimmed.is_empty() {
        return Some(start..end);
    }
    let start = start + (found.len() - found.trim_start().len());
    Some(start..start + trimmed.len())
}

/// A token of a configuration: a text, or an object with the text as its content.
fn token<'a>(config: &'a Value, key: &str) -> Option<&'a str> {
    let token = config.get(key)?;
    token.as_str().or_else(|| token.get("content")?.as_str())
}

/// The tokens beside the vocabulary, by id: of `tokenizer_config.json`, or of the older `added_tokens.json`.
fn added_tokens(config: &Value, added: &Value) -> Vec<Value> {
    let of_config = config.get("added_tokens_decoder").and_then(Value::as_object);
    let of_config = of_config.into_iter().flatten().filter_map(|(id, token)| {
        let id: u64 = id.parse().ok()?;
        let flag = |key: &str| token.get(key).and_then(Value::as_bool).unwrap_or(false);
        Some(json!({
            "id": id, "content": token.get("content")?, "special": flag("special"),
            "single_word": flag("single_word"), "lstrip": flag("lstrip"), "rstrip": flag("rstrip"),
            "normalized": flag("normalized"),
        }))
    });
    let mut tokens: Vec<Value> = of_config.collect();
    if tokens.is_empty() {
        let older = added.as_object().into_iter().flatten();
        tokens.extend(older.map(|(content, id)| {
            json!({
                "id": id, "content": content, "special": true,
                "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
            })
        }));
    }
    tokens.sort_by_key(|it| it["id"].as_u64());
    tokens
}

/// The tokenizer over a vocabulary, in the form of a `tokenizer.json`.
fn definition(tokens: &Map<String, Value>, merges: &[(&str, &str)], added: &[Value]) -> Value {
    json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": SPLIT}, "behavior": "Isolated", "invert": false},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        ]},
        "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false, "use_regex": false},
        "model": {
            "type": "BPE", "vocab": tokens, "merges": merges, "unk_token": null,
            "continuing_subword_prefix": "", "end_of_word_suffix": "",
            "fuse_unk": false, "byte_fallback": false,
        },
    })
}

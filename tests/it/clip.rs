//! CLIP tokenizer and text encoder against transformers.

use std::{
    fs,
    path::{Path, PathBuf},
};

use retouch::models::{
    stable_diffusion::clip::{
        text_model::{ClipTextConfig, ClipTextModel},
        tokenizer::ClipTokenizer,
    },
    tokenized::{TokenizedPrompt, TokenizerError},
    weights::Checkpoint,
};
use serde::Deserialize;
use tch::{Device, Kind, Tensor};
use tempfile::TempDir;

/// One prompt as `tests/record/text.py` recorded it.
#[derive(Deserialize)]
struct Recorded {
    text: String,
    /// The ids without padding.
    ids: Vec<i64>,
    /// Bytes of the text, for each id between start and end.
    offsets: Vec<(usize, usize)>,
    /// Whether normalization composes letters with marks after them.
    composed: bool,
    /// How many tokens the whole text has.
    tokens: usize,
}

#[test]
fn built_in_vocabulary_gives_the_ids_of_transformers() {
    let tokenizer = ClipTokenizer::clip(ClipTokenizer::EOS, 77).unwrap();
    assert_eq!((tokenizer.vocab_size(), tokenizer.max_length()), (49_408, 77));
    let rows = recorded("clip.json");
    assert!(rows.len() >= 200);
    for row in &rows {
        check(row, &tokenizer.encode(&row.text).unwrap(), 77, 49_407);
    }
}

#[test]
fn both_forms_of_a_tokenizer_folder_give_the_ids_of_transformers() {
    let source = fixtures().join("tokenizer");
    let pad = 0; // the token `!`, as in Stable Diffusion 2.x
    for names in [&["tokenizer.json"][..], &["vocab.json", "merges.txt"]] {
        let folder = TempDir::new().unwrap();
        for name in names.iter().chain(&["tokenizer_config.json"]) {
            fs::copy(source.join(name), folder.path().join(name)).unwrap();
        }
        let tokenizer = ClipTokenizer::open(folder.path(), 77).unwrap();
        for row in &recorded("small.json") {
            check(row, &tokenizer.encode(&row.text).unwrap(), 16, pad);
        }
        // The model's positions bound the length, whatever the tokenizer says.
        assert_eq!(ClipTokenizer::open(folder.path(), 12).unwrap().max_length(), 12);
    }
}

/// A folder with a tokenizer's vocabulary and no word on its special tokens.
fn words() -> TempDir {
    let folder = TempDir::new().unwrap();
    for name in ["vocab.json", "merges.txt"] {
        fs::copy(fixtures().join("tokenizer").join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn special_tokens_come_from_old_files_too() {
    let folder = words();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write(
        "tokenizer_config.json",
        r#"{"model_max_length": 1000000000000000019884624838656, "bos_token": {"content": "<|startoftext|>"}}"#,
    );
    write(
        "special_tokens_map.json",
        r#"{"eos_token": {"content": "<|endoftext|>"}, "pad_token": "a</w>"}"#,
    );
    let prompt = ClipTokenizer::open(folder.path(), 5).unwrap().encode("b").unwrap();
    let vocabulary: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("vocab.json")).unwrap()).unwrap();
    let ids: Vec<i64> = ["<|startoftext|>", "b</w>", "<|endoftext|>", "a</w>", "a</w>"]
        .iter()
        .map(|it| vocabulary[it].as_i64().unwrap())
        .collect();
    assert_eq!(prompt.ids, ids);
}

#[test]
fn the_map_of_special_tokens_wins_unless_the_configuration_lists_added_tokens() {
    // As in Stable Diffusion 2.x, whose two files differ in the padding token alone, and as saved again since.
    let end = "<|endoftext|>";
    for (added, pad) in [("", "!"), (r#""added_tokens_decoder": {}, "#, end)] {
        let folder = words();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write(
            "tokenizer_config.json",
            &format!(r#"{{{added}"pad_token": "{end}", "eos_token": "{end}"}}"#),
        );
        write("special_tokens_map.json", &format!(r#"{{"pad_token": "!", "eos_token": "{end}"}}"#));
        let prompt = ClipTokenizer::open(folder.path(), 5).unwrap().encode("b").unwrap();
        let vocabulary: serde_json::Value =
            serde_json::from_slice(&fs::read(folder.path().join("vocab.json")).unwrap()).unwrap();
        let ids = [end, pad, pad].map(|it| vocabulary[it].as_i64().unwrap());
        assert_eq!(prompt.ids[2..], ids, "{added}");
    }
}

#[test]
fn offsets_are_bytes_of_the_text_as_typed() {
    let tokenizer = ClipTokenizer::clip(ClipTokenizer::EOS, 77).unwrap();
    let words = |text: &str| -> Vec<String> {
        let prompt = tokenizer.encode(text).unwrap();
        prompt.offsets.into_iter().flatten().map(|it| text[it].to_owned()).collect()
    };
    assert_eq!(words("turn  the\u{a0}CAT\tinto a dog"), ["turn", "the", "CAT", "into", "a", "dog"]);
    // A capital that grows, and a letter that shrinks, when normalized: what follows keeps its place.
    assert_eq!(words("İ cat"), ["İ", "İ", "cat"]);
    assert_eq!(words("K\u{212a} dog"), ["K\u{212a}", "dog"]);
    assert_eq!(words("cafe\u{301} cat"), ["cafe\u{301}", "cat"]);
    // Tokens that are parts of a character stand for all of it.
    assert!(words("🦤 cat").iter().rev().skip(1).all(|it| it == "🦤"));
    assert_eq!(words("headscarf").concat(), "headscarf");
}

#[test]
fn truncation_says_what_is_dropped() {
    let tokenizer = ClipTokenizer::clip(ClipTokenizer::EOS, 77).unwrap();
    let text = format!("{}and a dog ", "cat ".repeat(75));
    let prompt = tokenizer.encode(&text).unwrap();
    let truncated = prompt.truncated.unwrap();
    assert_eq!((truncated.kept, truncated.dropped.as_str()), (75 * 4 - 1, "and a dog"));
    assert_eq!((prompt.ids.len(), prompt.ids[76]), (77, 49_407));
    assert_eq!(tokenizer.encode(&"cat ".repeat(75)).unwrap().truncated, None);
}

#[test]
fn broken_tokenizers_are_refused() {
    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)]);
    let cases: [Case<'_>; 7] = [
        ("no files", &[]),
        ("merges alone", &[("merges.txt", "a b\n")]),
        ("cut JSON", &[("tokenizer.json", "{\"version\": ")]),
        ("another kind of JSON", &[("tokenizer.json", "{}")]),
        ("a list of tokens", &[("vocab.json", "[]"), ("merges.txt", "")]),
        ("a line of three", &[("vocab.json", "{}"), ("merges.txt", "a b c\n")]),
        ("merges that are no tokens", &[("vocab.json", "{\"a\": 0}"), ("merges.txt", "a b\n")]),
    ];
    for (what, files) in cases {
        let folder = TempDir::new().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        let error = ClipTokenizer::open(folder.path(), 77).expect_err(what);
        let missing = files.len() < 2 && !what.contains("JSON");
        assert_eq!(matches!(error, TokenizerError::Missing { .. }), missing, "{what}: {error}");
    }
}

#[test]
fn text_encoders_match_transformers() {
    for name in ["quick_gelu", "gelu", "projection"] {
        let folder = fixtures().join(format!("model_{name}"));
        let config = fs::read_to_string(folder.join("config.json")).unwrap();
        let config = ClipTextConfig::from_json(&config).unwrap();
        let checkpoint = Checkpoint::open(&folder.join("model.safetensors")).unwrap();
        let model = ClipTextModel::new(&checkpoint.root(Kind::Float, Device::Cpu), &config);
        checkpoint.finish().unwrap();
        let outputs = Tensor::read_safetensors(folder.join("outputs.safetensors")).unwrap();
        let recorded = |key: &str| &outputs.iter().find(|it| it.0 == key).unwrap().1;
        let ids = recorded("ids");
        let output = model.forward(ids);
        close(&output.last_hidden_state, recorded("last_hidden_state"), name);
        close(&output.pooled_output, recorded("pooled_output"), name);
        let short = model.forward(&ids.narrow(0, 0, 1).narrow(1, 0, 7));
        close(&short.last_hidden_state, recorded("short"), name);
    }
}

#[test]
fn configurations_of_other_models_are_refused() {
    for text in [
        r#"{"model_type": "t5"}"#,
        r#"{"hidden_act": "relu"}"#,
        r#"{"hidden_size": 10, "num_attention_heads": 3}"#,
        r#"{"num_hidden_layers": 0}"#,
        "[]",
    ] {
        assert!(ClipTextConfig::from_json(text).is_err(), "{text}");
    }
}

fn check(row: &Recorded, prompt: &TokenizedPrompt, length: usize, pad: i64) {
    let mut ids = row.ids.clone();
    ids.resize(length, pad);
    assert_eq!(prompt.ids, ids, "{:?}", row.text);
    let added = std::iter::repeat_n(None, length - 1 - row.offsets.len());
    let expected = std::iter::once(None).chain(row.offsets.iter().map(Some)).chain(added);
    for (found, expected) in prompt.offsets.iter().zip(expected) {
        let (Some(found), Some(&(start, end))) = (found, expected) else {
            assert!(found.is_none() && expected.is_none(), "{:?}", row.text);
            continue;
        };
        // transformers leaves the marks out that a letter was composed with.
        let marks = &row.text[end..found.end];
        assert_eq!(found.start, start, "{:?}", row.text);
        let composed = row.composed && !marks.contains(char::is_whitespace);
        assert!(marks.is_empty() || composed, "{:?} {found:?}", row.text);
    }
    assert_eq!(prompt.truncated.is_some(), row.tokens > length - 2, "{:?}", row.text);
    if let Some(truncated) = &prompt.truncated {
        let rest = row.text[truncated.kept..].trim();
        assert!(!rest.is_empty() && truncated.dropped == rest, "{:?}", row.text);
    }
}

/// Within 1e-5 of the largest value: fp32 over three layers, whose sums are taken in another order.
fn close(found: &Tensor, expected: &Tensor, what: &str) {
    assert_eq!(found.size(), expected.size(), "{what}");
    let error = ((found - expected).abs().max() / expected.abs().max()).double_value(&[]);
    assert!(error < 1e-5, "{what}: relative error {error:e}");
}

fn recorded(name: &str) -> Vec<Recorded> {
    serde_json::from_slice(&fs::read(fixtures().join(name)).unwrap()).unwrap()
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text")
}

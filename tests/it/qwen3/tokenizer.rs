//! Ids and places of tokens, and broken tokenizers.

use std::{fs, path::Path};

use retouch::models::{
    qwen3::tokenizer::Qwen2Tokenizer,
    tokenized::{TokenizedPrompt, TokenizerError},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    qwen3::{klein, qwen},
    support::fixtures,
};

/// What stands before an instruction.
const BEFORE: &str = "<|im_start|>user\n";

/// A prompt as `tests/record` recorded it.
#[derive(Deserialize)]
struct Recorded {
    prompt: String,
    /// The ids with the template's, without padding.
    ids: Vec<i64>,
    /// Bytes of the text within its template, for each id.
    offsets: Vec<(usize, usize)>,
}

#[test]
fn prompts_of_many_scripts_get_the_ids_and_places_of_transformers() {
    // A vocabulary whose merges would cross words, digits and spaces if they were not split as Qwen does.
    let tokenizer = Qwen2Tokenizer::open(&qwen(), 512).unwrap();
    let rows = recorded(&qwen().join("tokens.json"));
    assert!(rows.len() >= 200);
    for row in &rows {
        check(row, &tokenizer.encode(&row.prompt).unwrap(), &tokenizer);
    }
}

#[test]
fn both_forms_of_a_tokenizer_folder_give_the_same_ids() {
    let words = klein("klein").join("tokenizer");
    let whole = Qwen2Tokenizer::open(&words, 512).unwrap();
    let folder = TempDir::new().unwrap();
    take_apart(&words, folder.path(), "tokenizer_config.json");
    let apart = Qwen2Tokenizer::open(folder.path(), 512).unwrap();
    let older = TempDir::new().unwrap();
    take_apart(&words, older.path(), "added_tokens.json");
    let older = Qwen2Tokenizer::open(older.path(), 512).unwrap();
    assert_eq!(whole.vocab_size(), apart.vocab_size());
    for row in recorded(&fixtures().join("models/klein.tokens.json")) {
        let found = whole.encode(&row.prompt).unwrap();
        check(&row, &found, &whole);
        assert_eq!(apart.encode(&row.prompt).unwrap(), found, "{:?}", row.prompt);
        assert_eq!(older.encode(&row.prompt).unwrap(), found, "{:?}", row.prompt);
    }
}

#[test]
fn places_are_bytes_of_the_instruction_without_the_space_that_a_token_begins_with() {
    let tokenizer = Qwen2Tokenizer::open(&qwen(), 64).unwrap();
    let words = |text: &str| -> Vec<String> {
        let prompt = tokenizer.encode(text).unwrap();
        assert_eq!((prompt.ids.len(), prompt.offsets.len()), (64, 64));
        assert!(prompt.offsets[prompt.length..].iter().all(Option::is_none));
        prompt.offsets.into_iter().flatten().map(|it| text[it].to_owned()).collect()
    };
    // All of the instruction but white space belongs to a token, and no token of words to a space beside it.
    let text = "make the red star blue";
    let mut found = words(text);
    found.retain(|it| !it.trim().is_empty());
    assert_eq!(found.concat(), text.replace(' ', ""));
    assert!(found.iter().all(|it| it.trim() == it));
    let common = Qwen2Tokenizer::open(&klein("klein").join("tokenizer"), 64).unwrap();
    let places: Vec<_> = common.encode(text).unwrap().offsets.into_iter().flatten().collect();
    assert!(
        places.contains(&(5..8)),
        "the vocabulary has a token of a space and `the`: {places:?}"
    );
    assert_eq!(words("  x").last().unwrap(), "x");
    // Marks that a letter was composed with are its own, and tokens that are parts of a character stand for all of it.
    assert_eq!(words("n\u{323}").last().unwrap(), "n\u{323}");
    assert!(words("🦤").iter().all(|it| it == "🦤"));
    // What looks like the template's is the instruction's own.
    assert_eq!(words("<|im_end|>"), ["<|im_end|>"]);
    assert!(words("").is_empty());
    // What stands before it is the same for all.
    let ids = |text: &str| tokenizer.encode(text).unwrap().ids[..tokenizer.shared()].to_vec();
    assert_eq!(ids("a"), ids("the red star"));
    let first = tokenizer.encode("a").unwrap().offsets.iter().position(Option::is_some);
    assert_eq!(first, Some(tokenizer.shared()));
}

#[test]
fn a_text_that_is_too_long_loses_its_end_and_says_so() {
    let tokenizer = Qwen2Tokenizer::open(&qwen(), 40).unwrap();
    let whole = tokenizer.encode("x x x").unwrap();
    assert_eq!(whole.truncated, None);
    let around = whole.length - 5;
    assert_eq!(tokenizer.room(), 40 - around + usize::from(around == 0));
    let text = "cat ".repeat(60) + "and a dog ";
    let found = tokenizer.encode(&text).unwrap();
    assert_eq!((found.ids.len(), found.length), (40, 40));
    let cut = found.truncated.unwrap();
    assert_eq!(cut.dropped, text[cut.kept..].trim());
    assert!(cut.dropped.ends_with("and a dog"));
    // Of the template as much is cut before a word of the instruction is, as in diffusers.
    let first = found.offsets.iter().flatten().count();
    assert!(first > tokenizer.room());
    assert!(matches!(
        Qwen2Tokenizer::open(&qwen(), around),
        Err(TokenizerError::Malformed { reason, .. }) if reason.contains("no room for text")
    ));
}

#[test]
fn broken_tokenizers_are_refused() {
    let source = qwen();
    let copy = || {
        let folder = TempDir::new().unwrap();
        for name in ["vocab.json", "merges.txt", "tokenizer_config.json"] {
            fs::copy(source.join(name), folder.path().join(name)).unwrap();
        }
        folder
    };
    let cases: [(&str, &str, &str); 6] = [
        ("merges.txt", "a b c\n", "two tokens on each line"),
        ("vocab.json", "[]", "object of tokens and ids"),
        ("vocab.json", "{\"a\": ", "EOF"),
        ("tokenizer_config.json", "{}", "no `<|im_start|>`"),
        ("tokenizer.json", "{\"version\": ", "EOF"),
        (
            "tokenizer_config.json",
            r#"{"added_tokens_decoder": {"7000": {"content": "<|im_start|>"}}}"#,
            "the added token `<|im_start|>` has the id 7000",
        ),
    ];
    for (name, text, reason) in cases {
        let folder = copy();
        fs::write(folder.path().join(name), text).unwrap();
        let error = Qwen2Tokenizer::open(folder.path(), 512).unwrap_err();
        assert!(matches!(error, TokenizerError::Malformed { .. }), "{name}: {error}");
        assert!(error.to_string().contains(reason), "{name}: {error}");
    }
    let folder = copy();
    fs::remove_file(folder.path().join("merges.txt")).unwrap();
    let error = Qwen2Tokenizer::open(folder.path(), 512).unwrap_err();
    assert!(matches!(error, TokenizerError::Missing { .. }), "{error}");
}

/// A recorded prompt's ids and places, and what must hold of them.
fn check(row: &Recorded, found: &TokenizedPrompt, tokenizer: &Qwen2Tokenizer) {
    let prompt = &row.prompt;
    assert_eq!(found.length, row.ids.len(), "{prompt:?}");
    assert_eq!(found.ids[..found.length], row.ids, "{prompt:?}");
    assert_eq!(found.ids.len(), tokenizer.max_length());
    assert_eq!(found.truncated, None, "{prompt:?}");
    for (place, &(start, end)) in found.offsets.iter().zip(&row.offsets) {
        let start = start.max(BEFORE.len()) - BEFORE.len();
        let end = end.saturating_sub(BEFORE.len()).min(prompt.len());
        let Some(place) = place else {
            assert!(start >= end, "{prompt:?} {start}..{end}");
            continue;
        };
        let expected = &prompt[start..end];
        let trimmed = if expected.trim().is_empty() { expected } else { expected.trim() };
        let whole = &prompt[place.clone()];
        // transformers leaves the marks out that a letter was composed with.
        let marks = whole.strip_prefix(trimmed).unwrap_or_else(|| panic!("{prompt:?}: {whole:?}"));
        assert!(
            marks.chars().all(|it| !it.is_whitespace() && !it.is_ascii()),
            "{prompt:?}: {whole:?}"
        );
    }
}

/// Writes a tokenizer as vocabulary and merges, with its added tokens in the file of this name.
fn take_apart(from: &Path, to: &Path, added: &str) {
    let whole: Value =
        serde_json::from_slice(&fs::read(from.join("tokenizer.json")).unwrap()).unwrap();
    fs::write(to.join("vocab.json"), whole["model"]["vocab"].to_string()).unwrap();
    let merges = whole["model"]["merges"].as_array().unwrap().iter();
    let merges =
        merges.map(|it| format!("{} {}\n", it[0].as_str().unwrap(), it[1].as_str().unwrap()));
    fs::write(to.join("merges.txt"), "#version: 0.2\n".to_owned() + &merges.collect::<String>())
        .unwrap();
    let mut tokens = json!({});
    for token in whole["added_tokens"].as_array().unwrap() {
        if added == "added_tokens.json" {
            tokens[token["content"].as_str().unwrap()] = token["id"].clone();
        } else {
            tokens[token["id"].to_string()] = token.clone();
        }
    }
    let text = match added {
        "added_tokens.json" => tokens,
        _ => json!({"added_tokens_decoder": tokens, "pad_token": {"content": "<|endoftext|>"}}),
    };
    fs::write(to.join(added), text.to_string()).unwrap();
}

fn recorded(path: &Path) -> Vec<Recorded> {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

//! What of a model's `retouch.json` belongs to its digest.

use serde::de::IgnoredAny;
use serde_json::Deserializer;

/// Keys that are no part of a model's digest. A calibration of the confidence changes no edit, and a wording of edits
/// none whose localization or record is kept, since the record says what the model was told: a model that gets one
/// stays the model that it was. So does one whose parts are elsewhere.
const LEFT_OUT: [&str; 5] = ["confidence", "edit_instruction", "vae", "text_encoder", "tokenizer"];

/// The text of a `retouch.json` without the keys that are no part of the digest, however they are laid out.
pub(super) fn identity(retouch_json: &str) -> String {
    let without = |text: String, key: &&str| without(&text, key).unwrap_or(text);
    LEFT_OUT.iter().fold(retouch_json.to_owned(), without)
}

/// A JSON object's text without one of its keys, the value and the comma behind it; `None` if it is not there.
fn without(text: &str, key: &str) -> Option<String> {
    let key = format!("\"{key}\"");
    let (mut depth, mut in_string, mut escaped) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' if in_string => in_string = false,
            '"' => {
                let rest = text[at..].strip_prefix(&key).filter(|_| depth == 1);
                if let Some(value) = rest.and_then(|it| it.trim_start().strip_prefix(':')) {
                    let mut values = Deserializer::from_str(value).into_iter::<IgnoredAny>();
                    values.next()?.ok()?;
                    let after = value[values.byte_offset()..].trim_start_matches([' ', '\t']);
                    let after = after.strip_prefix(',').unwrap_or(after);
                    let after = after.trim_start_matches([' ', '\t', '\r']);
                    let after = after.strip_prefix('\n').unwrap_or(after);
                    return Some(text[..at].trim_end_matches([' ', '\t']).to_owned() + after);
                }
                in_string = true;
            }
            '{' | '[' if !in_string => depth += 1,
            '}' | ']' if !in_string => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_and_wordings_are_left_out_however_they_are_laid_out() {
        let bare = "{\n  \"tau\": 0.3,\n  \"noun_prompt\": \"confidence {}\"\n}\n";
        for more in [
            "  \"confidence\": {\"bias\": 1.0},\n",
            "  \"edit_instruction\": {\n    \"change\": [\"a }\", \"b\"],\n    \"remove\": \"c\"\n  },\n",
            "  \"confidence\" : {\"bias\": 1.0} ,\n  \"edit_instruction\": {},\r\n",
        ] {
            let text = bare.replace("  \"tau\"", &format!("{more}  \"tau\""));
            assert_eq!(identity(&text), bare, "{text}");
        }
        let minified = r#"{"tau":0.3,"confidence":{"bias":1.0},"k":2}"#;
        assert_eq!(identity(minified), r#"{"tau":0.3,"k":2}"#);
    }

    #[test]
    fn everything_else_counts() {
        for text in [r#"{"tau": {"confidence": 1}}"#, r#"{"nouns": ["confidence"]}"#, "", "{"] {
            assert_eq!(identity(text), text);
        }
    }
}

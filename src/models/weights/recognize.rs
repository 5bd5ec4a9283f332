//! Recognizes files that are not safetensors despite their name, by their first bytes, with a remedy for each kind.

/// Number of bytes to inspect.
pub(super) const LOOK: usize = 1024;

/// Remedy for the most common causes of a file without weights.
const AGAIN: &str = "download it again; gated models need `hf auth login` first";

/// First bytes, kind, and remedy.
const KINDS: [(&[u8], &str, &str); 11] = [
    (
        b"version https://git-lfs",
        "a Git LFS pointer, a note of where the weights are, not the weights",
        "run `git lfs install && git lfs pull` in its folder, or get the model with `hf download`",
    ),
    (b"GGUF", "a GGUF file, of weights for llama.cpp and its kin", OTHER_FORMAT),
    (b"GGML", "a GGML file, of weights for llama.cpp and its kin", OTHER_FORMAT),
    (
        b"PK\x03\x04",
        "a zip archive, such as torch writes its pickles in",
        "if torch wrote it, name it .ckpt, which says how to convert it; if not, unpack it",
    ),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, of weights for Keras", OTHER_FORMAT),
    (b"\x93NUMPY", "a NumPy array", OTHER_FORMAT),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"\xfd7zXZ\0", "an xz archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a zstd archive", UNPACK),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
];

const OTHER_FORMAT: &str = "get the model's .safetensors files";
const UNPACK: &str = "unpack it";

/// Kind and remedy by the first bytes; `None` if unknown.
pub(super) fn recognize(start: &[u8]) -> Option<(&'static str, &'static str)> {
    if start.is_empty() {
        return Some(("empty", AGAIN));
    }
    if let Some((_, kind, remedy)) = KINDS.iter().find(|(magic, ..)| start.starts_with(magic)) {
        return Some((kind, remedy));
    }
    match start {
        // A pickle's first instruction: which protocol follows.
        [0x80, 2..=5, ..] => {
            return Some((
                "a pickle, which can run code when it is read",
                "name it .ckpt, which says how to convert it",
            ));
        }
        // A message of protocol buffers whose first field is the format's version, and the second a text.
        [0x08, 1..=20, 0x12 | 0x3a, ..] => return Some(("an ONNX model", OTHER_FORMAT)),
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => {
            return Some(("a TensorFlow Lite model", OTHER_FORMAT));
        }
        _ => {}
    }
    if start.get(257..262) == Some(b"ustar".as_slice()) {
        return Some(("a tar archive", UNPACK));
    }
    if start.iter().all(|it| *it == 0) {
        return Some(("nothing but zeros, as a download leaves that never went on", AGAIN));
    }
    let text = String::from_utf8_lossy(start);
    // A few bytes may look like anything.
    if start.len() < 8
        || text.chars().any(|it| it.is_control() && !it.is_whitespace() || it == '\u{fffd}')
    {
        return None;
    }
    Some(match text.trim_start_matches('\u{feff}').trim_start().chars().next() {
        Some('<') => ("a web page, such as one that asks for a login", AGAIN),
        Some('{' | '[') => ("JSON text, such as a server's refusal", AGAIN),
        _ => ("text", AGAIN),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_by_their_first_bytes() {
        let tar = [&[b'x'; 257][..], b"ustar\0"].concat();
        for (start, expected) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n"[..], "Git LFS"),
            (b"GGUF\x03\0\0\0", "GGUF"),
            (b"PK\x03\x04\x14\0", "zip"),
            (b"\x80\x02}q\x01", "pickle"),
            (b"\x08\x08\x12\x07pytorch", "ONNX"),
            (b"\x1c\0\0\0TFL3", "TensorFlow Lite"),
            (b"\n<!DOCTYPE html>\n<html>", "web page"),
            (b"{\"error\": \"gated\"}", "JSON"),
            (b"Entry not found", "text"),
            (b"", "empty"),
            (&[0; 64], "zeros"),
            (&tar, "tar"),
            (b"\x89HDF\r\n\x1a\n", "HDF5"),
        ] {
            let (kind, remedy) = recognize(start).unwrap();
            assert!(kind.contains(expected), "{kind}");
            assert!(!remedy.is_empty());
        }
        assert_eq!(recognize(b"\x10\x27\0\0\0\0\0\0{\"a\""), None);
    }
}

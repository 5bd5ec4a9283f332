//! Pictures of a request: files of a form, data URIs, or names of artifacts. No URL is fetched, and no path is opened.

use base64::{
    DecodeError, DecodeSliceError, Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use bytes::Bytes;

use crate::http_api::said::wrong;
use crate::server::refusal::Refusal;
use crate::wire::{pictures, v1::Image};

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters that are decoded at once; a multiple of four.
const PIECE: usize = 4096;

/// Beginning of an artifact's name.
const ARTIFACT: &str = "artifacts/";

/// What an `image_url` says, and the field that it stands in.
#[derive(Debug)]
pub(super) struct Url {
    pub(super) field: String,
    pub(super) text: Bytes,
}

impl Url {
    /// The picture that it holds or names.
    ///
    /// # Errors
    /// For all but data URIs in base64 and names of artifacts.
    pub(super) fn picture(self) -> Result<Image, Refusal> {
        let Self { field, text } = self;
        if text.starts_with(ARTIFACT.as_bytes()) {
            return Ok(pictures::named(String::from_utf8_lossy(&text).into_owned()));
        }
        if !text.get(..5).is_some_and(|it| it.eq_ignore_ascii_case(b"data:")) {
            let why = "is no data URI; URLs are not fetched, send `data:image/png;base64,…`, or the name of an artifact";
            return Err(wrong(&field, why));
        }
        let Some(comma) = text.iter().position(|it| *it == b',') else {
            let why = "is a data URI without a comma, after which the data would come";
            return Err(wrong(&field, why));
        };
        if !text[..comma].to_ascii_lowercase().ends_with(b";base64") {
            return Err(wrong(&field, "is a data URI without `;base64`"));
        }
        let data = text.slice(comma + 1..);
        drop(text);
        let bytes =
            decoded(data).map_err(|error| wrong(&field, format!("is no base64: {error}")))?;
        Ok(pictures::sent(bytes))
    }
}

/// Decodes base64, in place if nobody else holds the text.
fn decoded(text: Bytes) -> Result<Bytes, DecodeSliceError> {
    let mut bytes = text.try_into_mut().unwrap_or_else(|shared| shared[..].into());
    let (mut read, mut written) = (0, 0);
    while read < bytes.len() {
        let length = PIECE.min(bytes.len() - read);
        let mut piece = [0; PIECE];
        piece[..length].copy_from_slice(&bytes[read..read + length]);
        let mut file = [0; PIECE / 4 * 3];
        let decoded =
            BASE64.decode_slice(&piece[..length], &mut file).map_err(|it| behind(it, read))?;
        // What is written ends before what is read.
        bytes[written..written + decoded].copy_from_slice(&file[..decoded]);
        read += length;
        written += decoded;
        if read < bytes.len() && decoded < PIECE / 4 * 3 {
            let padding = DecodeError::InvalidByte(read - 1, piece[length - 1]);
            return Err(padding.into());
        }
    }
    bytes.truncate(written);
    Ok(bytes.freeze())
}

/// An error of a piece that begins at an offset, told of the whole text.
fn behind(error: DecodeSliceError, start: usize) -> DecodeSliceError {
    match error {
        DecodeSliceError::DecodeError(DecodeError::InvalidByte(at, byte)) => {
            DecodeError::InvalidByte(start + at, byte).into()
        }
        DecodeSliceError::DecodeError(DecodeError::InvalidLastSymbol(at, byte)) => {
            DecodeError::InvalidLastSymbol(start + at, byte).into()
        }
        DecodeSliceError::DecodeError(DecodeError::InvalidLength(length)) => {
            DecodeError::InvalidLength(start + length).into()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn base64_is_decoded_in_place_as_elsewhere() {
        for length in (0..50).chain([PIECE / 4 * 3 - 1, PIECE / 4 * 3, PIECE, 10 * PIECE + 7]) {
            let file: Vec<u8> = (0..length).map(|it| (it * 7 % 251) as u8).collect();
            let text = Bytes::from(STANDARD.encode(&file));
            let shared = text.clone();
            assert_eq!(decoded(text).unwrap(), file, "{length}, of a text that is shared");
            assert_eq!(decoded(shared).unwrap(), file, "{length}");
        }
        for text in ["A", "A*A=", "AA==AA==", "AAA\n"] {
            assert!(decoded(Bytes::from_static(text.as_bytes())).is_err(), "{text}");
        }
        let long = [vec![b'A'; PIECE - 2], b"==AAAA".to_vec()].concat();
        assert!(decoded(long.into()).is_err());
        let wrong = [vec![b'A'; 2 * PIECE + 5], b"*AA".to_vec()].concat();
        let at = DecodeError::InvalidByte(2 * PIECE + 5, b'*');
        assert_eq!(decoded(wrong.into()).unwrap_err(), at.into());
    }
}

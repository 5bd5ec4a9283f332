//! Pictures of a request: files of a form, data URIs, or names of artifacts. No URL is fetched, and no path is opened.

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use crate::http_api::said::wrong;
use crate::server::refusal::Refusal;
use crate::wire::{pictures, v1::Image};

/// Base64 with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Beginning of an artifact's name.
const ARTIFACT: &str = "artifacts/";

/// The picture that an `image_url` holds or names.
///
/// # Errors
/// For all but data URIs in base64 and names of artifacts; `field` is the field that it stands in.
pub(super) fn of_url(field: &str, url: &str) -> Result<Image, Refusal> {
    if url.starts_with(ARTIFACT) {
        return Ok(pictures::named(url.to_owned()));
    }
    let data = url.get(..5).filter(|it| it.eq_ignore_ascii_case("data:")).map(|_| &url[5..]);
    let Some(data) = data else {
        let why = "is no data URI; URLs are not fetched, send `data:image/png;base64,…`, or the name of an artifact";
        return Err(wrong(field, why));
    };
    let Some((kind, text)) = data.split_once(',') else {
        return Err(wrong(field, "is a data URI without a comma, after which the data would come"));
    };
    if !kind.to_ascii_lowercase().ends_with(";base64") {
        return Err(wrong(field, "is a data URI without `;base64`"));
    }
    let bytes =
        BASE64.decode(text).map_err(|error| wrong(field, format!("is no base64: {error}")))?;
    Ok(pictures::sent(bytes.into()))
}

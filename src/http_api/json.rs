//! Requests as JSON, with pictures as data URIs.

use std::{borrow::Cow, collections::BTreeMap};

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::http_api::{
    asked::{Asked, Pictures},
    fields::Fields,
    picture::Url,
    said::wrong,
};
use crate::server::refusal::Refusal;

/// A reference to a picture.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Reference<'a> {
    #[serde(borrow, default)]
    image_url: Text<'a>,
    #[serde(default)]
    file_id: Option<Value>,
}

/// A text that is not copied.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// What a body of JSON asks for. The picture is decoded in the place of its text, so that it takes no further memory.
///
/// # Errors
/// As [`Asked::read`].
pub(super) fn asked(body: Bytes) -> Result<Asked, Refusal> {
    let broken = |error| Refusal::invalid_message(format!("the body is no JSON object: {error}"));
    let mut pictures = Pictures::default();
    let mut values = Map::new();
    let mut image = None;
    let raw: BTreeMap<String, &RawValue> = serde_json::from_slice(&body).map_err(broken)?;
    for (name, raw) in raw {
        let is_none = raw.get() == "null";
        match name.as_str() {
            _ if is_none => {}
            "images" => image = Some(only(&body, raw)?),
            "mask" => pictures.mask = Some(url("mask", &body, raw)?.picture()?),
            "retouch_mask" => {
                pictures.retouch_mask = Some(url("retouch_mask", &body, raw)?.picture()?);
            }
            _ => {
                values.insert(name, serde_json::from_str(raw.get()).map_err(broken)?);
            }
        }
    }
    // From here on the picture's text is all that is left of the body.
    drop(body);
    pictures.image = image.map(Url::picture).transpose()?;
    Asked::read(pictures, Fields::of_json(values))
}

/// The one picture of a list.
fn only(body: &Bytes, raw: &RawValue) -> Result<Url, Refusal> {
    let list: Vec<&RawValue> = serde_json::from_str(raw.get())
        .map_err(|error| wrong("images", format!("is no list of pictures: {error}")))?;
    match list.as_slice() {
        [raw] => url("images", body, raw),
        [] => Err(wrong("images", "is empty; send the picture to edit")),
        _ => Err(wrong("images", "has more than one; one picture is edited at a time")),
    }
}

/// The URL of a reference, as a part of the body.
fn url(field: &str, body: &Bytes, raw: &RawValue) -> Result<Url, Refusal> {
    let Reference { image_url: Text(text), file_id } = serde_json::from_str(raw.get())
        .map_err(|error| wrong(field, format!("is no object with an image_url: {error}")))?;
    if file_id.is_some() {
        let why = "is not known here; send image_url with a data URI, or the name of an artifact";
        return Err(wrong(&format!("{field}.file_id"), why));
    }
    let text = match text {
        Cow::Borrowed(text) => body.slice_ref(text.as_bytes()),
        Cow::Owned(text) => text.into_bytes().into(),
    };
    Ok(Url { field: format!("{field}.image_url"), text })
}

//! Requests as JSON, with pictures as data URIs.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::{Map, Value, value::RawValue};

use crate::http_api::{
    asked::{Asked, Pictures},
    fields::Fields,
    picture,
    said::wrong,
};
use crate::server::refusal::Refusal;
use crate::wire::v1::Image;

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

/// What a body of JSON asks for. Pictures are read where they stand, without a copy of their text.
///
/// # Errors
/// As [`Asked::read`].
pub(super) fn asked(body: &[u8]) -> Result<Asked, Refusal> {
    let broken = |error| Refusal::invalid_message(format!("the body is no JSON object: {error}"));
    let raw: BTreeMap<String, &RawValue> = serde_json::from_slice(body).map_err(broken)?;
    let mut pictures = Pictures::default();
    let mut values = Map::new();
    for (name, raw) in raw {
        let is_none = raw.get() == "null";
        match name.as_str() {
            _ if is_none => {}
            "images" => pictures.image = Some(only(raw)?),
            "mask" => pictures.mask = Some(one("mask", raw)?),
            "retouch_mask" => pictures.retouch_mask = Some(one("retouch_mask", raw)?),
            _ => {
                values.insert(name, serde_json::from_str(raw.get()).map_err(broken)?);
            }
        }
    }
    Asked::read(pictures, Fields::of_json(values))
}

/// The one picture of a list.
fn only(raw: &RawValue) -> Result<Image, Refusal> {
    let list: Vec<&RawValue> = serde_json::from_str(raw.get())
        .map_err(|error| wrong("images", format!("is no list of pictures: {error}")))?;
    match list.as_slice() {
        [raw] => one("images", raw),
        [] => Err(wrong("images", "is empty; send the picture to edit")),
        _ => Err(wrong("images", "has more than one; one picture is edited at a time")),
    }
}

/// The picture that a reference holds or names.
fn one(field: &str, raw: &RawValue) -> Result<Image, Refusal> {
    let Reference { image_url: Text(url), file_id } = serde_json::from_str(raw.get())
        .map_err(|error| wrong(field, format!("is no object with an image_url: {error}")))?;
    if file_id.is_some() {
        let why = "is not known here; send image_url with a data URI, or the name of an artifact";
        return Err(wrong(&format!("{field}.file_id"), why));
    }
    picture::of_url(&format!("{field}.image_url"), &url)
}

//! Requests as forms: multipart, as the official clients send them. The files are at most three: a picture and two
//! masks.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use multer::{Field, Multipart};
use serde_json::{Map, Value};

use crate::http_api::{
    asked::{Asked, Pictures},
    fields::Fields,
    said::wrong,
};
use crate::server::refusal::Refusal;
use crate::wire::{pictures, v1::Image};

/// Most texts.
const MAX_TEXTS: usize = 64;
/// Largest text, in bytes.
const MAX_TEXT: usize = 64 * 1024;

/// A form.
#[derive(Debug, Default)]
pub(super) struct Form {
    pictures: Pictures,
    texts: Map<String, Value>,
}

impl Form {
    /// Takes a form in; `length` is that of the body as announced.
    ///
    /// # Errors
    /// Names the part that is too large or one too many.
    pub(super) async fn receive(
        body: Body,
        boundary: String,
        length: usize,
    ) -> Result<Self, Refusal> {
        let mut parts = Multipart::new(body.into_data_stream(), boundary);
        let mut form = Self::default();
        let mut texts = 0;
        while let Some(mut part) = parts.next_field().await.map_err(|it| broken(&it))? {
            let Some(name) = part.name().map(ToOwned::to_owned) else {
                return Err(Refusal::invalid_message("a part of the form has no name"));
            };
            if let Some(place) = form.pictures.place(&name) {
                if place.is_some() {
                    let one = match name.as_str() {
                        "mask" | "retouch_mask" => "an edit has one mask",
                        _ => "one picture is edited at a time",
                    };
                    return Err(wrong(&name, format!("is there twice; {one}")));
                }
                *place = Some(pictures::sent(take(&mut part, usize::MAX, length).await?));
            } else {
                texts += 1;
                if texts > MAX_TEXTS {
                    return Err(wrong(
                        &name,
                        format!("is one too many; a form has {MAX_TEXTS} texts"),
                    ));
                }
                let bytes = take(&mut part, MAX_TEXT, 0).await?;
                let text = String::from_utf8(bytes.into());
                let text = text.map_err(|_| wrong(&name, "is no text in UTF-8"))?;
                form.put(&name, text)?;
            }
        }
        Ok(form)
    }

    /// What the form asks for.
    ///
    /// # Errors
    /// As [`Asked::read`].
    pub(super) fn asked(self) -> Result<Asked, Refusal> {
        Asked::read(self.pictures, Fields::of_form(self.texts))
    }

    /// Puts a text in its place; `retouch[seed]` is the field `seed` of the object `retouch`.
    fn put(&mut self, name: &str, text: String) -> Result<(), Refusal> {
        let within = name.strip_suffix(']').and_then(|it| it.split_once('['));
        // Others stay as they are written, and are refused by that name.
        let within = within.filter(|(_, field)| !field.is_empty() && !field.contains(['[', ']']));
        let before = match within {
            None => self.texts.insert(name.to_owned(), text.into()),
            Some((of, field)) => {
                let object = self.texts.entry(of).or_insert_with(|| Map::new().into());
                match object {
                    Value::Object(object) => object.insert(field.to_owned(), text.into()),
                    _ => Some(Value::Null),
                }
            }
        };
        if before.is_some() { Err(wrong(name, "is there twice")) } else { Ok(()) }
    }
}

impl Pictures {
    /// Where the file of a part belongs.
    fn place(&mut self, name: &str) -> Option<&mut Option<Image>> {
        match name {
            "image" | "image[]" => Some(&mut self.image),
            "mask" => Some(&mut self.mask),
            "retouch_mask" => Some(&mut self.retouch_mask),
            _ => None,
        }
    }
}

/// The bytes of a part. Room for `expected` bytes is taken at once: what stays unused costs no memory.
async fn take(part: &mut Field<'_>, most: usize, expected: usize) -> Result<Bytes, Refusal> {
    let mut bytes = BytesMut::with_capacity(expected);
    while let Some(piece) = part.chunk().await.map_err(|it| broken(&it))? {
        if bytes.len() + piece.len() > most {
            let name = part.name().unwrap_or_default();
            return Err(wrong(name, format!("has more than {most} bytes")));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.freeze())
}

/// The refusal of a body that is no form.
fn broken(error: &multer::Error) -> Refusal {
    Refusal::invalid_message(format!("the body is no multipart form: {error}"))
}

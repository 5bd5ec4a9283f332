//! Digests of what a record names, and texts of a record as a message may hold them.

use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::edit::{localization::Localization, request::EditRequest};
use crate::picture::Picture;
use crate::wire::edit_record::PassOne;

/// Digest of all that a request says of pass 1: two requests of the same digest, about one picture with one model, have the same
/// localization.
pub fn pass_one_digest(request: &EditRequest) -> String {
    let EditRequest { instruction, negative_prompt, object, action, settings, .. } = request;
    let pass = serde_json::to_string(&PassOne::of(request)).expect("numbers and texts become JSON");
    let said = format!(
        "{:?}",
        (
            instruction,
            negative_prompt,
            object,
            action,
            settings.guidance,
            settings.scheduler,
            settings.resize,
            pass
        )
    );
    format!("{:x}", Sha256::digest(said))
}

/// Digest of what a mask is made of, in hexadecimal: the cells, their clusters, and which of these are proposed.
pub fn localization_digest(localization: &Localization) -> String {
    let Localization { grid, resolution, labels, stands, covers, .. } = localization;
    let said = format!("{:?}", (grid, resolution, labels, localization.selected(), stands, covers));
    format!("{:x}", Sha256::digest(said))
}

/// SHA-256 of a picture's colors, in hexadecimal.
pub fn picture_digest(image: &RgbImage) -> String {
    format!("{:x}", colors(image).finalize())
}

/// SHA-256 of a picture's colors and, where it has one, its alpha channel.
pub fn digest_with_alpha(picture: &Picture) -> String {
    let mut hasher = colors(&picture.rgb);
    if let Some(alpha) = &picture.alpha {
        hasher.update(alpha.as_raw());
    }
    format!("{:x}", hasher.finalize())
}

fn colors(image: &RgbImage) -> Sha256 {
    let mut hasher = Sha256::new();
    hasher.update(image.width().to_le_bytes());
    hasher.update(image.height().to_le_bytes());
    hasher.update(image.as_raw());
    hasher
}

/// A text of unknown origin, for a line of a message: cut, and without characters that a terminal acts on.
pub fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let cut: String = text.chars().take(MOST).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    let plain = |c: char| if c.is_control() || is_bidi(c) { '\u{FFFD}' } else { c };
    format!("{}{more}", cut.chars().map(plain).collect::<String>())
}

/// Whether a character changes the direction of what follows.
pub(super) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

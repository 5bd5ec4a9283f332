//! Digests of the data that a record refers to, and sanitized texts of a record for messages.

use image::RgbImage;
use sha2::{Digest, Sha256};

use crate::edit::{localization::Localization, request::EditRequest, understood::Understood};
use crate::picture::Picture;
use crate::wire::edit_record::pass_one::PassOne;

/// Digest of all settings of pass 1: with equal digests, one picture and one model give the same localization.
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
    // What is told where it is not the instruction itself: an addition is localized by it.
    let understood = Understood::of(request);
    let said = format!("{said}{}", understood.reworded(request).unwrap_or_default());
    format!("{:x}", Sha256::digest(said))
}

/// Digest of a localization as far as masks depend on it, in hexadecimal: cells, their clusters, and the proposed ones.
pub fn localization_digest(localization: &Localization) -> String {
    let Localization { grid, resolution, labels, stands, covers, .. } = localization;
    let said = format!("{:?}", (grid, resolution, labels, localization.selected(), stands, covers));
    format!("{:x}", Sha256::digest(said))
}

/// SHA-256 of a picture's color values, in hexadecimal.
pub fn picture_digest(image: &RgbImage) -> String {
    format!("{:x}", colors(image).finalize())
}

/// SHA-256 of a picture's color values and its alpha channel if it has one, in hexadecimal.
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

/// A text of unknown origin made safe for one line of a message: truncated, and without control characters.
pub fn shown(text: &str) -> String {
    const MOST: usize = 120;
    let cut: String = text.chars().take(MOST).collect();
    let more = if cut.len() < text.len() { "…" } else { "" };
    let plain = |c: char| if c.is_control() || is_bidi(c) { '\u{FFFD}' } else { c };
    format!("{}{more}", cut.chars().map(plain).collect::<String>())
}

/// Whether a character changes the writing direction (Unicode bidirectional control).
pub(super) fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

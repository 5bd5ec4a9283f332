//! What is asked of an edit, checked and with every default filled in.

use std::sync::Arc;

use image::RgbImage;

use crate::edit::{
    choices::{MethodKind, PreviewDecode, Unparsed},
    edit_mask::MaskChoice,
    settings::EditSettings,
};
use crate::instruction::Action;
use crate::sampling::GuidanceScales;

/// One edit.
#[derive(Debug, Clone)]
pub struct EditRequest {
    /// The picture as shown: orientation applied, RGB, at its full size.
    pub image: Arc<RgbImage>,
    /// What to do, as it was written; a [session](crate::editing::session::EditSession) holds what the model reads of it.
    pub instruction: String,
    /// What to avoid; empty is the plain null prompt.
    pub negative_prompt: String,
    /// How.
    pub method: MethodKind,
    /// The object, where the caller names it instead of the parser.
    pub object: Option<String>,
    /// The kind of edit, where the caller names it instead of the parser.
    pub action: Option<Action>,
    /// What happens when neither names an object.
    pub unparsed: Unparsed,
    /// Of the noise, in pass 1 too where that has none of its own.
    pub seed: u64,
    /// Everything with a default.
    pub settings: EditSettings,
    /// The mask, as far as the caller decides it.
    pub mask: MaskChoice,
    /// A preview every so many steps; 0 is none.
    pub preview_every: usize,
    /// How previews are made.
    pub preview_decode: PreviewDecode,
}

impl EditRequest {
    /// The guidance of both passes.
    pub fn guidance(&self) -> GuidanceScales {
        self.settings.guidance
    }

    /// The seed of pass 1's noise.
    pub fn localize_seed(&self) -> u64 {
        self.settings.localization.seed.unwrap_or(self.seed)
    }

    /// Whether pass 1 is needed: the method has one, and the caller's own mask does not already say everything.
    pub fn needs_localization(&self) -> bool {
        self.method == MethodKind::IamEdit && self.mask.needs_localization()
    }
}

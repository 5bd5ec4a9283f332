//! An edit request: validated, with all defaults filled in.

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
    /// The input picture: orientation applied, RGB, full size.
    pub image: Arc<RgbImage>,
    /// The instruction as written; a [session](crate::editing::session::EditSession) has the cleaned text.
    pub instruction: String,
    /// The negative prompt; empty means the null prompt.
    pub negative_prompt: String,
    /// How.
    pub method: MethodKind,
    /// The object, if the caller names it instead of the parser.
    pub object: Option<String>,
    /// The kind of edit, if the caller names it instead of the parser.
    pub action: Option<Action>,
    /// Whether the model is told the instruction as it was written (cleaned), not as it was understood.
    pub verbatim: bool,
    /// What to do if neither names an object.
    pub unparsed: Unparsed,
    /// Seed of the noise, also of pass 1 unless that has its own.
    pub seed: u64,
    /// Everything with a default.
    pub settings: EditSettings,
    /// The caller's choices about the mask.
    pub mask: MaskChoice,
    /// Emit a preview every so many steps; 0 for none.
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

    /// Whether pass 1 is needed: the method has one, and the caller's mask does not make it superfluous.
    pub fn needs_localization(&self) -> bool {
        self.method.finds_mask() && self.mask.needs_localization()
    }
}

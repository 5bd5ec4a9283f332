//! What an editing method and a source of masks are to an editor.

use std::fmt::Debug;

use tch::Tensor;

use crate::edit::{
    choices::MethodKind, edit_mask::EditMask, event::EventSink, localization::Localization,
    localization_instruction::LocalizationInstruction, localizer::Localizer,
};
use crate::editing::{EditError, session::EditSession};

/// An editing method, or more precisely its pass 2. What other rooms need to know of it is said by its
/// [kind](MethodKind).
pub trait Method: Debug + Sync {
    /// The name under which requests ask for it.
    fn kind(&self) -> MethodKind;

    /// Refuses a request that asks for what the method can't do with the model, before any pass.
    ///
    /// # Errors
    /// [`EditError`] names what the model lacks.
    fn check(&self, session: &EditSession<'_>) -> Result<(), EditError>;

    /// Runs pass 2 inside the mask, or on the whole picture, and returns the clean latents (1, C, h, w).
    ///
    /// # Errors
    /// [`EditError`] if the model fails or the sink stops the run.
    fn edit(
        &self,
        session: &EditSession<'_>,
        mask: Option<&EditMask>,
        sink: &mut dyn EventSink,
    ) -> Result<Tensor, EditError>;
}

/// A source of masks: pass 1 of an edit.
pub trait MaskSource: Debug + Sync {
    /// The name under which requests ask for it.
    fn localizer(&self) -> Localizer;

    /// Finds the region that the instruction edits.
    ///
    /// # Errors
    /// [`EditError`] if the model fails or has no usable attention layers, or if the sink stops the run.
    fn localize(
        &self,
        session: &EditSession<'_>,
        instruction: &LocalizationInstruction,
        sink: &mut dyn EventSink,
    ) -> Result<Localization, EditError>;
}

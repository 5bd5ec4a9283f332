//! Undoes in the result of an edit what the model did to the whole picture, before the rest of it is put back.
//!
//! Differs: no paper has it. A model that draws the whole picture anew moves it, too, by some pixels, and changes its
//! colors; at the mask's border the edit then does not fit what is put back around it. The motion is told from the
//! attention of pass 2 ([`copy_field`](crate::editing::copy_field)), and not from the pictures.

use image::RgbImage;

use crate::edit::{
    choices::{Align, Preserve},
    drift::Drift,
    edit_mask::EditMask,
};
use crate::editing::{EditError, session::EditSession};
use crate::picture::align;

/// Cells around a place from which its colors are told.
const NEAR_CELLS: f64 = 2.0;

/// Refuses to align the result of a model whose motion can't be told.
///
/// # Errors
/// [`EditError::NoReferences`].
pub(super) fn check(session: &EditSession<'_>) -> Result<(), EditError> {
    match session.request.settings.align {
        Align::Off => Ok(()),
        Align::Auto => session.check_attends_to_picture("an alignment"),
    }
}

/// The drift of pass 2, with whether it is undone; `None` if it could not be told.
pub(super) fn drift(session: &EditSession<'_>, mask: Option<&EditMask>) -> Option<Drift> {
    let drift = session.drift.get()?;
    let is_undone = is_wanted(session, mask) && drift.is_worth_undoing(session.covered());
    Some(Drift { is_undone, ..drift })
}

/// A decoded result, at the working size, without the drift that is undone.
pub(super) fn without(
    session: &EditSession<'_>,
    drift: Option<Drift>,
    image: RgbImage,
) -> RgbImage {
    let Some(Drift { displacement, is_undone: true, .. }) = drift else { return image };
    let (work, covered) = (session.work_size(), session.covered());
    let scale = |work: u32, covered: u32| f64::from(work) / f64::from(covered);
    let scale = [scale(work.width, covered.width), scale(work.height, covered.height)];
    displacement.scaled(scale).undone(&image)
}

/// The result at the input's size in the colors that the picture has around the mask.
///
/// # Errors
/// [`EditError::Pipeline`].
pub(super) fn in_colors(
    session: &EditSession<'_>,
    mask: Option<&EditMask>,
    image: RgbImage,
) -> Result<RgbImage, EditError> {
    match mask {
        Some(mask) if is_wanted(session, Some(mask)) => {
            let (unedited, near) = (session.reconstruction()?, NEAR_CELLS * session.cell());
            Ok(align::in_colors_of(&image, unedited, mask.full().as_image(), near))
        }
        _ => Ok(image),
    }
}

/// Whether the rest of the picture is put back around the mask, and the edit is to fit it.
fn is_wanted(session: &EditSession<'_>, mask: Option<&EditMask>) -> bool {
    let settings = &session.request.settings;
    settings.align == Align::Auto && settings.preserve == Preserve::Pixel && mask.is_some()
}

//! Baseline: plain InstructPix2Pix (arXiv 2211.09800; diffusers: `StableDiffusionInstructPix2PixPipeline`).

use tch::Tensor;

use crate::attention::processor::Unwatched;
use crate::edit::{
    edit_mask::EditMask,
    event::{EventSink, Pass},
};
use crate::editing::{EditError, preserve::LatentPreserve, session::EditSession};

/// Denoises with the instruction and returns the clean latents (1, C, h, w).
///
/// Attention is not modified; the mask is used only by [`crate::edit::choices::Preserve::Latent`].
///
/// # Errors
/// [`EditError`] if the model fails or the sink stops the run.
pub fn edit(
    session: &EditSession<'_>,
    mask: Option<&EditMask>,
    sink: &mut dyn EventSink,
) -> Result<Tensor, EditError> {
    let run = session.run(Pass::Edit, &session.instruction)?;
    let preserve = mask.map(|mask| LatentPreserve::of(session, mask, &run)).transpose()?.flatten();
    session.denoise(Pass::Edit, &run, Box::new(Unwatched), sink, &|done, latents| match &preserve {
        Some(preserve) => preserve.apply(run.scheduler.as_ref(), done.step, &latents),
        None => latents,
    })
}

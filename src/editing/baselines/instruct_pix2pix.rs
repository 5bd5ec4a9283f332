//! InstructPix2Pix as it is (arXiv 2211.09800; diffusers: `StableDiffusionInstructPix2PixPipeline`).

use tch::Tensor;

use crate::attn_processor::Unwatched;
use crate::editing::{
    EditError,
    event::{EventSink, Pass},
    session::EditSession,
};

/// Denoises with the instruction, nothing held back, and returns the clean latents (1, 4, h, w).
///
/// # Errors
/// [`EditError`] if the model fails or the sink breaks.
pub fn edit(session: &EditSession<'_>, sink: &mut dyn EventSink) -> Result<Tensor, EditError> {
    let request = session.request;
    let run = session.run(&request.instruction, request.settings.steps)?;
    session.denoise(Pass::Edit, &run, Box::new(Unwatched), sink, &|_, latents| latents)
}

//! Baseline: plain InstructPix2Pix (arXiv 2211.09800; diffusers: `StableDiffusionInstructPix2PixPipeline`).

use tch::Tensor;

use crate::attention::processor::Unwatched;
use crate::edit::{
    choices::MethodKind,
    edit_mask::EditMask,
    event::{EventSink, Pass},
};
use crate::editing::{EditError, method::Method, preserve::LatentPreserve, session::EditSession};

/// The plain backbone: attention is not modified, and every step is guided as in diffusers.
#[derive(Debug)]
pub struct InstructPix2Pix;

impl Method for InstructPix2Pix {
    fn kind(&self) -> MethodKind {
        MethodKind::InstructPix2Pix
    }

    fn check(&self, _session: &EditSession<'_>) -> Result<(), EditError> {
        Ok(())
    }

    /// The mask is used only by [`crate::edit::choices::Preserve::Latent`].
    fn edit(
        &self,
        session: &EditSession<'_>,
        mask: Option<&EditMask>,
        sink: &mut dyn EventSink,
    ) -> Result<Tensor, EditError> {
        let run = session.run(Pass::Edit, session.told())?;
        let preserve = LatentPreserve::of(session, mask, &run)?;
        let course = session.course(Pass::Edit, &run);
        session.denoise(
            &course,
            &run,
            Box::new(Unwatched),
            sink,
            &|done, latents| match &preserve {
                Some(preserve) => preserve.apply(run.scheduler.as_ref(), done.step, &latents),
                None => latents,
            },
        )
    }
}

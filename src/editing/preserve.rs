//! What keeps the rest of the picture: in the latents at each step, or pixel by pixel at the end.

use tch::{Kind, Tensor};

use crate::edit::{choices::Preserve, edit_mask::EditMask};
use crate::editing::{
    EditError,
    session::{EditSession, Run},
};
use crate::schedulers::{Scheduler, Step};

/// Puts the source's latents back outside the mask after each step.
///
/// Differs: Watch Your Steps blends at the level before the step; blending at the level after it restores the source
/// exactly at the last one.
#[derive(Debug)]
pub struct LatentPreserve {
    /// (1, 1, h, w), 1 = edit.
    mask: Tensor,
    /// The source's latents, scaled.
    source: Tensor,
    /// The unit noise that the run started from.
    noise: Tensor,
}

impl LatentPreserve {
    /// `mask` is (1, 1, H, W) at the picture's size, `source` the picture's latents times the scaling factor, `noise` the
    /// unit noise of the start, both (1, 4, h, w).
    pub fn new(mask: &Tensor, source: Tensor, noise: &Tensor) -> Self {
        let size = source.size();
        let mask = mask.adaptive_max_pool2d([size[2], size[3]]).0.to_kind(Kind::Float);
        Self { mask, source, noise: noise.shallow_clone() }
    }

    /// That of an edit's second pass, if the request asks for it.
    ///
    /// # Errors
    /// [`EditError::Pipeline`].
    pub fn of(
        session: &EditSession<'_>,
        mask: &EditMask,
        run: &Run,
    ) -> Result<Option<Self>, EditError> {
        let settings = &session.request.settings;
        match settings.preserve {
            Preserve::Latent => {}
            Preserve::Pixel if settings.blend => {}
            Preserve::None | Preserve::Pixel => return Ok(None),
        }
        let latents = session.image_latents()?;
        let source = latents.to_kind(Kind::Float) * session.pipeline.geometry().scaling_factor;
        Ok(Some(Self::new(&mask.gate_tensor(latents.device()), source, run.tape.initial())))
    }

    /// Latents after a step: as they are inside the mask, the source at the same noise level outside.
    pub fn apply(&self, scheduler: &dyn Scheduler, step: Step, latents: &Tensor) -> Tensor {
        let source = scheduler.renoise(&self.source, &self.noise, step);
        latents * &self.mask + source * (1.0 - &self.mask)
    }
}

//! Preserves the picture outside the mask by restoring the source's latents after each step.

use tch::{Kind, Tensor};

use crate::edit::{choices::Preserve, edit_mask::EditMask};
use crate::editing::{
    EditError,
    session::{EditSession, Run},
};
use crate::schedulers::{Scheduler, Step};

/// Restores the source's latents outside the mask after each step.
///
/// Differs: Watch Your Steps blends at the noise level before the step; blending at the level after it restores the
/// source exactly at the last step.
#[derive(Debug)]
pub struct LatentPreserve {
    /// (1, 1, h, w), 1 = edit.
    mask: Tensor,
    /// The source's latents.
    source: Tensor,
    /// The unit noise of the run's start.
    noise: Tensor,
}

impl LatentPreserve {
    /// `mask` is (1, 1, H, W) at the picture's size, `source` the picture's latents, `noise` the unit noise of the
    /// start, both (1, C, h, w).
    pub fn new(mask: &Tensor, source: Tensor, noise: &Tensor) -> Self {
        let size = source.size();
        let mask = mask.adaptive_max_pool2d([size[2], size[3]]).0.to_kind(Kind::Float);
        Self { mask, source, noise: noise.shallow_clone() }
    }

    /// For pass 2 of an edit; `None` if the request does not ask for it.
    ///
    /// # Errors
    /// [`EditError::Pipeline`].
    pub fn of(
        session: &EditSession<'_>,
        mask: Option<&EditMask>,
        run: &Run,
    ) -> Result<Option<Self>, EditError> {
        let Some(mask) = mask else { return Ok(None) };
        let settings = &session.request.settings;
        match settings.preserve {
            Preserve::Latent => {}
            Preserve::Pixel if settings.blend => {}
            Preserve::None | Preserve::Pixel => return Ok(None),
        }
        let source = session.image_latents()?;
        let mask = mask.gate_tensor(source.device());
        Ok(Some(Self::new(&mask, source.shallow_clone(), run.tape.initial())))
    }

    /// The latents after a step: unchanged inside the mask, the source at the same noise level outside.
    pub fn apply(&self, scheduler: &dyn Scheduler, step: Step, latents: &Tensor) -> Tensor {
        let source = scheduler.add_noise(&self.source, &self.noise, step.index + 1);
        latents * &self.mask + source * (1.0 - &self.mask)
    }
}

//! State that both passes of an edit share: the resized picture, its latents, and the reporting of denoising runs.

use std::{
    cell::{Cell, OnceCell},
    ops::{ControlFlow, Range},
    sync::Arc,
    thread,
};

use image::RgbImage;
use tch::Tensor;

use crate::attention::{processor::AttnProcessor, role::Role, site::AttnSite};
use crate::edit::{
    choices::PreviewDecode,
    event::{EventSink, Pass, StepReport},
    knobs::Tau,
    parts::Part,
    request::EditRequest,
    understood::Understood,
};
use crate::editing::{
    EditError,
    step_reports::{Asked, StepReports},
};
use crate::instruction::wording::{Use, Wording};
use crate::picture::{
    frame::Frame,
    grid,
    mask::Mask,
    resample::{self, Filter},
    size::Size,
};
use crate::pipelines::{
    EditPipeline, Predictor,
    conditioning::{Conditioning, LatentSize},
    denoise::{self, DenoisePlan, StepDone},
    preview::{LatentPreview, StepPreview},
};
use crate::schedulers::{Scheduler, noise::NoiseTape};

/// State of one edit.
#[derive(derive_more::Debug)]
pub struct EditSession<'a> {
    /// The model.
    #[debug(skip)]
    pub pipeline: &'a dyn EditPipeline,
    /// The request; its picture and working size must not change while the session lasts.
    pub request: EditRequest,
    /// Which of the edits that the caller's instruction asks for it is.
    pub(super) part: Part,
    /// The instruction as it was read, and what the model is told of it.
    pub understood: Understood,
    /// The cleaned negative prompt.
    pub negative_prompt: String,
    /// The picture at the working size.
    pub work: Arc<RgbImage>,
    /// The part of the input that the model sees, in input pixels.
    frame: Frame,
    /// Whether what was understood was emitted.
    pub(super) is_announced: Cell<bool>,
    image_latents: OnceCell<Tensor>,
    #[debug(skip)]
    reconstruction: OnceCell<RgbImage>,
}

/// Scheduler, noise and conditioning of a run.
#[derive(Debug)]
pub struct Run {
    /// The scheduler.
    pub scheduler: Box<dyn Scheduler>,
    /// The noise.
    pub tape: NoiseTape,
    /// The conditioning.
    pub conditioning: Conditioning,
}

/// What a method decides of a denoising run.
#[derive(derive_more::Debug)]
pub struct Course<'a> {
    /// The pass that events name.
    pub pass: Pass,
    /// What predicts the noise: the model, or the method's own way to ask it.
    #[debug(skip)]
    pub predictor: &'a dyn Predictor,
    /// Indices of the steps with guidance.
    pub guided: Range<usize>,
    /// Roles that steps without guidance predict beside [`Role::Text`], for an attention processor that compares them.
    pub unguided: &'a [Role],
    /// How many steps are made.
    pub made: usize,
}

impl<'a> EditSession<'a> {
    /// Resizes the picture as the request says.
    pub fn new(pipeline: &'a dyn EditPipeline, request: EditRequest) -> Self {
        let _span = tracing::debug_span!("resize").entered();
        let image = &request.image;
        let input = Size::new(image.width(), image.height());
        let (resize, geometry) = (request.settings.resize, pipeline.geometry());
        let (resized, seen) = (resize.resized(input, geometry), resize.frame(input, geometry));
        let mut work = Arc::clone(image);
        if resized != input {
            work = Arc::new(resample::resize_rgb(&work, resized, Filter::Lanczos));
        }
        if seen != Frame::first(resized) {
            work = Arc::new(seen.cut(&work));
        }
        Self {
            pipeline,
            understood: Understood::of(&request),
            negative_prompt: Wording::of(&request.negative_prompt, Use::NegativePrompt).text,
            work,
            frame: seen.resized(resized, input),
            part: Part::only(&request.instruction),
            request,
            is_announced: Cell::new(false),
            image_latents: OnceCell::new(),
            reconstruction: OnceCell::new(),
        }
    }

    /// What the model is told.
    pub fn told(&self) -> &str {
        &self.understood.told.text
    }

    /// Size of the input, and of the result.
    pub fn input_size(&self) -> Size {
        Size::new(self.request.image.width(), self.request.image.height())
    }

    /// Size of the part that the model sees, in input pixels, padding included.
    pub fn covered(&self) -> Size {
        self.frame.size
    }

    /// [`Self::covered`], if it is larger than the picture.
    ///
    /// What is smaller lacks less than half a cell on each side, by which maps are stretched when they are drawn.
    pub fn covers(&self) -> Option<Size> {
        let (covered, input) = (self.covered(), self.input_size());
        (covered.width > input.width || covered.height > input.height).then_some(covered)
    }

    /// Resizes a picture of the working size and puts it where the model's part of the input is.
    pub fn at_input(&self, image: RgbImage) -> RgbImage {
        let covered = self.covered();
        let image = if self.work_size() == covered {
            image
        } else {
            resample::resize_rgb(&image, covered, Filter::Lanczos)
        };
        if self.frame == Frame::first(self.input_size()) {
            return image;
        }
        self.frame.put(&image, &self.request.image)
    }

    /// A mask at the working size: a pixel is edited if any part of it is.
    pub fn mask_at_work(&self, mask: &Mask) -> Mask {
        let (work, covered) = (self.work_size(), self.frame.cut_mask(mask));
        if covered.size() == work {
            return covered;
        }
        let pixels = grid::max_pool(&covered, work);
        Mask::from_fn(work, |x, y| pixels[(y * work.width + x) as usize] > 0.0)
    }

    /// The part of the input that the model sees, without padding.
    pub fn seen(&self) -> Frame {
        if self.covers().is_some() { Frame::first(self.input_size()) } else { self.frame }
    }

    /// The size that the model works at, in pixels.
    pub fn work_size(&self) -> Size {
        Size::new(self.work.width(), self.work.height())
    }

    /// The attention layers that each call of the model visits.
    pub fn sites(&self) -> Vec<AttnSite> {
        let (work, cell) = (self.work_size(), self.pipeline.geometry().vae_scale_factor);
        let [height, width] = [work.height, work.width].map(|it| i64::from(it / cell));
        self.pipeline.sites(LatentSize { height, width })
    }

    /// The picture's latents, (1, C, h, w) in fp32, encoded once.
    ///
    /// # Errors
    /// [`EditError::Pipeline`].
    pub fn image_latents(&self) -> Result<&Tensor, EditError> {
        if let Some(latents) = self.image_latents.get() {
            return Ok(latents);
        }
        let _span = tracing::debug_span!("encode_image").entered();
        let latents = self.pipeline.encode_image(&self.work)?;
        Ok(self.image_latents.get_or_init(|| latents))
    }

    /// The VAE's reconstruction of the picture at the input's size, made once: the best that an edit could preserve.
    ///
    /// # Errors
    /// [`EditError::Pipeline`].
    pub fn reconstruction(&self) -> Result<&RgbImage, EditError> {
        if let Some(image) = self.reconstruction.get() {
            return Ok(image);
        }
        let image = self.at_input(self.pipeline.decode(self.image_latents()?)?);
        Ok(self.reconstruction.get_or_init(|| image))
    }

    /// Pixels of the input a side of a cell of the latents, the longer one.
    pub fn cell(&self) -> f64 {
        let (work, covered) = (self.work_size(), self.covered());
        let scale = f64::from(self.pipeline.geometry().vae_scale_factor);
        let along = |covered: u32, work: u32| f64::from(covered) / f64::from(work) * scale;
        along(covered.width, work.width).max(along(covered.height, work.height))
    }

    /// Scheduler, noise and conditioning of a pass with this prompt.
    ///
    /// All runs of a session start from the same noise, unless pass 1 has its own seed.
    ///
    /// # Errors
    /// [`EditError::Pipeline`].
    pub fn run(&self, pass: Pass, prompt: &str) -> Result<Run, EditError> {
        let settings = &self.request.settings;
        let (steps, scheduler, seed) = match pass {
            Pass::Localize => (
                settings.localize_steps,
                settings.scheduler.or(settings.localization.scheduler),
                self.request.localize_seed(),
            ),
            Pass::Edit => (settings.steps, settings.scheduler, self.request.seed),
        };
        let latents = self.image_latents()?;
        let roles = self.pipeline.guidance().roles(self.request.guidance());
        let conditioning = self.conditioning(prompt, roles)?;
        let size = LatentSize::of(latents);
        let scheduler = self.pipeline.scheduler(scheduler, steps, size)?;
        let tape = NoiseTape::draw(seed, &latents.size(), scheduler.as_ref());
        Ok(Run { scheduler, tape: tape.to_device(latents.device()), conditioning })
    }

    /// What the model sees of this prompt, the request's negative prompt and the picture, in the rows of these roles.
    ///
    /// # Errors
    /// [`EditError::Pipeline`].
    pub fn conditioning(&self, prompt: &str, roles: &[Role]) -> Result<Conditioning, EditError> {
        Ok(self.pipeline.condition(prompt, &self.negative_prompt, &self.work, roles)?)
    }

    /// A run of all steps, each with guidance, predicted by the model.
    pub fn course(&self, pass: Pass, run: &Run) -> Course<'a> {
        let made = run.scheduler.steps().len();
        Course { pass, predictor: self.pipeline, guided: 0..made, unguided: &[], made }
    }

    /// The threshold that the request asks for, else a default.
    pub fn threshold(&self, default: f64) -> f64 {
        self.request.settings.threshold.map_or(default, Tau::get)
    }

    /// Denoises and reports each step; `replace` may change the latents after it.
    ///
    /// # Errors
    /// [`EditError::Interrupted`] if the sink stops the run.
    pub fn denoise(
        &self,
        course: &Course<'_>,
        run: &Run,
        attn: Box<dyn AttnProcessor>,
        sink: &mut dyn EventSink,
        replace: &dyn Fn(&StepDone<'_>, Tensor) -> Tensor,
    ) -> Result<Tensor, EditError> {
        let every = self.request.preview_every;
        let preview = match (every, self.request.preview_decode) {
            (0, _) | (_, PreviewDecode::Vae { .. }) => None,
            (_, PreviewDecode::Linear) => {
                let map = LatentPreview::fit(&self.work, self.image_latents()?);
                Some(StepPreview::Linear(map))
            }
            (_, PreviewDecode::Tiny) => {
                Some(StepPreview::Tiny(self.covers().map(|_| self.input_size())))
            }
        };
        let plan = DenoisePlan {
            guided: course.guided.clone(),
            unguided: &run.conditioning.only(course.unguided),
            made: 0..course.made,
            ..DenoisePlan::whole(
                course.predictor,
                run.scheduler.as_ref(),
                &run.conditioning,
                self.request.guidance(),
                &run.tape,
            )
        };
        let pass = course.pass;
        let device = self.image_latents()?.device();
        thread::scope(|scope| {
            let mut reports = StepReports::of_run(device, preview, scope);
            let mut on_step = |done: &StepDone<'_>, latents: Tensor| {
                let latents = replace(done, latents);
                let step = done.step.index + 1;
                let shown = every > 0
                    && (step.is_multiple_of(every) || step == done.of)
                    && self.request.preview_decode.shows(step, done.of);
                let predicted = done.pred_original_sample;
                // A picture that can't be decoded is not shown; the edit itself will say so.
                let decoded = || {
                    let image = self.pipeline.decode(predicted).ok()?;
                    // At its own size, but without what was repeated beyond the picture's edges.
                    Some(if self.covers().is_some() { self.at_input(image) } else { image })
                };
                let by_vae = matches!(self.request.preview_decode, PreviewDecode::Vae { .. });
                let is_decoded = shown && by_vae;
                let report = StepReport {
                    pass,
                    step,
                    of: done.of,
                    timestep: done.step.timestep,
                    preview: is_decoded.then(decoded).flatten().map(Arc::new),
                };
                let tiny = self.request.preview_decode == PreviewDecode::Tiny;
                // Without a tiny decoder there is no preview.
                let by_tiny =
                    if tiny && shown { self.pipeline.decode_tiny(predicted) } else { None };
                let shown = shown && (by_tiny.is_some() || !tiny);
                let predicted = by_tiny.unwrap_or_else(|| predicted.shallow_clone());
                reports.step(Asked { report, predicted, shown }, sink)?;
                ControlFlow::Continue(latents)
            };
            let latents = denoise::denoise(&plan, attn, &mut on_step)?;
            match reports.finish(sink) {
                ControlFlow::Continue(()) => Ok(latents),
                ControlFlow::Break(interrupted) => Err(interrupted.into()),
            }
        })
    }
}

//! A scripted model.

use std::{
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use bytes::Bytes;
use retouch::{
    edit::settings::EditSettings,
    jobs::runner::{
        Edited, Listener, Localized, ModelInfo, Proposal, RunError, RunEvent, Runner, Task,
    },
    picture::{format::FileFormat, size::Size},
    wire::{
        pictures::{LazyPreview, PictureFile},
        v1::{self, Pass},
    },
};

/// How long a scripted step takes.
pub(crate) const STEP: Duration = Duration::from_millis(10);

/// A model that does what the instruction says: `panic`, `no memory`, `lose the device`, `everything`.
#[derive(Debug)]
pub(crate) struct Script {
    model: ModelInfo,
    /// How long a step takes.
    pub(crate) step: Duration,
    /// Steps of pass 1 that were made, over all jobs.
    pub(crate) localize_steps: Arc<AtomicUsize>,
}

impl Script {
    pub(crate) fn new() -> Self {
        Self::on("cpu")
    }

    /// On a device of this name.
    pub(crate) fn on(device: &str) -> Self {
        let model = ModelInfo {
            name: "script".to_owned(),
            digest: "0123".to_owned(),
            device: device.to_owned(),
            dtype: "fp32".to_owned(),
            libtorch: "none".to_owned(),
            recommended: EditSettings::paper(),
        };
        Self { model, step: STEP, localize_steps: Arc::default() }
    }

    fn steps(
        &self,
        task: &Task,
        pass: Pass,
        total: u32,
        listener: Listener<'_>,
    ) -> Result<(), RunError> {
        for step in 1..=total {
            thread::sleep(self.step);
            if pass == Pass::Localize {
                self.localize_steps.fetch_add(1, Ordering::Relaxed);
            }
            let image = image::RgbImage::from_pixel(8, 8, image::Rgb([step as u8, 0, 0]));
            let preview = LazyPreview::new(Arc::new(image), None);
            let progress = v1::StepProgress {
                pass: pass as i32,
                step,
                total,
                timestep: f64::from(total - step),
                eta: None,
            };
            go(listener(RunEvent::Preview(pass, step, preview)))?;
            go(listener(RunEvent::Step(progress)))?;
        }
        match task.spec.instruction.as_str() {
            "panic" => panic!("as asked"),
            "no memory" => panic!("DefaultCPUAllocator: can't allocate memory"),
            "lose the device" => Err(RunError::DeviceLost("CUDA error: as asked".to_owned())),
            _ => Ok(()),
        }
    }
}

fn go(flow: ControlFlow<()>) -> Result<(), RunError> {
    if flow.is_break() { Err(RunError::Interrupted) } else { Ok(()) }
}

impl Runner for Script {
    fn model(&self) -> &ModelInfo {
        &self.model
    }

    fn localize(&mut self, task: &Task, listener: Listener<'_>) -> Result<Localized, RunError> {
        if task.localization.is_none() {
            let parsed = v1::InstructionParsed { object: "bee".to_owned(), ..Default::default() };
            go(listener(RunEvent::Parsed(parsed)))?;
            self.steps(task, Pass::Localize, task.spec.localize_steps.unwrap_or(3), listener)?;
        }
        if task.spec.instruction == "everything" {
            return Ok(Localized { found: None });
        }
        let cluster = |id, score, selected| v1::Cluster { id, score, area: 0.5, selected };
        let word =
            v1::Heatmap { word: "bee".to_owned(), max: 1.0, is_object: true, ..Default::default() };
        Ok(Localized {
            found: Some(Proposal {
                confidence: Some(0.9),
                json: task.localization.clone().unwrap_or_else(|| Bytes::from_static(b"{}")),
                source: v1::LocalizationSource::Pass,
                clusters: vec![cluster(1, 0.9, true), cluster(2, 0.1, false)],
                cluster_map: Some((gray(7), gray(1))),
                heatmaps: vec![(word, gray(9))],
                mask: gray(255),
                area: 0.5,
                covered: None,
            }),
        })
    }

    fn edit(&mut self, task: &Task, listener: Listener<'_>) -> Result<Edited, RunError> {
        let whole = task.mask.is_none() && task.localization.is_none();
        go(listener(RunEvent::MaskSettled { file: gray(255), area: 0.5, whole }))?;
        self.steps(task, Pass::Edit, task.spec.steps.unwrap_or(3), listener)?;
        // The result tells what it was made of.
        let mask = task.mask.as_ref().map_or(0, |(mask, file)| {
            mask.clusters.iter().flat_map(|it| &it.ids).sum::<u32>() as u8
                + u8::from(file.is_some())
        });
        Ok(Edited { image: gray(100 + mask), decode: Duration::from_millis(1) })
    }
}

fn gray(level: u8) -> PictureFile {
    let image = image::GrayImage::from_pixel(16, 16, image::Luma([level]));
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    PictureFile::new(FileFormat::Png, Size::new(16, 16), bytes.into_inner())
}

//! Conversion of a server's events to those of a local edit: label maps to cells, heat maps to values.

use std::{ops::Range, sync::Arc};

use image::{DynamicImage, ImageFormat};

use crate::cli::shown::{Shown, ShownMask};
use crate::client::{connect::Remote, error::ClientError};
use crate::edit::{
    event::{InstructionParsed, Pass, StepReport},
    grid::Grid,
    localization::{Cluster, Localization, WordMap},
    localizer::ScoreSource,
    parts::Part,
};
use crate::instruction::{Action, change::Change};
use crate::picture::size::Size;
use crate::wire::{
    enums::InSchema,
    events,
    v1::{self, MaskSource, edit_event::Event, edit_job::State},
};

/// Which events are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Telling {
    /// Those of a local edit, and the position in the queue.
    Edit,
    /// Those of a further variant, without the repeated instruction and localization.
    Variant,
    /// All, with changes of state.
    Job,
}

/// Converts the events of one job.
#[derive(Debug)]
pub(crate) struct Translator<'a> {
    remote: &'a Remote,
    telling: Telling,
    instruction: String,
    labels: Option<(Grid, Vec<u8>)>,
    words: Vec<WordMap>,
}

impl<'a> Translator<'a> {
    /// A converter for one job.
    pub(crate) fn new(remote: &'a Remote, telling: Telling) -> Self {
        let (instruction, labels, words) = (String::new(), None, Vec::new());
        Self { remote, telling, instruction, labels, words }
    }

    /// Converts an event; `None` if it isn't shown. Fetches pictures that are not inlined.
    ///
    /// # Errors
    /// [`ClientError`] if a picture can't be fetched or decoded.
    pub(crate) async fn shown(
        &mut self,
        event: &v1::EditEvent,
    ) -> Result<Option<Shown>, ClientError> {
        let Some(event) = &event.event else { return Ok(None) };
        let shown = match event {
            Event::Part(it) => Some(self.part(it).await?),
            Event::Instruction(it) => Some(self.parsed(it)),
            Event::Warning(it) => {
                let (reason, message) = (it.reason.clone(), it.message.clone());
                Some(Shown::Warning { reason, message })
            }
            Event::ClusterMap(it) => {
                self.labels = Some(self.labels(it).await?);
                None
            }
            Event::Heatmap(it) => {
                let word = self.word(it).await?;
                self.words.push(word);
                None
            }
            Event::MaskProposed(it) => self.localized(it),
            Event::MaskSettled(it) => self.mask(it).await?,
            Event::Drift(it) => Some(Shown::Drift(events::read_drift(it))),
            Event::Step(it) => Some(Shown::Step(step(it)?)),
            Event::Preview(it) => {
                let picture = self.picture(it.image.as_ref(), "a preview").await?;
                let step = it.step as usize;
                Some(Shown::Preview(pass(it.pass())?, step, Arc::new(picture.to_rgb8())))
            }
            // Position 0 means that the job is not in the queue.
            Event::Queue(it) if it.position == 0 => None,
            Event::Queue(it) => Some(Shown::Queue(it.position, it.length)),
            Event::State(it) => self.state(it.state(), &it.detail),
            Event::Result(_) | Event::Error(_) | Event::Heartbeat(_) => None,
        };
        Ok(shown.filter(|it| self.is_told(it)))
    }

    fn is_told(&self, shown: &Shown) -> bool {
        let again = matches!(shown, Shown::Part(..) | Shown::Parsed(_) | Shown::Localized(_));
        self.telling != Telling::Variant || !again
    }

    async fn part(&self, part: &v1::EditPart) -> Result<Shown, ClientError> {
        let picture = match &part.image {
            Some(_) => Some(self.picture(part.image.as_ref(), "the picture of a part").await?),
            None => None,
        };
        let picture = picture.map(|it| Arc::new(it.to_rgb8()));
        let (number, of) = (part.number as usize, part.of as usize);
        let instruction = part.instruction.clone();
        let part = Part { number, of, instruction, corrections: Vec::new() };
        Ok(Shown::Part(part, picture))
    }

    fn parsed(&mut self, parsed: &v1::InstructionParsed) -> Shown {
        self.instruction.clone_from(&parsed.localization_instruction);
        let span: Range<usize> = parsed.object_start as usize..parsed.object_end as usize;
        Shown::Parsed(InstructionParsed {
            // An action unknown to this version is shown as a change.
            action: Action::read(parsed.action()).unwrap_or(Action::Change),
            object: parsed.object.clone(),
            object_span: (!span.is_empty()).then_some(span),
            localization_instruction: parsed.localization_instruction.clone(),
            text: parsed.text.clone(),
            change: Change::read(parsed.change()),
            replacement: parsed.replacement.clone(),
            color: parsed.color.clone(),
            told: parsed.told.clone(),
        })
    }

    fn state(&self, state: State, detail: &str) -> Option<Shown> {
        let detail = detail.to_owned();
        (self.telling == Telling::Job).then(|| Shown::State(state.as_str_name(), detail))
    }

    /// The localization, once all its events have arrived.
    fn localized(&mut self, proposed: &v1::MaskProposed) -> Option<Shown> {
        let (grid, labels) = self.labels.take()?;
        let clusters = proposed.clusters.iter().map(cluster).collect::<Option<Vec<_>>>()?;
        let fits = |&id: &u8| (1..=clusters.len()).contains(&usize::from(id));
        if !labels.iter().all(fits) {
            return None;
        }
        Some(Shown::Localized(Arc::new(Localization {
            instruction: self.instruction.clone(),
            grid,
            resolution: grid,
            labels,
            clusters,
            words: std::mem::take(&mut self.words),
            scored_by: ScoreSource::Attention,
            contrast: None,
            confidence: proposed.confidence,
            evidence: None,
            fallback: None,
            stands: true,
            covers: proposed.covered.map(|it| Size::new(it.width, it.height)),
        })))
    }

    async fn labels(&self, map: &v1::ClusterMap) -> Result<(Grid, Vec<u8>), ClientError> {
        let labels = self.picture(map.labels.as_ref(), "the cluster map").await?.into_luma8();
        Ok((grid(labels.dimensions()), labels.into_raw()))
    }

    async fn word(&self, map: &v1::Heatmap) -> Result<WordMap, ClientError> {
        let levels = self.picture(map.image.as_ref(), "a heat map").await?.into_luma16();
        let grid = grid(levels.dimensions());
        let (min, max) = (map.min as f32, map.max as f32);
        let value = |level: &u16| min + (max - min) * f32::from(*level) / f32::from(u16::MAX);
        let values = levels.as_raw().iter().map(value).collect();
        Ok(WordMap { word: map.word.clone(), is_object: map.is_object, grid, values })
    }

    /// The mask; `None` for an edit of the whole picture, as in a local edit.
    async fn mask(&self, settled: &v1::MaskSettled) -> Result<Option<Shown>, ClientError> {
        if settled.source() == MaskSource::Global {
            return Ok(None);
        }
        let image = self.picture(settled.mask.as_ref(), "the mask").await?.into_luma8();
        let (image, source) = (Arc::new(image), settled.source().as_str_name());
        Ok(Some(Shown::Mask(ShownMask { image, area: settled.area, source })))
    }

    async fn picture(
        &self,
        artifact: Option<&v1::Artifact>,
        what: &str,
    ) -> Result<DynamicImage, ClientError> {
        let garbled = |why: String| ClientError::Garbled(format!("{what}: {why}"));
        let artifact = artifact.ok_or_else(|| garbled("it is missing".to_owned()))?;
        let bytes = self.remote.bytes(artifact).await?;
        let picture = image::load_from_memory_with_format(&bytes, ImageFormat::Png);
        picture.map_err(|error| garbled(error.to_string()))
    }
}

fn cluster(cluster: &v1::Cluster) -> Option<Cluster> {
    let &v1::Cluster { id, score, area, selected } = cluster;
    Some(Cluster { id: u8::try_from(id).ok()?, score, area, selected })
}

fn step(step: &v1::StepProgress) -> Result<StepReport, ClientError> {
    Ok(StepReport {
        pass: pass(step.pass())?,
        step: step.step.max(1) as usize,
        of: step.total.max(step.step).max(1) as usize,
        timestep: step.timestep,
        preview: None,
    })
}

fn pass(pass: v1::Pass) -> Result<Pass, ClientError> {
    let unknown = || ClientError::Garbled("a step of no pass".to_owned());
    Pass::read(pass).ok_or_else(unknown)
}

fn grid((width, height): (u32, u32)) -> Grid {
    Grid { height: i64::from(height), width: i64::from(width) }
}

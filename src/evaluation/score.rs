//! From an edit's outcome to its figures.

use std::{collections::BTreeMap, sync::Arc};

use image::RgbImage;

use crate::edit::{edit_mask::EditMask, event::InstructionParsed, localization::Localization};
use crate::evaluation::{
    dataset::{Item, ItemAction, Loaded},
    figure::Figure,
    method::{Method, Origin},
};
use crate::measures::{
    change::Change,
    overlap::{self, Overlap},
    region::Region,
    ssim,
    success::{self, EditKind, Evidence},
};
use crate::picture::mask::Mask;

/// The figures of one edit; those that its item has no truth for are missing.
pub type Scores = BTreeMap<Figure, f64>;

/// One edit, as made.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The result as a user gets it.
    pub result: RgbImage,
    /// The result before any compositing.
    pub uncomposited: RgbImage,
    /// The mask that was used; `None` where the whole picture was edited.
    pub mask: Option<Arc<EditMask>>,
    /// What pass 1 learned.
    pub localization: Option<Arc<Localization>>,
    /// What the instruction was understood as.
    pub parsed: Option<InstructionParsed>,
    /// What was warned of.
    pub warnings: Vec<String>,
    /// Time of pass 1.
    pub localize_seconds: Option<f64>,
    /// Time of both passes.
    pub seconds: f64,
}

/// What an outcome is scored against.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// The line of the manifest.
    pub item: &'a Item,
    /// Its pictures.
    pub pictures: &'a Loaded,
    /// The source as the autoencoder gives it back.
    pub reconstruction: &'a RgbImage,
}

impl Truth<'_> {
    /// The figures of an outcome.
    pub fn score(&self, method: &Method, outcome: &Outcome) -> Scores {
        let mut scores = Scores::new();
        scores.insert(Figure::Seconds, outcome.seconds);
        if let Some(seconds) = outcome.localize_seconds {
            scores.insert(Figure::LocalizeSeconds, seconds);
        }
        if method.localizes() && self.item.action != Some(ItemAction::Global) {
            self.localization(outcome, &mut scores);
            if method.object == Origin::Found {
                self.reading(outcome, &mut scores);
            }
        }
        if let Some(used) = &outcome.mask {
            scores.insert(Figure::MaskArea, used.area());
            let unused = region(used.full()).complement();
            let leak = Change::within(&unused, &outcome.result, &self.pictures.image);
            scores.extend(leak.map(|it| (Figure::OutsideUsed, f64::from(it.greatest))));
        }
        if let Some(mask) = &self.pictures.mask {
            self.changes(&region(mask), outcome, &mut scores);
        }
        scores
    }

    /// Mask and heat map against the truth; an edit of the whole picture counts as a mask of all of it.
    fn localization(&self, outcome: &Outcome, scores: &mut Scores) {
        let found = match &outcome.mask {
            Some(mask) => region(mask.found()),
            None => Region::all(self.pictures.image.width(), self.pictures.image.height()),
        };
        let object = self.pictures.object_mask.as_ref().or(self.pictures.mask.as_ref());
        if let Some(object) = object.map(region) {
            // What is to be added does not stand in the source, so it is kept apart.
            let is_added = self.item.action == Some(ItemAction::Add);
            if !is_added {
                let overlap = Overlap::of(&found, &object);
                scores.insert(Figure::ObjectIou, overlap.iou);
                scores.insert(Figure::ObjectPrecision, overlap.precision);
                scores.insert(Figure::ObjectRecall, overlap.recall);
            }
            if let Some((values, grid)) = outcome.localization.as_deref().and_then(object_heat) {
                let hit = overlap::pointing_game(&values, grid, &object);
                let figure = if is_added { Figure::PointingAdded } else { Figure::Pointing };
                scores.insert(figure, truth_value(hit));
            }
        }
        if let Some(mask) = &self.pictures.mask {
            let overlap = Overlap::of(&found, &region(mask));
            scores.insert(Figure::MaskIou, overlap.iou);
            scores.insert(Figure::MaskPrecision, overlap.precision);
            scores.insert(Figure::MaskRecall, overlap.recall);
        }
    }

    /// What the parser read against what the manifest says.
    fn reading(&self, outcome: &Outcome, scores: &mut Scores) {
        let parsed = outcome.parsed.as_ref();
        if let Some(object) = &self.item.object {
            let is_read = parsed.is_some_and(|it| bare(&it.object) == bare(object));
            scores.insert(Figure::ObjectRead, truth_value(is_read));
        }
        if let Some(action) = self.item.action {
            let is_read = parsed.is_some_and(|it| it.action == action.action());
            scores.insert(Figure::ActionRead, truth_value(is_read));
        }
    }

    /// Changes outside and inside the true mask, and the verdict.
    fn changes(&self, mask: &Region, outcome: &Outcome, scores: &mut Scores) {
        let (source, result) = (self.pictures.image.as_ref(), &outcome.result);
        let outside = mask.complement();
        if let Some(change) = Change::within(&outside, result, source) {
            scores.insert(Figure::OutsideMean, change.mean);
            scores.insert(Figure::OutsideShare, change.share);
            scores.insert(Figure::OutsidePsnr, change.psnr());
        }
        let ssim = ssim::ssim_within(&outside, result, source);
        scores.extend(ssim.map(|it| (Figure::OutsideSsim, it)));
        let beyond = success::with_border(mask).complement();
        let change = Change::within(&beyond, &outcome.uncomposited, self.reconstruction);
        scores.extend(change.map(|it| (Figure::OutsideUncomposited, it.mean)));
        if let Some(change) = Change::within(mask, result, source) {
            scores.insert(Figure::InsideMean, change.mean);
            scores.insert(Figure::InsideShare, change.share);
        }
        let Some(target) = &self.pictures.target else { return };
        if let Some(change) = Change::within(mask, result, target) {
            scores.insert(Figure::TargetMean, change.mean);
            scores.insert(Figure::TargetPsnr, change.psnr());
        }
        let ssim = ssim::ssim_within(mask, result, target);
        scores.extend(ssim.map(|it| (Figure::TargetSsim, it)));
        let reconstruction = Some(self.reconstruction);
        let evidence = Evidence { kind: self.kind(), source, target, mask, reconstruction };
        if let Some(verdict) = evidence.judge(result) {
            let right = [verdict.removed, verdict.color, verdict.shape];
            let right = right.iter().all(|part| part.unwrap_or(true));
            scores.insert(Figure::Success, truth_value(verdict.is_success()));
            scores.insert(Figure::Nearer, truth_value(verdict.nearer));
            scores.insert(Figure::Right, truth_value(right));
            scores.insert(Figure::Kept, truth_value(verdict.kept));
            scores.insert(Figure::Residual, verdict.residual);
        }
    }

    fn kind(&self) -> EditKind {
        match self.item.action {
            Some(ItemAction::Add) => EditKind::Add,
            Some(ItemAction::Remove) => EditKind::Remove,
            Some(ItemAction::Change | ItemAction::Recolor | ItemAction::Global) | None => {
                EditKind::Change
            }
        }
    }
}

/// Where the model looks for the object: the mean of its words' maps, with the grid (width, height).
pub fn object_heat(localization: &Localization) -> Option<(Vec<f32>, (u32, u32))> {
    let words: Vec<_> = localization.words.iter().filter(|word| word.is_object).collect();
    let grid = words.first()?.grid;
    let mut mean = vec![0.0; words[0].values.len()];
    for word in &words {
        for (mean, value) in mean.iter_mut().zip(&word.values) {
            *mean += value / words.len() as f32;
        }
    }
    Some((mean, (grid.width as u32, grid.height as u32)))
}

/// A mask as a region.
pub fn region(mask: &Mask) -> Region {
    Region::of_mask(mask.as_image())
}

/// An object without its determiner, in small letters.
fn bare(object: &str) -> String {
    let object = object.trim().trim_end_matches(['.', '!']).to_lowercase();
    let stripped = ["the ", "a ", "an "].iter().find_map(|it| object.strip_prefix(it));
    stripped.unwrap_or(&object).to_owned()
}

fn truth_value(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

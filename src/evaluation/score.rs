//! Computes the metrics of an edit.

use std::{collections::BTreeMap, sync::Arc};

use image::RgbImage;

use crate::edit::{
    edit_mask::EditMask, event::InstructionParsed, grid::Grid, localization::Localization,
};
use crate::evaluation::{
    dataset::{Item, ItemAction, LoadedItem},
    figure::Figure,
    method::{Method, Origin},
};
use crate::measures::{
    change::Change,
    overlap::{self, Overlap},
    region::Region,
    seam, ssim,
    success::{self, EditKind, JudgedEdit},
};
use crate::picture::mask::Mask;

/// Metrics of one edit; those that need missing ground truth are absent.
pub type Scores = BTreeMap<Figure, f64>;

/// Result of one edit.
#[derive(Debug, Clone)]
pub struct EvaluatedEdit {
    /// The final result.
    pub result: RgbImage,
    /// The result before compositing.
    pub uncomposited: RgbImage,
    /// The mask; `None` if the whole picture was edited.
    pub mask: Option<Arc<EditMask>>,
    /// The localization.
    pub localization: Option<Arc<Localization>>,
    /// The parsed instruction.
    pub parsed: Option<InstructionParsed>,
    /// Warnings.
    pub warnings: Vec<String>,
    /// Duration of pass 1 in seconds.
    pub localize_seconds: Option<f64>,
    /// Duration of both passes in seconds.
    pub seconds: f64,
}

/// Ground truth of an item.
#[derive(Debug, Clone, Copy)]
pub struct Truth<'a> {
    /// The manifest's item.
    pub item: &'a Item,
    /// Its pictures.
    pub pictures: &'a LoadedItem,
    /// The VAE's reconstruction of the source.
    pub reconstruction: &'a RgbImage,
}

impl Truth<'_> {
    /// The metrics of an edit.
    pub fn score(&self, method: &Method, outcome: &EvaluatedEdit) -> Scores {
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
            let step = |image: &RgbImage| seam::steps_across(&unused, image);
            if let (Some(seam), Some(own)) = (step(&outcome.result), step(&self.pictures.image)) {
                scores.insert(Figure::Seam, seam);
                scores.insert(Figure::SeamOfSource, own);
                if own > 0.0 {
                    scores.insert(Figure::SeamRatio, seam / own);
                }
            }
        }
        if let Some(mask) = &self.pictures.mask {
            self.changes(&region(mask), outcome, &mut scores);
        }
        scores
    }

    /// Metrics of mask and heat map; an edit of the whole picture counts as a mask of everything.
    fn localization(&self, outcome: &EvaluatedEdit, scores: &mut Scores) {
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
            if let Some((values, grid)) = outcome.localization.as_deref().and_then(meant_heat) {
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

    /// Metrics of the parser.
    fn reading(&self, outcome: &EvaluatedEdit, scores: &mut Scores) {
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

    /// Metrics of the changes outside and inside the true mask, and the success criterion.
    fn changes(&self, mask: &Region, outcome: &EvaluatedEdit, scores: &mut Scores) {
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
        let evidence = JudgedEdit { kind: self.kind(), source, target, mask, reconstruction };
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

/// The map of the object in the clusters that were selected: where the localization points once the words have told things
/// of a kind apart. All of it where none of it lies there.
fn meant_heat(localization: &Localization) -> Option<(Vec<f32>, (u32, u32))> {
    let map = localization.object_map()?;
    let (heat, grid) = (map.values, (map.grid.width as u32, map.grid.height as u32));
    let selected = localization.selected();
    let of = |cell: usize| {
        let (x, y) = ((cell as i64) % i64::from(grid.0), (cell as i64) / i64::from(grid.0));
        let Grid { height, width } = localization.grid;
        let (x, y) = (x * width / i64::from(grid.0), y * height / i64::from(grid.1));
        localization.labels[(y * width + x) as usize]
    };
    let meant =
        |(cell, value): (usize, &f32)| if selected.contains(&of(cell)) { *value } else { 0.0 };
    let values: Vec<f32> = heat.iter().enumerate().map(meant).collect();
    let is_dark = values.iter().all(|&it| it <= 0.0);
    Some((if is_dark { heat } else { values }, grid))
}

/// A mask as a region.
pub fn region(mask: &Mask) -> Region {
    Region::of_mask(mask.as_image())
}

/// An object's name without its determiner, in lower case.
fn bare(object: &str) -> String {
    let object = object.trim().trim_end_matches(['.', '!']).to_lowercase();
    let stripped = ["the ", "a ", "an "].iter().find_map(|it| object.strip_prefix(it));
    stripped.unwrap_or(&object).to_owned()
}

fn truth_value(holds: bool) -> f64 {
    f64::from(u8::from(holds))
}

//! What pass 1 learned, as plain data: clusters with their scores, and where the model looks for each word.

use crate::edit::{
    confidence::Evidence,
    grid::{Field, Grid},
    localizer::ScoreSource,
    selection::{self, Fallback},
};
use crate::picture::size::Size;

/// What pass 1 learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Localization {
    /// The instruction that was denoised with.
    pub instruction: String,
    /// The grid of `labels`.
    pub grid: Grid,
    /// The grid that the labels were found on, which may be coarser: how far off their borders may be.
    pub resolution: Grid,
    /// The cluster of each cell, by id, row by row.
    pub labels: Vec<u8>,
    /// The clusters, by id from 1, that is by falling score.
    pub clusters: Vec<Cluster>,
    /// Where the model looks for each word of the instruction, in its order.
    pub words: Vec<WordMap>,
    /// What the scores are means of.
    pub scored_by: ScoreSource,
    /// How much more attention the best cluster has than the picture; none where attention was not looked at.
    pub contrast: Option<f64>,
    /// How sure it is that the object stands where the mask is, 0 to 1; none for what is added, and where attention was not looked at.
    pub confidence: Option<f64>,
    /// What that was told from; none where the localization was made elsewhere.
    pub evidence: Option<Evidence>,
    /// Why the selection is not what the threshold says.
    pub fallback: Option<Fallback>,
    /// Whether what was looked for stands in the picture, so that the picture's edges say something of its outline.
    pub stands: bool,
    /// What the grids cover, in the picture's pixels from its upper left corner, where that is more than the picture.
    pub covers: Option<Size>,
}

/// One cluster of self-attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cluster {
    /// From 1, by falling score.
    pub id: u8,
    /// Mean in it of what [`Localization::scored_by`] says, rescaled, 0 to 1.
    pub score: f64,
    /// Share of the picture, 0 to 1.
    pub area: f64,
    /// Whether the proposed mask holds it.
    pub selected: bool,
}

/// Where the model looks for a word.
#[derive(Debug, Clone, PartialEq)]
pub struct WordMap {
    /// As it stands in the localization instruction.
    pub word: String,
    /// Whether it belongs to an object that is edited.
    pub is_object: bool,
    /// The grid of `values`.
    pub grid: Grid,
    /// Mean probability of the word's tokens, row by row.
    pub values: Vec<f32>,
}

/// Clusters with their scores, not yet numbered.
pub(crate) struct Clusters<'a> {
    pub(crate) grid: Grid,
    pub(crate) labels: &'a [i64],
    pub(crate) scores: &'a [f64],
    pub(crate) selected: Vec<bool>,
}

impl Localization {
    /// Two regions: the cells whose value is above `threshold`, which are edited, and the rest.
    ///
    /// Where none is above, those of the highest value are edited.
    pub fn from_threshold(
        instruction: &str,
        field: &Field,
        threshold: f64,
        words: Vec<WordMap>,
    ) -> Self {
        let highest = field.values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let none = f64::from(highest) <= threshold;
        let is_in = |value: f32| if none { value >= highest } else { f64::from(value) > threshold };
        let labels: Vec<i64> = field.values.iter().map(|&it| i64::from(!is_in(it))).collect();
        let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
        let scores = selection::means(&labels, count, &field.values);
        let selected = (0..count).map(|label| label == 0).collect();
        let clusters = Clusters { grid: field.grid, labels: &labels, scores: &scores, selected };
        let fallback = none.then_some(Fallback::NonePassed);
        Self { fallback, ..Self::numbered(instruction, clusters, words) }
    }

    /// Numbers clusters by falling score.
    pub(crate) fn numbered(instruction: &str, clusters: Clusters<'_>, words: Vec<WordMap>) -> Self {
        let Clusters { grid, labels, scores, selected } = clusters;
        let count = scores.len();
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut ids = vec![0u8; count];
        for (rank, &label) in order.iter().enumerate() {
            ids[label] = rank as u8 + 1;
        }
        let cells = |label: usize| labels.iter().filter(|&&it| it as usize == label).count();
        let clusters = order.iter().map(|&label| Cluster {
            id: ids[label],
            score: scores[label],
            area: cells(label) as f64 / labels.len() as f64,
            selected: selected[label],
        });
        Self {
            instruction: instruction.to_owned(),
            grid,
            resolution: grid,
            clusters: clusters.collect(),
            labels: labels.iter().map(|&label| ids[label as usize]).collect(),
            words,
            scored_by: ScoreSource::Attention,
            contrast: None,
            confidence: None,
            evidence: None,
            fallback: None,
            stands: true,
            covers: None,
        }
    }

    /// How many times as wide and high as the picture of this size the grids are, 1 to 2.
    pub fn times_picture(&self, picture: Size) -> (f32, f32) {
        let covered = self.covers.unwrap_or(picture);
        let times = |covered: u32, side: u32| (covered as f32 / side as f32).clamp(1.0, 2.0);
        (times(covered.width, picture.width), times(covered.height, picture.height))
    }

    /// Ids of the clusters that the proposed mask holds.
    pub fn selected(&self) -> Vec<u8> {
        self.clusters.iter().filter(|cluster| cluster.selected).map(|cluster| cluster.id).collect()
    }
}

impl WordMap {
    /// Smallest and largest probability.
    pub fn range(&self) -> (f32, f32) {
        let min = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        (min, self.values.iter().copied().fold(0.0, f32::max))
    }
}

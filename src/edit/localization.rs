//! The result of pass 1 as plain data: clusters with their scores, and an attention map for each word.

use crate::edit::{
    confidence::Evidence,
    grid::{Field, Grid},
    localizer::{Localizer, ScoreSource},
    selection::{self, Fallback},
};
use crate::picture::size::Size;

/// What pass 1 learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Localization {
    /// The prompt of pass 1.
    pub instruction: String,
    /// The grid of `labels`.
    pub grid: Grid,
    /// The grid on which the labels were computed, which may be coarser: it limits the accuracy of their borders.
    pub resolution: Grid,
    /// Cluster id of each cell, row-major.
    pub labels: Vec<u8>,
    /// The clusters by id, from 1, which is by decreasing score.
    pub clusters: Vec<Cluster>,
    /// Attention map of each word of the instruction, in order, or the map of a localizer that has its own.
    pub words: Vec<WordMap>,
    /// What the scores are means of.
    pub scored_by: ScoreSource,
    /// Mean attention of the best cluster over the picture's mean; `None` if attention was not used.
    pub contrast: Option<f64>,
    /// Confidence that the object is in the picture where the mask is, 0 to 1; `None` for additions, and if attention
    /// was not used.
    pub confidence: Option<f64>,
    /// Features that the confidence was computed from; `None` for a localization loaded from elsewhere.
    pub evidence: Option<Evidence>,
    /// Why the selection differs from the threshold's.
    pub fallback: Option<Fallback>,
    /// Whether the object is in the picture, so that the picture's edges indicate its outline.
    pub stands: bool,
    /// Size of the region that the grids cover, in picture pixels from the upper left corner, if padding makes it
    /// larger than the picture.
    pub covers: Option<Size>,
}

/// One cluster of self-attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cluster {
    /// From 1, by falling score.
    pub id: u8,
    /// Mean over the cluster of [`Localization::scored_by`], rescaled, 0 to 1.
    pub score: f64,
    /// Share of the picture, 0 to 1.
    pub area: f64,
    /// Whether the proposed mask contains it.
    pub selected: bool,
}

/// Where the model looks for a word.
#[derive(Debug, Clone, PartialEq)]
pub struct WordMap {
    /// The word, as in the localization instruction, or the name of a localizer whose own map it is.
    pub word: String,
    /// Whether it belongs to an object that is edited.
    pub is_object: bool,
    /// The grid of `values`.
    pub grid: Grid,
    /// Mean probability of the word's tokens, or what the localizer's threshold is for, row-major.
    pub values: Vec<f32>,
}

/// Clusters with scores, before they are numbered.
pub(crate) struct Clusters<'a> {
    pub(crate) grid: Grid,
    pub(crate) labels: &'a [i64],
    pub(crate) scores: &'a [f64],
    pub(crate) selected: Vec<bool>,
}

impl Localization {
    /// Two clusters: the cells above `threshold`, which are selected, and the rest.
    ///
    /// If no cell is above it, those with the highest value are selected.
    pub fn from_threshold(
        instruction: &str,
        field: &Field,
        threshold: f64,
        words: Vec<WordMap>,
    ) -> Self {
        let is_in = field.above(threshold);
        Self::from_cells(instruction, field, (&is_in, threshold), words)
    }

    /// Two clusters: these cells, which are selected, and the rest; where no value of the field is above the
    /// threshold, they are a fallback.
    ///
    /// # Panics
    /// If there is not one for each cell of the field.
    pub fn from_cells(
        instruction: &str,
        field: &Field,
        (is_in, threshold): (&[bool], f64),
        words: Vec<WordMap>,
    ) -> Self {
        assert_eq!(is_in.len(), field.values.len(), "a choice for each cell");
        let none = field.values.iter().all(|&it| f64::from(it) <= threshold);
        let labels: Vec<i64> = is_in.iter().map(|&it| i64::from(!it)).collect();
        let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
        let scores = selection::means(&labels, count, &field.values);
        let selected = (0..count).map(|label| label == 0).collect();
        let clusters = Clusters { grid: field.grid, labels: &labels, scores: &scores, selected };
        let fallback = none.then_some(Fallback::NonePassed);
        Self { fallback, ..Self::numbered(instruction, clusters, words) }
    }

    /// Numbers clusters by decreasing score.
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

    /// Size of the grids relative to a picture of this size, 1 to 2 (more than 1 with padding).
    pub fn times_picture(&self, picture: Size) -> (f32, f32) {
        let covered = self.covers.unwrap_or(picture);
        let times = |covered: u32, side: u32| (covered as f32 / side as f32).clamp(1.0, 2.0);
        (times(covered.width, picture.width), times(covered.height, picture.height))
    }

    /// The object's words as one: their joined text, and their mean attention; `None` if no word belongs to an object.
    pub fn object_map(&self) -> Option<WordMap> {
        let words: Vec<&WordMap> = self.words.iter().filter(|word| word.is_object).collect();
        let first = words.first()?;
        let mut values = vec![0.0; first.values.len()];
        for word in &words {
            for (mean, value) in values.iter_mut().zip(&word.values) {
                *mean += value / words.len() as f32;
            }
        }
        let texts: Vec<&str> = words.iter().map(|it| it.word.as_str()).collect();
        Some(WordMap { word: texts.join(" "), is_object: true, grid: first.grid, values })
    }

    /// Ids of the selected clusters.
    pub fn selected(&self) -> Vec<u8> {
        self.clusters.iter().filter(|cluster| cluster.selected).map(|cluster| cluster.id).collect()
    }
}

impl WordMap {
    /// What a localizer without attention to words sees, under its own name.
    pub fn of_localizer(localizer: Localizer, field: &Field) -> Self {
        let word = localizer.name().to_owned();
        Self { word, is_object: false, grid: field.grid, values: field.values.clone() }
    }

    /// Minimum and maximum probability.
    pub fn range(&self) -> (f32, f32) {
        let min = self.values.iter().copied().fold(f32::INFINITY, f32::min);
        (min, self.values.iter().copied().fold(0.0, f32::max))
    }
}

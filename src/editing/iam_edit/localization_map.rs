//! What pass 1 learned, as plain data: clusters with their scores, and where the model looks for each word.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::editing::iam_edit::{
    attn_store::Grid,
    segmentation,
    selection::{self, Fallback},
};
use crate::pipelines::TokenizedPrompt;

/// What pass 1 learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Localization {
    /// The instruction that was denoised with.
    pub instruction: String,
    /// The grid of `labels`.
    pub grid: Grid,
    /// The cluster of each cell, by id, row by row.
    pub labels: Vec<u8>,
    /// The clusters, by id from 1, that is by falling score.
    pub clusters: Vec<Cluster>,
    /// Where the model looks for each word of the instruction, in its order.
    pub words: Vec<WordMap>,
    /// Why the selection is not what the threshold says.
    pub fallback: Option<Fallback>,
}

/// One cluster of self-attention.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cluster {
    /// From 1, by falling score.
    pub id: u8,
    /// Mean of the object's rescaled cross-attention in it, 0 to 1.
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

/// A prompt with the objects in it.
#[derive(Debug, Clone, Copy)]
pub struct LocalizedPrompt<'a> {
    /// The text.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: &'a TokenizedPrompt,
    /// Where the objects stand in it, in bytes.
    pub objects: &'a [Range<usize>],
}

/// The two maps of a run.
#[derive(Debug, Clone, Copy)]
pub struct Maps<'a> {
    /// Averaged self-attention (n, n).
    pub isam: &'a Tensor,
    /// Its grid.
    pub isam_grid: Grid,
    /// Averaged cross-attention (m, T).
    pub icam: &'a Tensor,
    /// Its grid.
    pub icam_grid: Grid,
}

impl Localization {
    /// Clusters ISAM and scores the clusters by the objects' attention.
    pub fn new(prompt: LocalizedPrompt<'_>, maps: Maps<'_>, clusters: u32, tau: f64) -> Self {
        let labels = segmentation::segment(maps.isam, clusters);
        Self::from_labels(prompt, maps, &labels, tau)
    }

    /// Scores given clusters, labels in `0..K` for each cell of ISAM, and numbers them by falling score.
    ///
    /// A cluster's score is its maximum over the objects.
    pub fn from_labels(
        prompt: LocalizedPrompt<'_>,
        maps: Maps<'_>,
        labels: &[i64],
        tau: f64,
    ) -> Self {
        let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
        let mut scores = vec![0.0f64; count];
        for object in prompt.objects {
            let attention = phrase_map(maps.icam, prompt.tokens, object);
            let attention = resize_nearest(&attention, maps.icam_grid, maps.isam_grid);
            for (best, score) in scores.iter_mut().zip(selection::scores(labels, count, &attention))
            {
                *best = best.max(score);
            }
        }
        let (selected, fallback) = selection::select(&scores, tau);

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
            instruction: prompt.text.to_owned(),
            grid: maps.isam_grid,
            clusters: clusters.collect(),
            labels: labels.iter().map(|&label| ids[label as usize]).collect(),
            words: word_maps(prompt, maps),
            fallback,
        }
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

/// The map of each word, in the order of the text.
fn word_maps(prompt: LocalizedPrompt<'_>, maps: Maps<'_>) -> Vec<WordMap> {
    words(prompt.text)
        .filter(|span| !tokens_of(prompt.tokens, span).is_empty())
        .map(|span| WordMap {
            word: prompt.text[span.clone()].to_owned(),
            is_object: prompt.objects.iter().any(|object| overlaps(object, &span)),
            grid: maps.icam_grid,
            values: phrase_map(maps.icam, prompt.tokens, &span),
        })
        .collect()
}

/// Byte spans of the words: runs of letters, digits, apostrophes and hyphens.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '-');
    text.split(move |c: char| !in_word(c)).filter(|word| !word.is_empty()).map(move |word| {
        let start = word.as_ptr().addr() - text.as_ptr().addr();
        start..start + word.len()
    })
}

/// Mean attention to the tokens of a span, one value a cell; zeros if it has none.
fn phrase_map(icam: &Tensor, tokens: &TokenizedPrompt, span: &Range<usize>) -> Vec<f32> {
    let columns = tokens_of(tokens, span);
    if columns.is_empty() {
        return vec![0.0; icam.size()[0] as usize];
    }
    let columns = Tensor::from_slice(&columns).to_device(icam.device());
    let mean = icam.index_select(1, &columns).mean_dim([1i64].as_slice(), false, Kind::Float);
    Vec::<f32>::try_from(mean).expect("a map is a vector of numbers")
}

/// Indices of the tokens that share bytes with a span.
fn tokens_of(tokens: &TokenizedPrompt, span: &Range<usize>) -> Vec<i64> {
    let offsets = tokens.offsets.iter().enumerate();
    let hits = offsets.filter(|(_, it)| it.as_ref().is_some_and(|it| overlaps(it, span)));
    hits.map(|(index, _)| index as i64).collect()
}

fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// A map at another grid, as torch's `interpolate(mode="nearest")`.
fn resize_nearest(values: &[f32], from: Grid, to: Grid) -> Vec<f32> {
    let pick = |index: i64, from: i64, to: i64| (index * from / to).min(from - 1);
    let rows = (0..to.height).map(|y| pick(y, from.height, to.height));
    rows.flat_map(|y| (0..to.width).map(move |x| y * from.width + pick(x, from.width, to.width)))
        .map(|index| values[index as usize])
        .collect()
}

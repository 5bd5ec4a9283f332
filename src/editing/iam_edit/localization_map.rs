//! The result of pass 1 as plain data: clusters with their scores, and an attention map for each word.

use std::ops::Range;

use tch::{Kind, Tensor};

use crate::edit::{
    grid::{Field, Grid},
    localization::{Clusters, Localization, WordMap},
    localizer::ScoreSource,
    said::{Said, Whereabouts},
    selection,
    things::{self, Scene},
};
use crate::pipelines::TokenizedPrompt;

/// A prompt with the objects in it.
#[derive(Debug, Clone, Copy)]
pub struct LocalizedPrompt<'a> {
    /// The text.
    pub text: &'a str,
    /// Its tokens.
    pub tokens: &'a TokenizedPrompt,
    /// Byte ranges of the objects.
    pub objects: &'a [Range<usize>],
    /// What is said of each of them.
    pub said: &'a [Said],
}

/// The two averaged attention maps of a run.
#[derive(Debug, Clone, Copy)]
pub struct Maps<'a> {
    /// Averaged self-attention, (n, n).
    pub isam: &'a Tensor,
    /// Its grid.
    pub isam_grid: Grid,
    /// Averaged cross-attention, (m, T).
    pub icam: &'a Tensor,
    /// Its grid.
    pub icam_grid: Grid,
}

impl Localization {
    /// Scores the parts of a scene by the objects' attention, and selects those that the objects' words mean.
    ///
    /// A part's score is its maximum over the objects.
    pub fn from_parts(
        prompt: LocalizedPrompt<'_>,
        maps: Maps<'_>,
        scene: Scene<'_>,
        tau: f64,
    ) -> Self {
        let labels = scene.parts;
        let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
        let (mut scores, mut selected) = (vec![0.0f64; count], vec![false; count]);
        for (index, attention) in object_maps(prompt, maps).iter().enumerate() {
            let of_object = selection::scores(labels, count, attention);
            scores.iter_mut().zip(of_object).for_each(|(best, score)| *best = best.max(score));
            let meant = meant(prompt, maps, scene, (index, attention), tau);
            selected.iter_mut().zip(meant).for_each(|(one, other)| *one |= other);
        }
        let fallback = selection::select(&scores, tau).1;
        let clusters = Clusters { grid: maps.isam_grid, labels, scores: &scores, selected };
        Self { fallback, ..Self::numbered(prompt.text, clusters, word_maps(prompt, maps)) }
    }

    /// Scores the parts of a scene by their mean of `relevance`, 0 to 1; of one object those that its words mean are
    /// selected, of several all above `threshold`.
    pub fn from_relevance(
        prompt: LocalizedPrompt<'_>,
        maps: Maps<'_>,
        scene: Scene<'_>,
        relevance: &Field,
        threshold: f64,
    ) -> Self {
        let labels = scene.parts;
        let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
        let relevance = relevance.resized(maps.isam_grid).normalized();
        let scores = selection::means(labels, count, &relevance.values);
        let (mut selected, fallback) = selection::select(&scores, threshold);
        if prompt.objects.len() == 1 {
            selected = meant(prompt, maps, scene, (0, &relevance.values), threshold);
        }
        let clusters = Clusters { grid: maps.isam_grid, labels, scores: &scores, selected };
        Self {
            fallback,
            scored_by: ScoreSource::NoiseDifference,
            ..Self::numbered(prompt.text, clusters, word_maps(prompt, maps))
        }
    }
}

/// The parts that the words of an object mean.
fn meant(
    prompt: LocalizedPrompt<'_>,
    maps: Maps<'_>,
    scene: Scene<'_>,
    (object, attention): (usize, &[f32]),
    tau: f64,
) -> Vec<bool> {
    let plain = Said::default();
    let said = prompt.said.get(object).unwrap_or(&plain);
    let landmark = match &said.place {
        Some(Whereabouts::By(_, span)) => Some(highest(&field(prompt, maps, span))),
        _ => None,
    };
    things::meant(scene, attention, said, landmark, tau)
}

/// The middle of the highest cell, in shares of the picture's sides.
fn highest(field: &Field) -> (f64, f64) {
    let highest = field.values.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    let cell = highest.map_or(0, |it| it.0 as i64);
    let Grid { height, width } = field.grid;
    let share = |cell: i64, cells: i64| (cell as f64 + 0.5) / cells as f64;
    (share(cell % width, width), share(cell / width, height))
}

/// The contrast of the objects' attention between given clusters; the minimum over the objects.
pub fn contrast(prompt: LocalizedPrompt<'_>, maps: Maps<'_>, labels: &[i64]) -> f64 {
    let count = labels.iter().max().map_or(0, |&label| label as usize + 1);
    let objects = object_maps(prompt, maps).into_iter();
    objects.map(|it| selection::contrast(labels, count, &it)).fold(f64::INFINITY, f64::min)
}

/// Each object's attention per cell of ISAM.
pub(super) fn object_maps(prompt: LocalizedPrompt<'_>, maps: Maps<'_>) -> Vec<Vec<f32>> {
    let at_isam = |object: Field| resize_nearest(&object.values, maps.icam_grid, maps.isam_grid);
    object_fields(prompt, maps).into_iter().map(at_isam).collect()
}

/// For each object the maximum attention to its least attended word.
pub(super) fn weakest_words(prompt: LocalizedPrompt<'_>, maps: Maps<'_>) -> Vec<f32> {
    let peak = |word: &Range<usize>| {
        phrase_map(maps.icam, prompt.tokens, word).into_iter().fold(0.0, f32::max)
    };
    let weakest = |object: &Range<usize>| {
        let words = words(prompt.text).filter(|it| overlaps(object, it));
        words.map(|it| peak(&it)).fold(f32::INFINITY, f32::min)
    };
    prompt.objects.iter().map(weakest).map(|it| if it.is_finite() { it } else { 0.0 }).collect()
}

/// Each object's attention map: mean probability of its tokens.
pub fn object_fields(prompt: LocalizedPrompt<'_>, maps: Maps<'_>) -> Vec<Field> {
    prompt.objects.iter().map(|object| field(prompt, maps, object)).collect()
}

/// The attention map of some words.
fn field(prompt: LocalizedPrompt<'_>, maps: Maps<'_>, words: &Range<usize>) -> Field {
    Field { grid: maps.icam_grid, values: phrase_map(maps.icam, prompt.tokens, words) }
}

/// Attention map of each word, in order of the text.
pub fn word_maps(prompt: LocalizedPrompt<'_>, maps: Maps<'_>) -> Vec<WordMap> {
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

/// Cross-attention (m, T) as shares of the text's own tokens: those of a template and of padding, where attention goes
/// that has no other place, are left out, and are 0.
pub fn of_own_tokens(icam: &Tensor, tokens: &TokenizedPrompt) -> Tensor {
    let own = (0i64..).zip(&tokens.offsets).filter(|(_, it)| it.is_some());
    let own: Vec<i64> = own.map(|(index, _)| index).collect();
    let own = Tensor::from_slice(&own).to_device(icam.device());
    let probs = icam.index_select(1, &own); // (m, n)
    let sums = probs.sum_dim_intlist([1i64].as_slice(), true, Kind::Float).clamp_min(1e-12);
    icam.zeros_like().index_copy(1, &own, &(probs / sums))
}

/// Byte ranges of the words: runs of letters, digits, apostrophes and hyphens.
fn words(text: &str) -> impl Iterator<Item = Range<usize>> {
    let in_word = |c: char| c.is_alphanumeric() || matches!(c, '\'' | '’' | '-');
    text.split(move |c: char| !in_word(c)).filter(|word| !word.is_empty()).map(move |word| {
        let start = word.as_ptr().addr() - text.as_ptr().addr();
        start..start + word.len()
    })
}

/// Mean attention to the tokens of a byte range, one value per cell; zeros if it has no token.
fn phrase_map(icam: &Tensor, tokens: &TokenizedPrompt, span: &Range<usize>) -> Vec<f32> {
    let columns = tokens_of(tokens, span);
    if columns.is_empty() {
        return vec![0.0; icam.size()[0] as usize];
    }
    let columns = Tensor::from_slice(&columns).to_device(icam.device());
    let mean = icam.index_select(1, &columns).mean_dim([1i64].as_slice(), false, Kind::Float);
    Vec::<f32>::try_from(mean).expect("a map is a vector of numbers")
}

/// Indices of the tokens that overlap a byte range.
fn tokens_of(tokens: &TokenizedPrompt, span: &Range<usize>) -> Vec<i64> {
    let offsets = tokens.offsets.iter().enumerate();
    let hits = offsets.filter(|(_, it)| it.as_ref().is_some_and(|it| overlaps(it, span)));
    hits.map(|(index, _)| index as i64).collect()
}

fn overlaps(a: &Range<usize>, b: &Range<usize>) -> bool {
    a.start < b.end && b.start < a.end
}

/// Resizes a map as torch's `interpolate(mode="nearest")`.
fn resize_nearest(values: &[f32], from: Grid, to: Grid) -> Vec<f32> {
    let pick = |index: i64, from: i64, to: i64| (index * from / to).min(from - 1);
    let rows = (0..to.height).map(|y| pick(y, from.height, to.height));
    rows.flat_map(|y| (0..to.width).map(move |x| y * from.width + pick(x, from.width, to.width)))
        .map(|index| values[index as usize])
        .collect()
}

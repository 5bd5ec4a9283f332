//! Cluster selection: which clusters the object's cross-attention focuses on.
//!
//! Source: local-prompt-mixing, `attention_based_segmentation.py`, for one object. Differs: object tokens are found by
//! byte ranges instead of word indices, which shift on split words; if no cluster passes, or all do, the best one is
//! used.

/// Scores each cluster by its mean rescaled attention to the object.
///
/// `labels` has the cluster of each cell, `attention` the object's attention probability at the same cells. Returns one
/// score in 0..=1 per cluster in `0..clusters`: the mean of `(attention - min) / max`; 0 for an empty one.
pub fn scores(labels: &[i64], clusters: usize, attention: &[f32]) -> Vec<f64> {
    let min = attention.iter().copied().fold(f32::INFINITY, f32::min);
    let max = attention.iter().copied().fold(0.0, f32::max);
    let rescaled = |value: f32| if max > 0.0 { (value - min) / max } else { 0.0 };
    means(labels, clusters, &attention.iter().map(|&it| rescaled(it)).collect::<Vec<_>>())
}

/// The mean of `values` in each cluster of `0..clusters`; 0 for an empty one.
pub fn means(labels: &[i64], clusters: usize, values: &[f32]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0u32); clusters];
    for (&label, &value) in labels.iter().zip(values) {
        let (sum, count) = &mut sums[label as usize];
        *sum += f64::from(value);
        *count += 1;
    }
    sums.into_iter()
        .map(|(sum, count)| if count == 0 { 0.0 } else { sum / f64::from(count) })
        .collect()
}

/// The contrast below which a word's attention map does not locate its object.
///
/// A flat map has contrast 1. An object that gets all of the attention has 1 / its share of the picture, so 1.5 is
/// reachable for one that fills two thirds; anything lower is no better than guessing half of the picture.
pub const MIN_CONTRAST: f64 = 1.5;

/// The highest mean attention of any cluster over the mean of all cells; 1 for a map of zeros.
pub fn contrast(labels: &[i64], clusters: usize, attention: &[f32]) -> f64 {
    let best = means(labels, clusters, attention).into_iter().fold(0.0, f64::max);
    let mean = attention.iter().map(|&it| f64::from(it)).sum::<f64>() / attention.len() as f64;
    if mean > 0.0 { best / mean } else { 1.0 }
}

/// Why the selection differs from the threshold's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fallback {
    /// No cluster passed: the best one is used.
    NonePassed,
    /// All passed: the best one is used.
    AllPassed,
}

/// Selects the clusters whose score is above `tau`.
pub fn select(scores: &[f64], tau: f64) -> (Vec<bool>, Option<Fallback>) {
    let passed: Vec<bool> = scores.iter().map(|&score| score > tau).collect();
    let fallback = match passed.iter().filter(|&&it| it).count() {
        0 => Fallback::NonePassed,
        count if count == scores.len() => Fallback::AllPassed,
        _ => return (passed, None),
    };
    let best = scores.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).map(|(index, _)| index);
    ((0..scores.len()).map(|index| Some(index) == best).collect(), Some(fallback))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_means_of_rescaled_attention() {
        let scores = scores(&[0, 0, 1, 2], 4, &[0.2, 0.4, 0.1, 0.3]);
        // (value - 0.1) / 0.4, not min-max: the largest value becomes 1 - min / max.
        for (score, expected) in scores.iter().zip([0.5, 0.0, 0.5, 0.0]) {
            assert!((score - expected).abs() < 1e-6, "{scores:?}");
        }
    }

    #[test]
    fn the_best_cluster_stands_in_when_none_or_all_pass() {
        assert_eq!(select(&[0.1, 0.2], 0.3), (vec![false, true], Some(Fallback::NonePassed)));
        assert_eq!(select(&[0.5, 0.4], 0.3), (vec![true, false], Some(Fallback::AllPassed)));
        assert_eq!(select(&[0.5, 0.1], 0.3), (vec![true, false], None));
    }

    #[test]
    fn contrast_is_that_of_the_best_cluster_to_the_picture() {
        let labels = [0, 0, 0, 1];
        assert!((contrast(&labels, 2, &[0.2, 0.2, 0.2, 0.2]) - 1.0).abs() < 1e-6);
        // The whole of the attention on a quarter of the picture.
        assert!((contrast(&labels, 2, &[0.0, 0.0, 0.0, 0.8]) - 4.0).abs() < 1e-6);
        // A single bright cell makes no bright cluster.
        assert!(contrast(&labels, 2, &[0.9, 0.3, 0.3, 0.3]) < MIN_CONTRAST);
        assert!((contrast(&labels, 2, &[0.0; 4]) - 1.0).abs() < 1e-6);
    }

    #[test]
    fn attention_of_zero_scores_zero() {
        assert_eq!(scores(&[0, 1], 2, &[0.0, 0.0]), [0.0, 0.0]);
    }
}

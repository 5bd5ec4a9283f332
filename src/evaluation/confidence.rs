//! Measures how well a localization's confidence separates objects in the picture from absent ones (AUROC), and how
//! near it is to the share of those that are there (expected calibration error).

use std::{collections::BTreeMap, ops::ControlFlow};

use crate::edit::confidence::Evidence;
use crate::editing::editor::Editor;
use crate::evaluation::{
    EvaluationError,
    dataset::Item,
    runner::{self, Plan},
};
use crate::sampling::Interrupted;

/// Manifest key for the kind of absence of an item's object; `no` or `false` means that it is in the picture.
const ABSENT: &str = "absent";

/// One localization with its label.
#[derive(Debug, Clone)]
pub struct Judged {
    /// Item id.
    pub id: String,
    /// Kind of absence of its object; `None` if it is in the picture.
    pub absent: Option<String>,
    /// Confidence of the localization.
    pub confidence: f64,
    /// Features that the confidence was computed from.
    pub evidence: Evidence,
}

/// Separation of present objects from one kind of absent ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Separation {
    /// Number of absent objects.
    pub absent: usize,
    /// Area under the ROC curve: the probability that a present object has the higher confidence; 0.5 is chance.
    pub auroc: f64,
    /// Fraction of absent objects without a warning.
    pub passed: f64,
}

/// Localizations of about the same confidence: a point of the reliability diagram.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReliabilityBin {
    /// Least confidence; the bin ends where the next one begins.
    pub from: f64,
    /// How many there are.
    pub count: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// Share of those whose object is in the picture.
    pub there: f64,
}

/// Number of bins of the reliability diagram, as in Guo et al., "On Calibration of Modern Neural Networks" (2017),
/// rounded.
const BINS: usize = 10;

/// Result of the measurement.
#[derive(Debug, Clone)]
pub struct ConfidenceMeasurement {
    /// Every localization that has a confidence.
    pub judged: Vec<Judged>,
    /// Number of items whose localization has none, or whose instruction is about the whole picture.
    pub passed_over: usize,
}

/// Localizes every item of a plan, whose methods are ignored; `told` is called after each step and each item.
///
/// # Errors
/// [`EvaluationError`] of the first item that can't be read or localized, or if `told` stops the run.
pub fn measure(
    editor: &Editor,
    plan: &Plan,
    told: &mut dyn FnMut(Option<&Item>) -> ControlFlow<Interrupted>,
) -> Result<ConfidenceMeasurement, EvaluationError> {
    let mut outcome = ConfidenceMeasurement { judged: Vec::new(), passed_over: 0 };
    for item in &plan.dataset.items {
        let pictures = item.load().map_err(|fault| EvaluationError::Manifest {
            path: plan.dataset.path.clone(),
            line: item.line,
            fault,
        })?;
        let request = runner::request(plan, item, &pictures);
        let found = editor.open(request).localize(&mut |_| told(None))?;
        match found.and_then(|it| it.confidence.zip(it.evidence)) {
            Some((confidence, evidence)) => outcome.judged.push(Judged {
                id: item.id.clone(),
                absent: absence(item),
                confidence,
                evidence,
            }),
            None => outcome.passed_over += 1,
        }
        if let ControlFlow::Break(interrupted) = told(Some(item)) {
            return Err(EvaluationError::Edit(interrupted.into()));
        }
    }
    Ok(outcome)
}

fn absence(item: &Item) -> Option<String> {
    let kind = item.strata.iter().find(|(key, _)| key == ABSENT).map(|(_, kind)| kind.as_str());
    kind.filter(|it| !matches!(*it, "no" | "false")).map(str::to_owned)
}

impl ConfidenceMeasurement {
    /// False warning rate: the fraction of present objects whose confidence is below `least`.
    pub fn warned_for_nothing(&self, least: f64) -> f64 {
        let there = self.there();
        there.iter().filter(|&&it| it < least).count() as f64 / there.len().max(1) as f64
    }

    /// Separation for each kind of absence, and for all kinds together.
    pub fn separations(&self, least: f64) -> BTreeMap<&str, Separation> {
        let there = self.there();
        let mut kinds: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for judged in &self.judged {
            if let Some(kind) = &judged.absent {
                kinds.entry(kind).or_default().push(judged.confidence);
                kinds.entry("all").or_default().push(judged.confidence);
            }
        }
        let separation = |absent: &[f64]| Separation {
            absent: absent.len(),
            auroc: auroc(&there, absent),
            passed: absent.iter().filter(|&&it| it >= least).count() as f64 / absent.len() as f64,
        };
        kinds.iter().map(|(kind, absent)| (*kind, separation(absent))).collect()
    }

    /// The reliability diagram: bins of equal width that are not empty, by confidence.
    pub fn reliability(&self) -> Vec<ReliabilityBin> {
        let bin = |it: &Judged| ((it.confidence * BINS as f64) as usize).min(BINS - 1);
        let of = |index: usize| {
            let judged: Vec<&Judged> = self.judged.iter().filter(|it| bin(it) == index).collect();
            let count = judged.len();
            let share = |sum: f64| sum / count as f64;
            (count > 0).then(|| ReliabilityBin {
                from: index as f64 / BINS as f64,
                count,
                confidence: share(judged.iter().map(|it| it.confidence).sum()),
                there: share(judged.iter().filter(|it| it.absent.is_none()).count() as f64),
            })
        };
        (0..BINS).filter_map(of).collect()
    }

    /// Expected calibration error: the mean difference, over the localizations, of a bin's confidence and its share of
    /// objects that are there.
    pub fn calibration_error(&self) -> f64 {
        let bins = self.reliability().into_iter();
        let sum: f64 = bins.map(|it| it.count as f64 * (it.confidence - it.there).abs()).sum();
        sum / self.judged.len().max(1) as f64
    }

    /// Confidences of the present objects.
    pub fn there(&self) -> Vec<f64> {
        self.judged.iter().filter(|it| it.absent.is_none()).map(|it| it.confidence).collect()
    }
}

/// The fraction of pairs in which the first is higher; ties count half. 0.5 without pairs.
fn auroc(there: &[f64], absent: &[f64]) -> f64 {
    let pairs = there.iter().flat_map(|one| absent.iter().map(move |other| one.total_cmp(other)));
    let won: f64 = pairs
        .map(|it| match it {
            std::cmp::Ordering::Greater => 1.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Less => 0.0,
        })
        .sum();
    let count = there.len() * absent.len();
    if count == 0 { 0.5 } else { won / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(absent: Option<&str>, confidence: f64) -> Judged {
        let evidence = Evidence {
            contrast: 1.0,
            inside: 0.0,
            spread: 1.0,
            peak: 0.0,
            weakest: 0.0,
            mean: 0.0,
            agreement: 0.0,
            color: 0.0,
        };
        Judged { id: String::new(), absent: absent.map(str::to_owned), confidence, evidence }
    }

    #[test]
    fn calibration_is_the_distance_of_confidence_and_share_bin_by_bin() {
        let mut judged: Vec<Judged> = (0..4).map(|_| judged(None, 0.75)).collect();
        judged[0].absent = Some("noun".to_owned());
        let mut outcome = ConfidenceMeasurement { judged, passed_over: 0 };
        assert!(outcome.calibration_error() < 1e-9);
        outcome.judged[1].absent = Some("noun".to_owned());
        assert!((outcome.calibration_error() - 0.25).abs() < 1e-9);
        outcome.judged[2].confidence = 1.0;
        let bins = outcome.reliability();
        assert_eq!(
            bins.iter().map(|it| (it.from, it.count)).collect::<Vec<_>>(),
            [(0.7, 3), (0.9, 1)]
        );
        assert!((bins[1].there - 1.0).abs() < 1e-9 && (bins[1].confidence - 1.0).abs() < 1e-9);
    }

    #[test]
    fn errors_are_counted_on_both_sides_and_by_kind() {
        let judged = vec![
            judged(None, 0.9),
            judged(None, 0.4),
            judged(Some("noun"), 0.6),
            judged(Some("word"), 0.1),
            judged(Some("word"), 0.4),
        ];
        let outcome = ConfidenceMeasurement { judged, passed_over: 0 };
        assert!((outcome.warned_for_nothing(0.5) - 0.5).abs() < 1e-9);
        let found = outcome.separations(0.5);
        assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["all", "noun", "word"]);
        assert_eq!(found["noun"], Separation { absent: 1, auroc: 0.5, passed: 1.0 });
        // Of four pairs three are won and one is equal.
        assert_eq!(found["word"], Separation { absent: 2, auroc: 0.875, passed: 0.0 });
        assert!((found["all"].auroc - 0.75).abs() < 1e-9);
    }
}

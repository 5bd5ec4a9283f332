//! Aggregates: metrics by method and action, by stratum, and comparisons of methods.

use std::collections::BTreeSet;

use crate::evaluation::{
    dataset::{Item, ItemAction},
    figure::{ENTRIES, Figure, HEADLINE, Unit},
    method::Method,
    runner::{Evaluation, Row},
    score::Scores,
    statistics::{self, Interval},
};

/// Number of distinct values with which a manifest key gets a table: a single value distinguishes nothing, and many are
/// names or measurements.
const STRATUM_VALUES: std::ops::RangeInclusive<usize> = 2..=8;

/// Fewest items per value on average; means of fewer are not meaningful.
const ITEMS_A_VALUE: usize = 5;

/// Name of the group of all items.
pub const ALL: &str = "all";

/// A table with one line for each group and method.
#[derive(Debug, Clone)]
pub struct Table {
    /// What the groups are: `action`, or a manifest key.
    pub by: String,
    /// The columns.
    pub figures: Vec<Figure>,
    /// The lines.
    pub lines: Vec<TableLine>,
}

/// A line of a table.
#[derive(Debug, Clone)]
pub struct TableLine {
    /// The group.
    pub group: String,
    /// The method.
    pub method: &'static Method,
    /// Number of edits, including failed ones.
    pub edits: usize,
    /// Number of failed edits, which have no metrics.
    pub failed: usize,
    /// One entry per column; `None` if no item has the metric.
    pub cells: Vec<Option<Interval>>,
}

/// Comparison of a method with the first one, on the items that both have.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// The group.
    pub group: String,
    /// The method.
    pub method: &'static Method,
    /// The method that it is compared with.
    pub other: &'static Method,
    /// The metric.
    pub figure: Figure,
    /// Mean of the paired differences.
    pub difference: Interval,
    /// Ratio of the means; `None` if it is not finite.
    pub ratio: Option<Interval>,
}

/// The table by action, `all` first, with every metric that any row has.
pub fn by_action(evaluation: &Evaluation) -> Table {
    let present: BTreeSet<Figure> = scored(&evaluation.rows).copied().collect();
    let figures = ENTRIES.iter().map(|it| it.figure).filter(|it| present.contains(it)).collect();
    let mut groups = vec![ALL.to_owned()];
    let actions: Vec<String> = actions(evaluation);
    // One action alone is all.
    if actions.len() > 1 {
        groups.extend(actions);
    }
    table(evaluation, "action", &groups, figures, in_action)
}

/// A table of headline metrics for each manifest key that splits the items into a few groups.
pub fn by_strata(evaluation: &Evaluation) -> Vec<Table> {
    let items = &evaluation.plan.dataset.items;
    let mut keys: Vec<&str> = Vec::new();
    for (key, _) in items.iter().flat_map(|item| &item.strata) {
        if !keys.contains(&key.as_str()) {
            keys.push(key);
        }
    }
    let present: BTreeSet<Figure> = scored(&evaluation.rows).copied().collect();
    let figures: Vec<Figure> = HEADLINE.into_iter().filter(|it| present.contains(it)).collect();
    let of_key = |key: &str| {
        let values: BTreeSet<&str> = items.iter().filter_map(|item| stratum(item, key)).collect();
        let has_items = values.len() * ITEMS_A_VALUE <= items.len();
        (has_items && STRATUM_VALUES.contains(&values.len())).then(|| {
            let groups: Vec<String> = values.into_iter().map(str::to_owned).collect();
            let belongs = |item: &Item, group: &str| stratum(item, key) == Some(group);
            table(evaluation, key, &groups, figures.clone(), belongs)
        })
    };
    keys.into_iter().filter_map(of_key).collect()
}

/// Compares every other method with the first, for all items and for each action.
pub fn comparisons(evaluation: &Evaluation) -> Vec<Comparison> {
    let Some((&other, methods)) = evaluation.plan.methods.split_first() else { return vec![] };
    let mut groups = vec![ALL.to_owned()];
    groups.extend(actions(evaluation));
    let mut found = Vec::new();
    for &method in methods {
        for group in &groups {
            for figure in HEADLINE {
                let pairs = pairs(evaluation, method, other, group, figure);
                let difference = match figure.entry().unit {
                    Unit::Share => statistics::mean_share_difference(&pairs),
                    _ => statistics::mean_difference(&pairs),
                };
                let Some(difference) = difference else { continue };
                let ratio = statistics::ratio_of_means(&pairs);
                let group = group.clone();
                found.push(Comparison { group, method, other, figure, difference, ratio });
            }
        }
    }
    found
}

/// Names of the actions that the items have, in the order of [`ItemAction::ALL`].
pub fn actions(evaluation: &Evaluation) -> Vec<String> {
    let items = &evaluation.plan.dataset.items;
    let has = |action: &ItemAction| items.iter().any(|item| item.action == Some(*action));
    ItemAction::ALL.iter().filter(|it| has(it)).map(ToString::to_string).collect()
}

/// The value of an item's key.
fn stratum<'a>(item: &'a Item, key: &str) -> Option<&'a str> {
    item.strata.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
}

fn in_action(item: &Item, group: &str) -> bool {
    group == ALL || item.action.is_some_and(|action| action.name() == group)
}

fn scored(rows: &[Row]) -> impl Iterator<Item = &Figure> {
    rows.iter().filter_map(|row| row.scores.as_ref().ok()).flat_map(|scores| scores.keys())
}

fn table(
    evaluation: &Evaluation,
    by: &str,
    groups: &[String],
    figures: Vec<Figure>,
    belongs: impl Fn(&Item, &str) -> bool,
) -> Table {
    let items = &evaluation.plan.dataset.items;
    let mut lines = Vec::new();
    for group in groups {
        for &method in &evaluation.plan.methods {
            let of_line = |row: &&Row| row.method == method && belongs(&items[row.item], group);
            let rows: Vec<&Row> = evaluation.rows.iter().filter(of_line).collect();
            if rows.is_empty() {
                continue;
            }
            let scores = || rows.iter().filter_map(|row| row.scores.as_ref().ok());
            let cell = |figure: &Figure| {
                if let Some((one, other)) = figure.ratio_of() {
                    let pair = |it: &Scores| Some((*it.get(&one)?, *it.get(&other)?));
                    statistics::ratio_of_means(&scores().filter_map(pair).collect::<Vec<_>>())
                } else {
                    let values: Vec<f64> =
                        scores().filter_map(|scores| scores.get(figure).copied()).collect();
                    mean(*figure, &values)
                }
            };
            lines.push(TableLine {
                group: group.clone(),
                method,
                edits: rows.len(),
                failed: rows.iter().filter(|row| row.scores.is_err()).count(),
                cells: figures.iter().map(cell).collect(),
            });
        }
    }
    Table { by: by.to_owned(), figures, lines }
}

fn mean(figure: Figure, values: &[f64]) -> Option<Interval> {
    match figure.entry().unit {
        Unit::Share => statistics::mean_share(values),
        _ => statistics::mean(values),
    }
}

/// Paired values of a metric for two methods, over the items that have both.
fn pairs(
    evaluation: &Evaluation,
    method: &Method,
    other: &Method,
    group: &str,
    figure: Figure,
) -> Vec<(f64, f64)> {
    let value = |item: usize, method: &Method| {
        let row = evaluation.rows.iter().find(|it| it.item == item && it.method == method)?;
        row.scores.as_ref().ok()?.get(&figure).copied()
    };
    let items = evaluation.plan.dataset.items.iter().enumerate();
    items
        .filter(|(_, item)| in_action(item, group))
        .filter_map(|(index, _)| Some((value(index, method)?, value(index, other)?)))
        .collect()
}

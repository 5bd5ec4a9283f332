//! Lines of text for a terminal that tell what was understood and found.

use crate::drawing::clusters::that_matter;
use crate::edit::{
    drift::Drift,
    event::InstructionParsed,
    localization::{Cluster, Localization},
};
use crate::picture::align::Displacement;

/// What was understood, what the model is told, and what it is asked only to find the object.
pub(crate) fn parsed(parsed: &InstructionParsed) -> Vec<String> {
    let mut lines = vec![
        format!("understood: {}", parsed.in_short()),
        format!("told the model: {}", parsed.told),
    ];
    if !parsed.localization_instruction.is_empty() {
        lines.push(format!("asked only to find it: {}", parsed.localization_instruction));
    }
    lines
}

/// The clusters that matter, how many others there are, and the confidence.
pub(crate) fn localized(localization: &Localization) -> Vec<String> {
    let clusters = &localization.clusters;
    let scores: Vec<(f32, bool)> =
        clusters.iter().map(|it| (it.score as f32, it.selected)).collect();
    let matter = that_matter(&scores);
    let mut lines: Vec<String> = matter.iter().map(|&index| cluster(&clusters[index])).collect();
    let others = (0..clusters.len()).filter(|index| !matter.contains(index));
    let others: Vec<f64> = others.map(|index| clusters[index].score).collect();
    if !others.is_empty() {
        let best = others.iter().copied().fold(0.0, f64::max);
        let plural =
            if others.len() == 1 { "other cluster scores" } else { "other clusters score" };
        let count = others.len();
        lines.push(match format!("{best:.2}").as_str() {
            "0.00" => format!("{count} {plural} less than 0.01"),
            best => format!("{count} {plural} at most {best}"),
        });
    }
    lines.extend(localization.confidence.map(|it| format!("confidence: {it:.2}")));
    lines
}

/// How the edit moved the whole picture, where most cells agree on that.
pub(crate) fn drift(drift: Drift) -> Vec<String> {
    let Drift { displacement, agreement, is_undone } = drift;
    if !drift.is_sure() {
        return vec![];
    }
    let Displacement { right, down, zoom } = displacement;
    let undone = if is_undone { ", undone" } else { "" };
    vec![format!(
        "the picture moved {right:.1} pixels right and {down:.1} down, zoomed {zoom:.3} times{undone} ({:.0} % of the \
         cells agree)",
        agreement * 100.0
    )]
}

fn cluster(cluster: &Cluster) -> String {
    let Cluster { id, score, area, selected } = *cluster;
    let mark = if selected { ", selected" } else { "" };
    format!("cluster {id}: score {score:.2}, {:.0} % of the picture{mark}", area * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edit::grid::Grid;
    use crate::instruction::{Action, change::Change};

    fn localization(clusters: &[(f64, bool)]) -> Localization {
        let grid = Grid { width: 1, height: 1 };
        let cells = crate::edit::grid::Field { grid, values: vec![1.0] };
        let cluster = |(index, &(score, selected)): (usize, &(f64, bool))| Cluster {
            id: index as u8 + 1,
            score,
            area: 1.0 / clusters.len() as f64,
            selected,
        };
        let clusters = clusters.iter().enumerate().map(cluster).collect();
        Localization { clusters, ..Localization::from_threshold("", &cells, 0.5, vec![]) }
    }

    #[test]
    fn only_the_clusters_that_matter_are_listed() {
        let few = localization(&[(0.5, true), (0.2, false), (0.03, true), (0.001, false)]);
        let lines = [
            "cluster 1: score 0.50, 25 % of the picture, selected",
            "cluster 2: score 0.20, 25 % of the picture",
            "cluster 3: score 0.03, 25 % of the picture, selected",
            "1 other cluster scores less than 0.01",
        ];
        assert_eq!(localized(&few), lines);
        let close = localization(&[(0.9, true), (0.08, false), (0.07, false)]);
        assert_eq!(localized(&close)[1..], ["2 other clusters score at most 0.08"]);
        assert_eq!(localized(&localization(&[(0.0, true)])).len(), 1, "there are no others");
    }

    #[test]
    fn what_an_object_becomes_is_told() {
        let said = |action, change, object: &str, replacement: &str, color: &str| {
            let [object, replacement, color] = [object, replacement, color].map(str::to_owned);
            let rest = InstructionParsed {
                action,
                object,
                object_span: None,
                text: String::new(),
                change,
                replacement,
                color,
                told: "do it".to_owned(),
                localization_instruction: String::new(),
            };
            parsed(&rest)[0].trim_start_matches("understood: ").to_owned()
        };
        let change =
            |kind, becomes, color| said(Action::Change, Some(kind), "the star", becomes, color);
        assert_eq!(change(Change::Recolor, "blue", "blue"), "recolor the star to blue");
        assert_eq!(change(Change::Replace, "a red heart", ""), "change the star to a red heart");
        assert_eq!(change(Change::Alter, "bigger", ""), "change the star: bigger");
        assert_eq!(said(Action::Remove, None, "the star", "", ""), "remove the star");
        assert_eq!(said(Action::Global, None, "", "", ""), "change the whole picture");
    }
}

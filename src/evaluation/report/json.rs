//! The report as JSON: metadata, tables, comparisons, and every edit with all its metrics.

use serde_json::{Map, Value, json};

use crate::evaluation::{
    dataset::ItemAction,
    figure::ENTRIES,
    report::Report,
    runner::Row,
    statistics::Interval,
    tables::{Comparison, Table},
};

/// The indented document. Fractions are 0 to 1.
pub(super) fn document(report: &Report<'_>) -> String {
    let facts: Map<String, Value> =
        report.facts.iter().map(|(label, value)| (label.clone(), json!(value))).collect();
    let figures = ENTRIES.iter().map(
        |it| json!({"key": it.key, "title": it.title, "about": it.about, "unit": it.unit.symbol()}),
    );
    let methods = report.evaluation.plan.methods.iter();
    let value = json!({
        "facts": facts,
        "methods": methods.map(|it| json!({"name": it.name, "about": it.about})).collect::<Vec<_>>(),
        "figures": figures.collect::<Vec<_>>(),
        "by_action": table(&report.by_action),
        "by_strata": report.by_strata.iter().map(table).collect::<Vec<_>>(),
        "comparisons": report.comparisons.iter().map(comparison).collect::<Vec<_>>(),
        "rows": report.evaluation.rows.iter().map(|it| row(report, it)).collect::<Vec<_>>(),
    });
    let mut text =
        serde_json::to_string_pretty(&value).expect("a value of texts and numbers is JSON");
    text.push('\n');
    text
}

fn table(table: &Table) -> Value {
    let lines = table.lines.iter().map(|line| {
        let cells = table.figures.iter().zip(&line.cells);
        let figures: Map<String, Value> = cells
            .filter_map(|(figure, cell)| Some((figure.entry().key.to_owned(), interval((*cell)?))))
            .collect();
        json!({
            "group": line.group,
            "method": line.method.name,
            "edits": line.edits,
            "failed": line.failed,
            "figures": figures,
        })
    });
    json!({"by": table.by, "lines": lines.collect::<Vec<_>>()})
}

fn comparison(it: &Comparison) -> Value {
    json!({
        "group": it.group,
        "method": it.method.name,
        "other": it.other.name,
        "figure": it.figure.entry().key,
        "difference": interval(it.difference),
        "ratio": it.ratio.map(interval),
    })
}

fn interval(it: Interval) -> Value {
    json!({"value": it.value, "low": it.low, "high": it.high, "count": it.count})
}

fn row(report: &Report<'_>, row: &Row) -> Value {
    let item = &report.evaluation.plan.dataset.items[row.item];
    let (figures, error) = match &row.scores {
        Ok(scores) => {
            let figures =
                scores.iter().map(|(it, value)| (it.entry().key.to_owned(), json!(value)));
            (figures.collect::<Map<String, Value>>(), None)
        }
        Err(error) => (Map::new(), Some(error)),
    };
    json!({
        "id": item.id,
        "instruction": item.instruction,
        "action": item.action.map(ItemAction::name),
        "method": row.method.name,
        "seed": row.seed,
        "same_as": row.same_as.map(|it| it.name),
        "reading": row.reading,
        "warnings": row.warnings,
        "error": error,
        "figures": figures,
    })
}

//! The report as CSV: one line per edit, and one line per table cell.

use std::fmt::Write;

use crate::evaluation::{
    figure::ENTRIES, report::Report, runner::Evaluation, statistics::Interval,
};

/// Every edit with all its metrics, fractions as 0 to 1; missing metrics are empty.
pub(super) fn scores(evaluation: &Evaluation) -> String {
    let mut text = "id,action,method,seed,error".to_owned();
    for entry in &ENTRIES {
        text.push(',');
        text.push_str(entry.key);
    }
    text.push('\n');
    for row in &evaluation.rows {
        let item = &evaluation.plan.dataset.items[row.item];
        let scores = row.scores.as_ref();
        let mut fields = vec![
            quoted(&item.id),
            item.action.map_or("", |it| it.name()).to_owned(),
            row.method.name.to_owned(),
            row.seed.to_string(),
            quoted(scores.err().map_or("", String::as_str)),
        ];
        for entry in &ENTRIES {
            let value = scores.ok().and_then(|it| it.get(&entry.figure));
            fields.push(value.map(f64::to_string).unwrap_or_default());
        }
        text.push_str(&fields.join(","));
        text.push('\n');
    }
    text
}

/// Every table cell, and every comparison as tables of differences and ratios.
pub(super) fn tables(report: &Report<'_>) -> String {
    let mut text = "table,group,method,figure,value,low,high,count\n".to_owned();
    let mut push = |table: &str, group: &str, method: &str, figure: &str, it: Interval| {
        let (table, group) = (quoted(table), quoted(group));
        let Interval { value, low, high, count } = it;
        let _ = writeln!(text, "{table},{group},{method},{figure},{value},{low},{high},{count}");
    };
    for table in std::iter::once(&report.by_action).chain(&report.by_strata) {
        for line in &table.lines {
            for (figure, cell) in table.figures.iter().zip(&line.cells) {
                if let Some(cell) = cell {
                    let by = format!("by {}", table.by);
                    push(&by, &line.group, line.method.name, figure.entry().key, *cell);
                }
            }
        }
    }
    for it in &report.comparisons {
        let key = it.figure.entry().key;
        let table = format!("difference to {}", it.other.name);
        push(&table, &it.group, it.method.name, key, it.difference);
        if let Some(ratio) = it.ratio {
            let table = format!("ratio to {}", it.other.name);
            push(&table, &it.group, it.method.name, key, ratio);
        }
    }
    text
}

/// Quotes a field that contains commas, quotes or line breaks (RFC 4180).
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

//! The report as CSV: one line per edit, and one line per table cell.

use csv::Writer;

use crate::evaluation::{
    figure::ENTRIES, report::Report, runner::Evaluation, statistics::Interval,
};

/// Every edit with all its metrics, fractions as 0 to 1; missing metrics are empty.
pub(super) fn scores(evaluation: &Evaluation) -> String {
    let keys = ENTRIES.iter().map(|entry| entry.key.to_owned());
    let lines = evaluation.rows.iter().map(|row| {
        let item = &evaluation.plan.dataset.items[row.item];
        let scores = row.scores.as_ref();
        let mut fields = vec![
            item.id.clone(),
            item.action.map_or("", |it| it.name()).to_owned(),
            row.method.name.to_owned(),
            row.seed.to_string(),
            scores.err().cloned().unwrap_or_default(),
        ];
        fields.extend(ENTRIES.iter().map(|entry| {
            let value = scores.ok().and_then(|it| it.get(&entry.figure));
            value.map(f64::to_string).unwrap_or_default()
        }));
        fields
    });
    let head = ["id", "action", "method", "seed", "error"].map(str::to_owned);
    text(std::iter::once(head.into_iter().chain(keys).collect()).chain(lines))
}

/// Every table cell, and every comparison as tables of differences and ratios.
pub(super) fn tables(report: &Report<'_>) -> String {
    let head = ["table", "group", "method", "figure", "value", "low", "high", "count"];
    let mut lines = vec![head.map(str::to_owned).to_vec()];
    let mut push = |table: String, group: &str, method: &str, figure: &str, it: Interval| {
        let names = [table, group.to_owned(), method.to_owned(), figure.to_owned()];
        let Interval { value, low, high, count } = it;
        let numbers = [value, low, high].map(|it| it.to_string());
        lines.push(names.into_iter().chain(numbers).chain([count.to_string()]).collect());
    };
    for table in std::iter::once(&report.by_action).chain(&report.by_strata) {
        for line in &table.lines {
            for (figure, cell) in table.figures.iter().zip(&line.cells) {
                if let Some(cell) = cell {
                    let by = format!("by {}", table.by);
                    push(by, &line.group, line.method.name, figure.entry().key, *cell);
                }
            }
        }
    }
    for it in &report.comparisons {
        let (key, other) = (it.figure.entry().key, it.other.name);
        push(format!("difference to {other}"), &it.group, it.method.name, key, it.difference);
        if let Some(ratio) = it.ratio {
            push(format!("ratio to {other}"), &it.group, it.method.name, key, ratio);
        }
    }
    text(lines)
}

fn text(lines: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut writer = Writer::from_writer(Vec::new());
    for line in lines {
        writer.write_record(line).expect("lines of one length, in memory");
    }
    let bytes = writer.into_inner().expect("nothing fails in memory");
    String::from_utf8(bytes).expect("fields are text")
}

//! The report as Markdown: metadata, headline metrics by action, comparisons.

use std::fmt::Write;

use crate::evaluation::{
    figure::{Figure, HEADLINE, Unit},
    report::Report,
    statistics::Interval,
    tables::{ALL, Table},
};

/// The document.
pub(super) fn document(report: &Report<'_>) -> String {
    let mut text = "# Evaluation\n\n".to_owned();
    for (label, value) in &report.facts {
        let _ = writeln!(text, "- {label}: {value}");
    }
    text.push_str(
        "\nMeans, with 95 % bootstrap intervals over the items in brackets; one-sided where all items agree.\n\n\
         ## By action\n\n",
    );
    text.push_str(&table(&report.by_action));
    text.push_str(&comparisons(report));
    for strata in &report.by_strata {
        let _ = write!(text, "\n## By {}\n\n{}", strata.by, table(strata));
    }
    text
}

/// The table by action and the comparisons.
pub(super) fn summary(report: &Report<'_>) -> String {
    format!("## By action\n\n{}{}", table(&report.by_action), comparisons(report))
}

/// A table of the headline metrics that it has.
fn table(table: &Table) -> String {
    let columns: Vec<usize> =
        (0..table.figures.len()).filter(|&it| HEADLINE.contains(&table.figures[it])).collect();
    let mut head = vec![table.by.clone(), "method".to_owned(), "edits".to_owned()];
    head.extend(columns.iter().map(|&column| title(table.figures[column])));
    let mut text = row(&head) + &row(&vec!["---".to_owned(); head.len()]);
    for line in &table.lines {
        let edits = match line.failed {
            0 => line.edits.to_string(),
            failed => format!("{} ({failed} failed)", line.edits),
        };
        let mut fields = vec![line.group.clone(), line.method.name.to_owned(), edits];
        fields.extend(columns.iter().map(|&column| {
            let unit = table.figures[column].entry().unit;
            line.cells[column].map(|it| with_interval(it, unit)).unwrap_or_default()
        }));
        text.push_str(&row(&fields));
    }
    text
}

fn comparisons(report: &Report<'_>) -> String {
    let Some(first) = report.comparisons.first() else { return String::new() };
    let mut text = format!("\n## Against {}, item by item\n\n", first.other.name);
    text.push_str(&row(&["method", "figure", "difference", "ratio"].map(str::to_owned)));
    text.push_str(&row(&vec!["---".to_owned(); 4]));
    for it in report.comparisons.iter().filter(|it| it.group == ALL) {
        let unit = it.figure.entry().unit;
        let ratio = it.ratio.map(|ratio| with_interval(ratio, Unit::Number)).unwrap_or_default();
        let difference = with_interval(it.difference, unit);
        text.push_str(&row(&[it.method.name.to_owned(), title(it.figure), difference, ratio]));
    }
    text
}

fn title(figure: Figure) -> String {
    let entry = figure.entry();
    match entry.unit.symbol() {
        "" => entry.title.to_owned(),
        symbol => format!("{} ({symbol})", entry.title),
    }
}

fn with_interval(it: Interval, unit: Unit) -> String {
    if it.count == 1 {
        return unit.format(it.value);
    }
    format!("{} {}", unit.format(it.value), it.in_brackets(|end| unit.format(end)))
}

fn row(fields: &[String]) -> String {
    let escaped: Vec<String> = fields.iter().map(|it| it.replace('|', "\\|")).collect();
    format!("| {} |\n", escaped.join(" | "))
}

//! The report as a single self-contained HTML page, with light and dark color schemes.

use std::fmt::Write;

use crate::evaluation::{
    figure::{Better, ENTRIES, Figure, HEADLINE, Unit},
    report::{Report, escape::escaped, gallery, plots},
    statistics::Interval,
    tables::{ALL, Comparison, Table},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page.
pub(super) fn page(report: &Report<'_>) -> String {
    let mut html = format!(
        r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Evaluation</title>
<style>{STYLE}</style>
</head>
<body>
<header class="top"><h1>Evaluation</h1>{}<dl class="facts">"#,
        navigation()
    );
    for (label, value) in &report.facts {
        let _ = write!(html, "<div><dt>{}</dt><dd>{}</dd></div>", escaped(label), escaped(value));
    }
    let _ = write!(html, "</dl></header><main>{}", methods(report));
    let _ = write!(
        html,
        r#"<section id="plots"><h2>At a glance</h2><p class="note">Dots are means, lines 95 % bootstrap intervals over the items.</p><div class="plots">{}</div></section>"#,
        plots::plots(report)
    );
    let (headline, _): (Vec<Figure>, Vec<Figure>) =
        report.by_action.figures.iter().partition(|it| HEADLINE.contains(it));
    let _ = write!(
        html,
        r#"<section id="actions"><h2>By action</h2><p class="note">Means; the range below is the 95 % interval. A click on a head sorts. The best mean of each group is bold.</p>{}<details><summary>All figures</summary>{}</details></section>"#,
        table(report, &report.by_action, &headline),
        table(report, &report.by_action, &report.by_action.figures),
    );
    html.push_str(&comparisons(report));
    if !report.by_strata.is_empty() {
        html.push_str(r#"<section id="strata"><h2>By stratum</h2>"#);
        for strata in &report.by_strata {
            let _ = write!(
                html,
                "<details><summary>{}</summary>{}</details>",
                escaped(&strata.by),
                table(report, strata, &strata.figures)
            );
        }
        html.push_str("</section>");
    }
    let _ = write!(html, "{}{}", gallery::gallery(report), glossary());
    let _ = writeln!(html, "</main><script>{SCRIPT}</script></body></html>");
    html
}

fn navigation() -> &'static str {
    r##"<nav><a href="#plots">At a glance</a><a href="#actions">By action</a><a href="#comparisons">Differences</a><a href="#strata">By stratum</a><a href="#gallery">Gallery</a><a href="#glossary">Figures</a></nav>"##
}

/// The methods with their colors.
fn methods(report: &Report<'_>) -> String {
    let mut html = r#"<ul class="methods">"#.to_owned();
    for method in &report.evaluation.plan.methods {
        let color = plots::color(report.evaluation, method.name);
        let _ = write!(
            html,
            r#"<li><i class="dot {color}"></i><b>{}</b> <code>{}</code> {}</li>"#,
            method.title,
            method.name,
            escaped(method.about)
        );
    }
    html + "</ul>"
}

fn table(report: &Report<'_>, table: &Table, figures: &[Figure]) -> String {
    let mut html = format!(
        r#"<div class="scroll"><table class="sortable"><thead><tr><th>{}</th><th>method</th><th class="n">edits</th>"#,
        escaped(&table.by)
    );
    for figure in figures {
        html.push_str(&head(*figure));
    }
    html.push_str("</tr></thead><tbody>");
    for line in &table.lines {
        let color = plots::color(report.evaluation, line.method.name);
        let failed = match line.failed {
            0 => String::new(),
            failed => format!("<small>{failed} failed</small>"),
        };
        let _ = write!(
            html,
            r#"<tr><td>{}</td><td><i class="dot {color}"></i>{}</td><td class="n" data-v="{edits}">{edits}{failed}</td>"#,
            escaped(&line.group),
            line.method.title,
            edits = line.edits,
        );
        for figure in figures {
            let column = table.figures.iter().position(|it| it == figure);
            let cell = column.and_then(|it| line.cells[it]);
            let rivals = table.lines.iter().filter(|it| it.group == line.group);
            let rivals = rivals.filter_map(|it| column.and_then(|column| it.cells[column]));
            let rivals: Vec<f64> = rivals.map(|it| it.value).collect();
            html.push_str(&mean_cell(*figure, cell, &rivals));
        }
        html.push_str("</tr>");
    }
    html + "</tbody></table></div>"
}

fn head(figure: Figure) -> String {
    let entry = figure.entry();
    let arrow = match entry.better {
        Better::Higher => " ↑",
        Better::Lower => " ↓",
        Better::Neither => "",
    };
    let symbol = entry.unit.symbol();
    format!(
        r#"<th class="n" title="{}">{}{arrow}<small>{symbol}</small></th>"#,
        escaped(entry.about),
        entry.title
    )
}

/// A mean with its interval; bold if no other method of its group is better.
fn mean_cell(figure: Figure, cell: Option<Interval>, rivals: &[f64]) -> String {
    let Some(it) = cell else { return r#"<td class="n none">–</td>"#.to_owned() };
    let entry = figure.entry();
    let outdoes = |other: &f64| match entry.better {
        Better::Higher => *other < it.value,
        Better::Lower => *other > it.value,
        Better::Neither => false,
    };
    let matches_or_outdoes = |other: &f64| outdoes(other) || (*other - it.value).abs() < 1e-12;
    let is_best = rivals.iter().any(outdoes) && rivals.iter().all(matches_or_outdoes);
    let class = if is_best { "n best" } else { "n" };
    interval_cell(it, entry.unit, class, "")
}

fn interval_cell(it: Interval, unit: Unit, class: &str, sign: &str) -> String {
    let sign = if it.value > 0.0 { sign } else { "" };
    let range = match it.count {
        1 => String::new(),
        _ => format!("<small>{} – {}</small>", unit.format(it.low), unit.format(it.high)),
    };
    format!(
        r#"<td class="{class}" data-v="{}" title="{} items">{sign}{}{range}</td>"#,
        it.value,
        it.count,
        unit.format(it.value),
    )
}

/// Table of differences and ratios; those whose interval excludes "no change" are marked.
fn comparisons(report: &Report<'_>) -> String {
    let Some(first) = report.comparisons.first() else { return String::new() };
    let (all, parts): (Vec<_>, Vec<_>) = report.comparisons.iter().partition(|it| it.group == ALL);
    let parts = match parts.as_slice() {
        [] => String::new(),
        parts => {
            let table = comparison_table(report, parts);
            format!("<details><summary>By action</summary>{table}</details>")
        }
    };
    format!(
        r#"<section id="comparisons"><h2>Differences</h2><p class="note">Each method less {}, item by item on the items that both have. Green and red: better or worse, with an interval that leaves out 0. The ratio is that of the means.</p>{}{parts}</section>"#,
        first.other.title,
        comparison_table(report, &all),
    )
}

fn comparison_table(report: &Report<'_>, comparisons: &[&Comparison]) -> String {
    let mut html = r#"<div class="scroll"><table class="sortable"><thead><tr><th>action</th><th>method</th><th>figure</th><th class="n">difference</th><th class="n">ratio</th><th class="n">items</th></tr></thead><tbody>"#.to_owned();
    for it in comparisons {
        let entry = it.figure.entry();
        let class = match entry.better {
            _ if it.difference.count == 1 => "n",
            Better::Higher if it.difference.low > 0.0 => "n better",
            Better::Lower if it.difference.high < 0.0 => "n better",
            Better::Higher if it.difference.high < 0.0 => "n worse",
            Better::Lower if it.difference.low > 0.0 => "n worse",
            _ => "n",
        };
        let ratio = match it.ratio {
            Some(ratio) => interval_cell(ratio, Unit::Number, "n", ""),
            None => r#"<td class="n none">–</td>"#.to_owned(),
        };
        let _ = write!(
            html,
            r#"<tr><td>{}</td><td><i class="dot {}"></i>{}</td><td>{} <small class="unit">{}</small></td>{}{ratio}<td class="n" data-v="{count}">{count}</td></tr>"#,
            escaped(&it.group),
            plots::color(report.evaluation, it.method.name),
            it.method.title,
            entry.title,
            entry.unit.symbol(),
            interval_cell(it.difference, entry.unit, class, "+"),
            count = it.difference.count,
        );
    }
    html + "</tbody></table></div>"
}

/// Explanations of the metrics.
fn glossary() -> String {
    let mut html = r#"<section id="glossary"><h2>Figures</h2><dl>"#.to_owned();
    for entry in &ENTRIES {
        let unit = match entry.unit.symbol() {
            "" => String::new(),
            symbol => format!(", in {symbol}"),
        };
        let _ = write!(html, "<dt>{}</dt><dd>{}{unit}</dd>", entry.title, escaped(entry.about));
    }
    html + "</dl></section>"
}

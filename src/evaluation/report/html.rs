//! The report as a single self-contained HTML page, with light and dark color schemes.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use crate::evaluation::{
    figure::{Better, ENTRIES, Figure, HEADLINE, Unit},
    report::{Report, gallery, plots},
    statistics::Interval,
    tables::{ALL, Comparison, Table},
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page.
pub(super) fn page(report: &Report<'_>) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Evaluation" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header.top {
                    h1 { "Evaluation" }
                    nav {
                        a href="#plots" { "At a glance" } a href="#actions" { "By action" }
                        a href="#comparisons" { "Differences" } a href="#strata" { "By stratum" }
                        a href="#gallery" { "Gallery" } a href="#glossary" { "Figures" }
                    }
                    dl.facts {
                        @for (label, value) in &report.facts { div { dt { (label) } dd { (value) } } }
                    }
                }
                main {
                    (methods(report))
                    section #plots {
                        h2 { "At a glance" }
                        p.note { "Dots are means, lines 95 % bootstrap intervals over the items." }
                        div.plots { (plots::plots(report)) }
                    }
                    (by_action(report))
                    (comparisons(report))
                    @if !report.by_strata.is_empty() {
                        section #strata {
                            h2 { "By stratum" }
                            @for strata in &report.by_strata {
                                details { summary { (strata.by) } (table(report, strata, &strata.figures)) }
                            }
                        }
                    }
                    (gallery::gallery(report))
                    (glossary())
                }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    };
    page.into_string() + "\n"
}

/// The methods with their colors.
fn methods(report: &Report<'_>) -> Markup {
    html! {
        ul.methods { @for method in &report.evaluation.plan.methods { li {
            (plots::dot(report.evaluation, method))
            b { (method.title) } " " code { (method.name) } " " (method.about)
        } } }
    }
}

fn by_action(report: &Report<'_>) -> Markup {
    let all = &report.by_action.figures;
    let headline: Vec<Figure> = all.iter().copied().filter(|it| HEADLINE.contains(it)).collect();
    html! {
        section #actions {
            h2 { "By action" }
            p.note {
                "Means; in brackets the 95 % interval, one-sided where all edits agree. A click on a head sorts. "
                "The best mean of each group is bold."
            }
            (table(report, &report.by_action, &headline))
            details { summary { "All figures" } (table(report, &report.by_action, all)) }
        }
    }
}

fn table(report: &Report<'_>, table: &Table, figures: &[Figure]) -> Markup {
    html! {
        div.scroll {
            table.sortable {
                thead { tr {
                    th { (table.by) } th { "method" } th.n { "edits" }
                    @for figure in figures { (head(*figure)) }
                } }
                tbody { @for line in &table.lines { tr {
                    td { (line.group) }
                    td { (plots::dot(report.evaluation, line.method)) (line.method.title) }
                    td.n data-v=(line.edits) {
                        (line.edits) @if line.failed > 0 { small { (line.failed) " failed" } }
                    }
                    @for figure in figures { (mean_cell(table, &line.group, &line.cells, *figure)) }
                } } }
            }
        }
    }
}

fn head(figure: Figure) -> Markup {
    let entry = figure.entry();
    let arrow = match entry.better {
        Better::Higher => " ↑",
        Better::Lower => " ↓",
        Better::Neither => "",
    };
    html! { th.n title=(entry.about) { (entry.title) (arrow) small { (entry.unit.symbol()) } } }
}

/// A mean with its interval; bold if no other method of its group is better.
fn mean_cell(table: &Table, group: &str, cells: &[Option<Interval>], figure: Figure) -> Markup {
    let column = table.figures.iter().position(|it| *it == figure);
    let Some((column, it)) = column.and_then(|it| Some((it, cells[it]?))) else { return no_cell() };
    let entry = figure.entry();
    let outdoes = |other: f64| match entry.better {
        Better::Higher => other < it.value,
        Better::Lower => other > it.value,
        Better::Neither => false,
    };
    let matches_or_outdoes = |other: f64| outdoes(other) || (other - it.value).abs() < 1e-12;
    let rivals = table.lines.iter().filter(|line| line.group == group);
    let mut rivals = rivals.filter_map(|line| line.cells[column]).map(|it| it.value);
    let is_best = rivals.clone().any(outdoes) && rivals.all(matches_or_outdoes);
    interval_cell(it, entry.unit, if is_best { "n best" } else { "n" }, "")
}

fn no_cell() -> Markup {
    html! { td.n.none { "–" } }
}

fn interval_cell(it: Interval, unit: Unit, class: &str, sign: &str) -> Markup {
    html! {
        td class=(class) data-v=(it.value.to_string()) title={ (it.count) " items" } {
            @if it.value > 0.0 { (sign) } (unit.format(it.value))
            @if it.count != 1 { small { (it.in_brackets(|end| unit.format(end))) } }
        }
    }
}

/// Table of differences and ratios; those whose interval excludes "no change" are marked.
fn comparisons(report: &Report<'_>) -> Markup {
    let Some(first) = report.comparisons.first() else { return html! {} };
    let (all, parts): (Vec<_>, Vec<_>) = report.comparisons.iter().partition(|it| it.group == ALL);
    html! {
        section #comparisons {
            h2 { "Differences" }
            p.note {
                "Each method less " (first.other.title) ", item by item on the items that both have. "
                "Green and red: better or worse, with an interval that leaves out 0. "
                "The ratio is that of the means."
            }
            (comparison_table(report, &all))
            @if !parts.is_empty() {
                details { summary { "By action" } (comparison_table(report, &parts)) }
            }
        }
    }
}

fn comparison_table(report: &Report<'_>, comparisons: &[&Comparison]) -> Markup {
    html! {
        div.scroll {
            table.sortable {
                thead { tr {
                    th { "action" } th { "method" } th { "figure" }
                    th.n { "difference" } th.n { "ratio" } th.n { "items" }
                } }
                tbody { @for it in comparisons { (comparison_row(report, it)) } }
            }
        }
    }
}

fn comparison_row(report: &Report<'_>, it: &Comparison) -> Markup {
    let (entry, count) = (it.figure.entry(), it.difference.count);
    let class = match entry.better {
        _ if count == 1 => "n",
        Better::Higher if it.difference.low > 0.0 => "n better",
        Better::Lower if it.difference.high < 0.0 => "n better",
        Better::Higher if it.difference.high < 0.0 => "n worse",
        Better::Lower if it.difference.low > 0.0 => "n worse",
        _ => "n",
    };
    html! {
        tr {
            td { (it.group) }
            td { (plots::dot(report.evaluation, it.method)) (it.method.title) }
            td { (entry.title) " " small.unit { (entry.unit.symbol()) } }
            (interval_cell(it.difference, entry.unit, class, "+"))
            (it.ratio.map_or_else(no_cell, |it| interval_cell(it, Unit::Number, "n", "")))
            td.n data-v=(count) { (count) }
        }
    }
}

/// Explanations of the metrics.
fn glossary() -> Markup {
    html! {
        section #glossary {
            h2 { "Figures" }
            dl {
                @for entry in &ENTRIES {
                    dt { (entry.title) }
                    dd { (entry.about) @if !entry.unit.symbol().is_empty() { ", in " (entry.unit.symbol()) } }
                }
            }
        }
    }
}

//! Plots of the HTML report, as inline SVG in the page's colors.

use maud::{Markup, html};

use crate::evaluation::{
    figure::{Figure, Unit},
    method::Method,
    report::Report,
    runner::Evaluation,
    tables::Table,
};

/// Width of an interval plot and of its left and right margins, in pixels.
const WIDTH: f64 = 372.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;

/// Height of a row, of the gap between groups, and of the axis.
const LINE: f64 = 15.0;
const GAP: f64 = 11.0;
const AXIS: f64 = 26.0;

/// Number of bins of a histogram.
const BINS: usize = 10;

/// Size of a histogram without its axes.
const HISTOGRAM: (f64, f64) = (210.0, 110.0);

/// All plots for which there are metrics.
pub(super) fn plots(report: &Report<'_>) -> Markup {
    let means = [Figure::Success, Figure::ObjectIou, Figure::Pointing, Figure::OutsideUncomposited];
    html! {
        @for figure in means { (intervals(report.evaluation, &report.by_action, figure)) }
        @for figure in [Figure::ObjectIou, Figure::MaskIou] { (histograms(report.evaluation, figure)) }
    }
}

/// A metric by group and method: a dot for the mean, a line for its confidence interval.
fn intervals(evaluation: &Evaluation, table: &Table, figure: Figure) -> Markup {
    let column = table.figures.iter().position(|it| *it == figure);
    let Some(column) = column else { return html! {} };
    let entry = figure.entry();
    let unit = entry.unit;
    let lines: Vec<_> =
        table.lines.iter().filter_map(|line| Some((line, line.cells[column]?))).collect();
    let highest = lines.iter().map(|(_, it)| it.high).fold(0.0, f64::max);
    let top = if unit == Unit::Share { 1.0 } else { round_up(highest) };
    let x = |value: f64| LEFT + (value / top).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
    // The middle of each line's row, with a gap between groups.
    let mut bottom = 6.0;
    let mut rows = Vec::new();
    for (index, &(line, it)) in lines.iter().enumerate() {
        let is_first = index == 0 || lines[index - 1].0.group != line.group;
        if is_first && index > 0 {
            bottom += GAP;
        }
        rows.push((line, it, is_first, bottom + LINE / 2.0));
        bottom += LINE;
    }
    let marks = html! {
        @for tick in (0..=4).map(|it| top * f64::from(it) / 4.0) {
            line.grid x1=(px(x(tick))) x2=(px(x(tick))) y1="2" y2=(px(bottom + 4.0)) {}
            text x=(px(x(tick))) y=(px(bottom + 19.0)) text-anchor="middle" {
                @if unit == Unit::Share { (format!("{:.0}", 100.0 * tick)) } @else { (trimmed(tick)) }
            }
        }
        @for (line, it, is_first, middle) in rows {
            @if is_first {
                text.group x=(px(LEFT - 10.0)) y=(px(middle + 4.0)) text-anchor="end" { (line.group) }
            }
            g class=(color(evaluation, line.method)) {
                title {
                    (line.group) ", " (line.method.title) ": " (unit.format(it.value)) " "
                    (it.in_brackets(|end| unit.format(end))) " " (unit.symbol()) ", " (it.count) " edits"
                }
                line x1=(px(x(it.low))) x2=(px(x(it.high))) y1=(px(middle)) y2=(px(middle)) {}
                circle cx=(px(x(it.value))) cy=(px(middle)) r="4.5" {}
            }
        }
    };
    plot(entry.title, entry.about, unit.symbol(), (WIDTH, bottom + AXIS), &marks)
}

/// Histograms of a metric in 0..=1 with ten bins, one per method.
fn histograms(evaluation: &Evaluation, figure: Figure) -> Markup {
    let of_method = |method: &Method| {
        let rows = evaluation.rows.iter().filter(|row| row.method == method);
        let scores = rows.filter_map(|row| row.scores.as_ref().ok());
        let values: Vec<f64> = scores.filter_map(|it| it.get(&figure).copied()).collect();
        if values.is_empty() {
            html! {}
        } else {
            histogram(evaluation, method, figure, &values)
        }
    };
    html! { @for method in &evaluation.plan.methods { (of_method(method)) } }
}

fn histogram(evaluation: &Evaluation, method: &Method, figure: Figure, values: &[f64]) -> Markup {
    let mut counts = [0usize; BINS];
    for value in values {
        counts[((value * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(0).max(1);
    let ((width, height), left, top) = (HISTOGRAM, 8.0, 16.0);
    let (step, bottom) = (width / BINS as f64, top + height);
    let tall = |count: usize| height * count as f64 / most as f64;
    let marks = html! {
        g class=(color(evaluation, method)) {
            @for (bin, count) in counts.into_iter().enumerate() {
                @let (x, y) = (left + step * bin as f64, bottom - tall(count));
                rect x=(px(x + 1.0)) y=(px(y)) width=(px(step - 2.0)) height=(px(tall(count))) {
                    title { (10 * bin) "–" (10 * (bin + 1)) " %: " (count) " of " (values.len()) }
                }
                @if count > 0 {
                    text x=(px(x + step / 2.0)) y=(px(y - 3.0)) text-anchor="middle" { (count) }
                }
            }
        }
        line.axis x1=(px(left)) x2=(px(left + width)) y1=(px(bottom)) y2=(px(bottom)) {}
        @for tick in [0, 50, 100] {
            @let x = left + width * f64::from(tick) / 100.0;
            text x=(px(x)) y=(px(bottom + 15.0)) text-anchor="middle" { (tick) }
        }
    };
    let about = format!("{}: edits in each tenth", method.title);
    plot(figure.entry().title, &about, "%", (width + 24.0, bottom + 20.0), &marks)
}

/// A dot in a method's color.
pub(super) fn dot(evaluation: &Evaluation, method: &Method) -> Markup {
    html! { i class={ "dot " (color(evaluation, method)) } {} }
}

/// CSS class of a method's color.
fn color(evaluation: &Evaluation, method: &Method) -> String {
    let index = evaluation.plan.methods.iter().position(|it| *it == method).unwrap_or(0);
    format!("m{}", index % 6)
}

fn plot(title: &str, about: &str, unit: &str, size: (f64, f64), marks: &Markup) -> Markup {
    let (width, height) = (size.0.to_string(), size.1.to_string());
    html! {
        figure.plot {
            figcaption {
                b { (title) }
                @if !unit.is_empty() { " " span { (unit) } }
                br;
                (about)
            }
            svg viewBox={ "0 0 " (width) " " (height) } width=(width) height=(height) role="img" aria-label=(title) {
                (marks)
            }
        }
    }
}

/// A length in an SVG, in pixels.
fn px(length: f64) -> String {
    format!("{length:.1}")
}

/// The next larger number with few digits, whose quarters have few digits too.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 1.2, 1.6, 2.0, 2.4, 3.2, 4.0, 6.0, 8.0, 10.0].map(|step| step * power);
    steps.into_iter().find(|step| *step >= value).unwrap_or(10.0 * power)
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

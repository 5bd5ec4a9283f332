//! Plots of the HTML report, as inline SVG in the page's colors.

use std::fmt::Write;

use crate::evaluation::{
    figure::{Figure, Unit},
    report::{Report, escape::escaped},
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
pub(super) fn plots(report: &Report<'_>) -> String {
    let mut text = String::new();
    for figure in
        [Figure::Success, Figure::ObjectIou, Figure::Pointing, Figure::OutsideUncomposited]
    {
        if let Some(plot) = intervals(report.evaluation, &report.by_action, figure) {
            text.push_str(&plot);
        }
    }
    for figure in [Figure::ObjectIou, Figure::MaskIou] {
        text.push_str(&histograms(report.evaluation, figure).unwrap_or_default());
    }
    text
}

/// A metric by group and method: a dot for the mean, a line for its confidence interval.
fn intervals(evaluation: &Evaluation, table: &Table, figure: Figure) -> Option<String> {
    let column = table.figures.iter().position(|it| *it == figure)?;
    let entry = figure.entry();
    let lines: Vec<_> = table.lines.iter().filter(|it| it.cells[column].is_some()).collect();
    let highest =
        lines.iter().filter_map(|it| it.cells[column]).map(|it| it.high).fold(0.0, f64::max);
    let top = if entry.unit == Unit::Share { 1.0 } else { round_up(highest) };
    let x = |value: f64| LEFT + (value / top).clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT);
    let (mut marks, mut y, mut group) = (String::new(), 6.0, "");
    for line in &lines {
        let it = line.cells[column]?;
        if line.group != group {
            if !group.is_empty() {
                y += GAP;
            }
            group = &line.group;
            let _ = write!(
                marks,
                r#"<text class="group" x="{}" y="{:.1}" text-anchor="end">{}</text>"#,
                LEFT - 10.0,
                y + LINE / 2.0 + 4.0,
                escaped(group)
            );
        }
        let (middle, class) = (y + LINE / 2.0, color(evaluation, line.method.name));
        let unit = entry.unit;
        let _ = write!(
            marks,
            r#"<g class="{class}"><title>{}, {}: {} [{}, {}] {}, {} edits</title><line x1="{:.1}" x2="{:.1}" y1="{middle:.1}" y2="{middle:.1}"/><circle cx="{:.1}" cy="{middle:.1}" r="4.5"/></g>"#,
            escaped(group),
            line.method.title,
            unit.format(it.value),
            unit.format(it.low),
            unit.format(it.high),
            unit.symbol(),
            it.count,
            x(it.low),
            x(it.high),
            x(it.value),
        );
        y += LINE;
    }
    let mut grid = String::new();
    for tick in 0..=4 {
        let value = top * f64::from(tick) / 4.0;
        let label = match entry.unit {
            Unit::Share => format!("{:.0}", 100.0 * value),
            _ => trimmed(value),
        };
        let _ = write!(
            grid,
            r#"<line class="grid" x1="{0:.1}" x2="{0:.1}" y1="2" y2="{1:.1}"/><text x="{0:.1}" y="{2:.1}" text-anchor="middle">{label}</text>"#,
            x(value),
            y + 4.0,
            y + 19.0,
        );
    }
    Some(plot(entry.title, entry.about, entry.unit.symbol(), WIDTH, y + AXIS, &(grid + &marks)))
}

/// Histograms of a metric in 0..=1 with ten bins, one per method.
fn histograms(evaluation: &Evaluation, figure: Figure) -> Option<String> {
    let entry = figure.entry();
    let mut text = String::new();
    for &method in &evaluation.plan.methods {
        let rows = evaluation.rows.iter().filter(|row| row.method == method);
        let scores = rows.filter_map(|row| row.scores.as_ref().ok());
        let values: Vec<f64> = scores.filter_map(|it| it.get(&figure).copied()).collect();
        if values.is_empty() {
            continue;
        }
        let mut counts = [0usize; BINS];
        for value in &values {
            counts[((value * BINS as f64) as usize).min(BINS - 1)] += 1;
        }
        let most = counts.iter().copied().max().unwrap_or(0).max(1);
        let ((width, height), left, top) = (HISTOGRAM, 8.0, 16.0);
        let step = width / BINS as f64;
        let mut marks = format!(r#"<g class="{}">"#, color(evaluation, method.name));
        for (bin, &count) in counts.iter().enumerate() {
            let tall = height * count as f64 / most as f64;
            let (x, y) = (left + step * bin as f64, top + height - tall);
            let _ = write!(
                marks,
                r#"<rect x="{:.1}" y="{y:.1}" width="{:.1}" height="{tall:.1}"><title>{}–{} %: {count} of {}</title></rect>"#,
                x + 1.0,
                step - 2.0,
                10 * bin,
                10 * (bin + 1),
                values.len(),
            );
            if count > 0 {
                let _ = write!(
                    marks,
                    r#"<text x="{:.1}" y="{:.1}" text-anchor="middle">{count}</text>"#,
                    x + step / 2.0,
                    y - 3.0
                );
            }
        }
        marks.push_str("</g>");
        let bottom = top + height;
        let _ = write!(
            marks,
            r#"<line class="axis" x1="{left}" x2="{}" y1="{bottom}" y2="{bottom}"/>"#,
            left + width
        );
        for tick in [0, 50, 100] {
            let x = left + width * f64::from(tick) / 100.0;
            let _ = write!(
                marks,
                r#"<text x="{x:.1}" y="{}" text-anchor="middle">{tick}</text>"#,
                bottom + 15.0
            );
        }
        let about = format!("{}: edits in each tenth", method.title);
        text.push_str(&plot(entry.title, &about, "%", width + 24.0, bottom + 20.0, &marks));
    }
    (!text.is_empty()).then_some(text)
}

/// CSS class of a method's color.
pub(super) fn color(evaluation: &Evaluation, method: &str) -> String {
    let index = evaluation.plan.methods.iter().position(|it| it.name == method).unwrap_or(0);
    format!("m{}", index % 6)
}

fn plot(title: &str, about: &str, unit: &str, width: f64, height: f64, marks: &str) -> String {
    let unit = if unit.is_empty() { String::new() } else { format!(" <span>{unit}</span>") };
    format!(
        r#"<figure class="plot"><figcaption><b>{title}</b>{unit}<br>{}</figcaption><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" aria-label="{title}">{marks}</svg></figure>"#,
        escaped(about)
    )
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

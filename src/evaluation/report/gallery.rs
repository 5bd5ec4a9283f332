//! Gallery of the HTML report: every item with each method's result, worst first.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::evaluation::{
    figure::{Figure, Unit},
    method::Method,
    pictures::Png,
    report::{Report, escape::escaped, plots},
    runner::{Evaluation, Row},
    score::Scores,
    tables,
};

/// Badness added for a failed edit, so that failures come first.
const FAILED: f64 = 10.0;

/// Verdicts shown beside a result, with the names of their parts.
const PARTS: [(Figure, &str); 3] = [
    (Figure::Nearer, "not nearer"),
    (Figure::Right, "not as the target"),
    (Figure::Kept, "rest not kept"),
];

/// The gallery with its filters.
pub(super) fn gallery(report: &Report<'_>) -> String {
    let evaluation = report.evaluation;
    let order = ordering_method(evaluation);
    let mut items: Vec<(f64, usize)> = (0..evaluation.plan.dataset.items.len())
        .map(|item| (badness_of(evaluation, item, order), item))
        .collect();
    items.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut html = filters(evaluation, order);
    for (_, item) in items {
        html.push_str(&card(evaluation, item));
    }
    html + "</div></section>"
}

/// The method whose failures determine the order: the first that localizes.
fn ordering_method(evaluation: &Evaluation) -> Option<&'static Method> {
    let methods = &evaluation.plan.methods;
    methods.iter().find(|it| it.localizes()).or(methods.first()).copied()
}

fn filters(evaluation: &Evaluation, order: Option<&Method>) -> String {
    let mut html = r#"<section id="gallery"><h2>Gallery</h2><form class="filters"><label>Action <select name="action"><option value="">all</option>"#.to_owned();
    for action in tables::actions(evaluation) {
        let _ = write!(html, "<option>{action}</option>");
    }
    html.push_str(r#"</select></label><label>Worst first by <select name="order">"#);
    for method in &evaluation.plan.methods {
        let selected = if Some(*method) == order { " selected" } else { "" };
        let _ =
            write!(html, r#"<option value="{}"{selected}>{}</option>"#, method.name, method.title);
    }
    html.push_str(
        r#"</select></label><label>Outcome <select name="outcome"><option value="">all</option><option value="0">failed</option><option value="1">success</option></select></label><label>Text <input name="text" type="search" placeholder="id or instruction"></label><span class="shown">"#,
    );
    for method in &evaluation.plan.methods {
        let color = plots::color(evaluation, method.name);
        let _ = write!(
            html,
            r#"<label><input type="checkbox" name="method" value="{}" checked><i class="dot {color}"></i>{}</label>"#,
            method.name, method.title
        );
    }
    html + r#"</span><output></output></form><div class="cards">"#
}

fn card(evaluation: &Evaluation, index: usize) -> String {
    let item = &evaluation.plan.dataset.items[index];
    let pictures = &evaluation.pictures[index];
    let action = item.action.map_or("", |it| it.name());
    let strata: Vec<String> =
        item.strata.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    let mut html = format!(
        r#"<article class="card" data-action="{action}" data-text="{id} {instruction}"><header><b title="{}">{id}</b><span class="tag">{action}</span><q>{instruction}</q></header><div class="body"><div class="strip shared">{}{}{}</div><div class="made">"#,
        escaped(&strata.join("\n")),
        picture("source", Some(&pictures.source)),
        picture("true mask", pictures.truth.as_ref()),
        picture("target", pictures.target.as_ref()),
        id = escaped(&item.id),
        instruction = escaped(&item.instruction),
    );
    for row in evaluation.rows.iter().filter(|row| row.item == index) {
        html.push_str(&made(evaluation, row));
    }
    html + "</div></div></article>"
}

/// One method's result.
fn made(evaluation: &Evaluation, row: &Row) -> String {
    let success = match &row.scores {
        Ok(scores) => scores.get(&Figure::Success).map(|it| *it > 0.0),
        Err(_) => Some(false),
    };
    let outcome = success.map_or("", |it| if it { "1" } else { "0" });
    let notes: Vec<String> = row
        .reading
        .iter()
        .map(|it| format!("understood: {it}"))
        .chain(row.warnings.iter().cloned())
        .chain(row.scores.as_ref().err().cloned())
        .collect();
    format!(
        r#"<div class="method" data-method="{}" data-bad="{:.4}" data-success="{outcome}"><p><i class="dot {}"></i><b>{}</b>{}{}</p><div class="strip">{}{}{}{}</div><p class="notes">{}</p></div>"#,
        row.method.name,
        badness(row),
        plots::color(evaluation, row.method.name),
        row.method.title,
        verdict(row, success),
        row.scores.as_ref().map(figures).unwrap_or_default(),
        picture("result", row.pictures.result.as_ref()),
        picture("mask", row.pictures.mask.as_ref()),
        picture("clusters", row.pictures.clusters.as_ref()),
        picture("attention", row.pictures.heat.as_ref()),
        escaped(&notes.join(" · ")),
    )
}

fn verdict(row: &Row, success: Option<bool>) -> String {
    match (success, &row.scores) {
        (_, Err(_)) => r#"<span class="verdict fail">error</span>"#.to_owned(),
        (Some(true), _) => r#"<span class="verdict ok">success</span>"#.to_owned(),
        (Some(false), Ok(scores)) => {
            let lacks = |figure: &Figure| scores.get(figure).is_some_and(|it| *it <= 0.0);
            let parts: Vec<&str> =
                PARTS.iter().filter(|(it, _)| lacks(it)).map(|(_, name)| *name).collect();
            format!(r#"<span class="verdict fail">{}</span>"#, parts.join(", "))
        }
        (None, Ok(_)) => String::new(),
    }
}

/// Short texts of the metrics that explain a result.
fn figures(scores: &Scores) -> String {
    let short = [
        (Figure::ObjectIou, "IoU"),
        (Figure::Residual, "residual"),
        (Figure::OutsideMean, "outside"),
        (Figure::OutsideUncomposited, "uncomposited"),
    ];
    let mut html = r#"<span class="figures">"#.to_owned();
    for (mut figure, name) in short {
        if figure == Figure::ObjectIou && !scores.contains_key(&figure) {
            figure = Figure::MaskIou;
        }
        if let Some(value) = scores.get(&figure) {
            let unit = figure.entry().unit;
            let symbol = if unit == Unit::Share { " %" } else { "" };
            let _ = write!(html, "<span>{name} {}{symbol}</span>", unit.format(*value));
        }
    }
    html + "</span>"
}

fn picture(caption: &str, png: Option<&Png>) -> String {
    let Some(png) = png else { return String::new() };
    format!(
        r#"<figure><img loading="lazy" alt="{caption}" src="data:image/png;base64,{}"><figcaption>{caption}</figcaption></figure>"#,
        STANDARD.encode(png)
    )
}

/// Badness of an item by a method, or the worst of all methods.
fn badness_of(evaluation: &Evaluation, item: usize, method: Option<&Method>) -> f64 {
    let rows = evaluation.rows.iter().filter(|row| row.item == item);
    let rows = rows.filter(|row| method.is_none_or(|it| row.method == it));
    rows.map(badness).fold(-1.0, f64::max)
}

/// Sort key: failures first, then distance from the target; without a target, mask quality.
fn badness(row: &Row) -> f64 {
    let Ok(scores) = &row.scores else { return 2.0 * FAILED };
    let get = |figure| scores.get(&figure).copied();
    match (get(Figure::Success), get(Figure::Residual)) {
        (Some(success), residual) => {
            FAILED * (1.0 - success) + residual.unwrap_or(0.0).min(FAILED - 1.0)
        }
        (None, _) => 1.0 - get(Figure::ObjectIou).or(get(Figure::MaskIou)).unwrap_or(1.0),
    }
}

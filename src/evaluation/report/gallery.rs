//! Gallery of the HTML report: every item with each method's result, worst first.

use base64::{Engine, engine::general_purpose::STANDARD};
use maud::{Markup, html};

use crate::evaluation::{
    figure::{Figure, Unit},
    method::Method,
    pictures::Png,
    report::{Report, plots},
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
pub(super) fn gallery(report: &Report<'_>) -> Markup {
    let evaluation = report.evaluation;
    let order = ordering_method(evaluation);
    let mut items: Vec<(f64, usize)> = (0..evaluation.plan.dataset.items.len())
        .map(|item| (badness_of(evaluation, item, order), item))
        .collect();
    items.sort_by(|a, b| b.0.total_cmp(&a.0));
    html! {
        section #gallery {
            h2 { "Gallery" }
            (filters(evaluation, order))
            div.cards { @for (_, item) in items { (card(evaluation, item)) } }
        }
    }
}

/// The method whose failures determine the order: the first that localizes.
fn ordering_method(evaluation: &Evaluation) -> Option<&'static Method> {
    let methods = &evaluation.plan.methods;
    methods.iter().find(|it| it.localizes()).or(methods.first()).copied()
}

fn filters(evaluation: &Evaluation, order: Option<&Method>) -> Markup {
    let methods = &evaluation.plan.methods;
    html! {
        form.filters {
            label { "Action " select name="action" {
                option value="" { "all" } @for action in tables::actions(evaluation) { option { (action) } }
            } }
            label { "Worst first by " select name="order" { @for method in methods {
                option value=(method.name) selected[Some(*method) == order] { (method.title) }
            } } }
            label { "Outcome " select name="outcome" {
                option value="" { "all" } option value="0" { "failed" } option value="1" { "success" }
            } }
            label { "Text " input name="text" type="search" placeholder="id or instruction"; }
            span.shown { @for method in methods { label {
                input type="checkbox" name="method" value=(method.name) checked;
                (plots::dot(evaluation, method)) (method.title)
            } } }
            output {}
        }
    }
}

fn card(evaluation: &Evaluation, index: usize) -> Markup {
    let item = &evaluation.plan.dataset.items[index];
    let pictures = &evaluation.pictures[index];
    let rows: Vec<&Row> = evaluation.rows.iter().filter(|row| row.item == index).collect();
    let action = item.action.map_or("", |it| it.name());
    let strata: Vec<String> =
        item.strata.iter().map(|(key, value)| format!("{key}: {value}")).collect();
    html! {
        article.card data-action=(action) data-text={ (item.id) " " (item.instruction) } {
            header {
                b title=(strata.join("\n")) { (item.id) } span.tag { (action) } q { (item.instruction) }
            }
            div.columns {
                div.column {
                    p { b { "Source" } }
                    (picture("source", Some(&pictures.source)))
                    (picture("true mask", pictures.truth.as_ref()))
                }
                @if pictures.target.is_some() {
                    div.column { p { b { "Target" } } (picture("target", pictures.target.as_ref())) }
                }
                @for row in rows.iter().filter(|row| row.same_as.is_none()) { (made(evaluation, row, &rows)) }
            }
        }
    }
}

/// One method's result, and that of those methods of the item whose computation is the same.
fn made(evaluation: &Evaluation, row: &Row, rows: &[&Row]) -> Markup {
    let same = rows.iter().filter(|it| it.same_as == Some(row.method));
    let methods: Vec<&Method> =
        std::iter::once(row.method).chain(same.map(|it| it.method)).collect();
    let names: Vec<&str> = methods.iter().map(|it| it.name).collect();
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
    let bad = format!("{:.4}", badness(row));
    html! {
        div.column.method data-methods=(names.join(" ")) data-bad=(bad) data-success=(outcome) {
            p { (plots::dot(evaluation, row.method)) b { (row.method.title) } }
            (picture("result", row.pictures.result.as_ref()))
            p { (verdict(row, success)) }
            @for method in &methods[1..] { p { (plots::dot(evaluation, method)) "the same as " (method.title) } }
            @if let Ok(scores) = &row.scores { (figures(scores)) }
            (picture("mask", row.pictures.mask.as_ref()))
            div.pair {
                (picture("attention", row.pictures.heat.as_ref()))
                (picture("clusters", row.pictures.clusters.as_ref()))
            }
            p.notes { (notes.join(" · ")) }
        }
    }
}

fn verdict(row: &Row, success: Option<bool>) -> Markup {
    match (success, &row.scores) {
        (_, Err(_)) => html! { span.verdict.fail { "error" } },
        (Some(true), _) => html! { span.verdict.ok { "success" } },
        (Some(false), Ok(scores)) => {
            let lacks = |figure: &Figure| scores.get(figure).is_some_and(|it| *it <= 0.0);
            let parts: Vec<&str> =
                PARTS.iter().filter(|(it, _)| lacks(it)).map(|(_, name)| *name).collect();
            html! { span.verdict.fail { (parts.join(", ")) } }
        }
        (None, Ok(_)) => html! {},
    }
}

/// Short texts of the metrics that explain a result.
fn figures(scores: &Scores) -> Markup {
    let object =
        if scores.contains_key(&Figure::ObjectIou) { Figure::ObjectIou } else { Figure::MaskIou };
    let short = [
        (object, "IoU"),
        (Figure::Residual, "residual"),
        (Figure::OutsideMean, "outside"),
        (Figure::OutsideUncomposited, "uncomposited"),
    ];
    html! {
        span.figures {
            @for (figure, name) in short { @if let Some(value) = scores.get(&figure) { span {
                (name) " " (figure.entry().unit.format(*value)) @if figure.entry().unit == Unit::Share { " %" }
            } } }
        }
    }
}

fn picture(caption: &str, png: Option<&Png>) -> Markup {
    let Some(png) = png else { return html! {} };
    let url = format!("data:image/png;base64,{}", STANDARD.encode(png));
    html! { figure { img loading="lazy" alt=(caption) src=(url); figcaption { (caption) } } }
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

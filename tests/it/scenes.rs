//! Scenes and instructions that came out wrong once: each is edited with the demo model, and judged as `retouch eval`
//! judges it. Those that are still wrong are named with their cause, and no others may be: the list can only shrink.

use std::{collections::BTreeMap, fs, ops::ControlFlow, path::Path};

use retouch::{
    edit::settings::EditSettings,
    editing::editor::Editor,
    evaluation::{
        dataset::Dataset,
        figure::Figure,
        method::Method,
        runner::{self, Plan},
    },
};
use tch::Kind;

use crate::support::{fixtures, load_pipeline};

/// The seed of the evaluation.
const SEED: u64 = 0;

/// Least overlap of the mask with the object, where the object is in the picture.
const LEAST_IOU: f64 = 0.5;

/// Scenes that are still wrong, with their cause.
const WRONG: &[(&str, &str)] = &[
    (
        "two-houses-one-cluster",
        "of two white houses the one is edited that attention is drawn to, not the small one",
    ),
    (
        "left-for-right",
        "a black square stands on the right, but the judge finds its outline unlike the target's",
    ),
    ("same-color-as", "the model knows no comparison, and the star's color is nowhere named"),
];

#[test]
fn scenes_that_came_out_wrong_are_right_or_named() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    let recommended = fs::read_to_string(model.join("retouch.json")).unwrap();
    let editor = Editor::new(Box::new(load_pipeline(&model, Kind::Float)), None);
    let plan = Plan {
        dataset: Dataset::open(&fixtures().join("scenes/manifest.jsonl")).unwrap(),
        methods: vec![Method::named("iam-edit").unwrap()],
        settings: EditSettings::recommended(&recommended).unwrap(),
        negative_prompt: String::new(),
        verbatim: false,
        seed: SEED,
    };
    let items = plan.dataset.items.clone();
    assert_eq!(items.len(), 14);
    let evaluation = runner::run(&editor, plan, &mut |_| ControlFlow::Continue(())).unwrap();
    let mut wrong = BTreeMap::new();
    for row in &evaluation.rows {
        let scores = row.scores.as_ref().unwrap();
        let is_found = scores.get(&Figure::ObjectIou).is_none_or(|it| *it >= LEAST_IOU);
        if !is_found || scores[&Figure::Success] < 1.0 {
            wrong.insert(items[row.item].id.as_str(), scores);
        }
    }
    let named: Vec<&str> = WRONG.iter().map(|it| it.0).collect();
    let unnamed: Vec<_> = wrong.iter().filter(|it| !named.contains(it.0)).collect();
    assert!(unnamed.is_empty(), "wrong, and not named: {unnamed:#?}");
    let right: Vec<_> = named.iter().filter(|it| !wrong.contains_key(**it)).collect();
    assert!(right.is_empty(), "right by now, so that their names can go: {right:?}");
}

//! Evaluation: manifests and their errors, metrics against scikit-image, the success criterion's lower bounds, reports.

use std::{collections::BTreeMap, fs, ops::ControlFlow, path::Path};

use image::{Rgb, RgbImage, imageops};
use rand::{Rng, SeedableRng, rngs::StdRng};
use retouch::{
    edit::settings::EditSettings,
    editing::editor::Editor,
    evaluation::{
        dataset::{Dataset, Item, ItemAction, LoadedItem},
        figure::Figure,
        method::{METHODS, Method},
        report::{FILES, Report},
        runner::{self, Evaluation, Plan, Progress},
        score, statistics,
    },
    measures::{
        change::Change,
        region::Region,
        ssim::ssim_within,
        success::{EditKind, JudgedEdit},
    },
    sampling::Interrupted,
};
use tch::Kind;

use crate::support::load_pipeline;

/// Largest share of untouched or blurred pictures that may pass the success criterion, for each action.
const FLOOR: f64 = 0.10;

fn heldout() -> Dataset {
    held_out_set("heldout")
}

fn held_out_set(name: &str) -> Dataset {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
    Dataset::open(&path.join("manifest.jsonl")).unwrap()
}

// --- manifests

/// A folder with `a.png` and `mask.png` of 32x32 pixels, `small.png` of 16x16, an all-black `empty.png`, and a
/// manifest.
fn folder(manifest: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let save = |name: &str, side, level| {
        let image = RgbImage::from_pixel(side, side, Rgb([level; 3]));
        image.save(folder.path().join(name)).unwrap();
    };
    save("a.png", 32, 100);
    save("mask.png", 32, 255);
    save("small.png", 16, 255);
    save("empty.png", 32, 0);
    fs::write(folder.path().join("text.png"), "no picture").unwrap();
    fs::write(folder.path().join("manifest.jsonl"), manifest).unwrap();
    folder
}

#[test]
fn a_fault_of_a_manifest_is_named_with_file_and_line() {
    const GOOD: &str = r#"{"id": "1", "image": "a.png", "instruction": "make it red"}"#;
    let cases = [
        ("{", "not JSON"),
        ("[1]", "not a JSON object"),
        (r#"{"image": "a.png", "instruction": "x"}"#, "`id` is missing"),
        (r#"{"id": "2", "instruction": "x"}"#, "`image` is missing"),
        (r#"{"id": "2", "image": "a.png"}"#, "`instruction` is missing"),
        (r#"{"id": "2", "image": "a.png", "instruction": " "}"#, "`instruction` is empty"),
        (r#"{"id": 2, "image": "a.png", "instruction": "x"}"#, "`id` is not a string"),
        (GOOD, "duplicate id `1`, first used on line 1"),
        (
            r#"{"id": "2", "image": "a.png", "instruction": "x", "action": "paint"}"#,
            "`action` is `paint`, expected change, recolor, add, remove or global",
        ),
        (r#"{"id": "2", "image": "b.png", "instruction": "x"}"#, "`image`:"),
        (r#"{"id": "2", "image": "text.png", "instruction": "x"}"#, "text.png"),
        (
            r#"{"id": "2", "image": "a.png", "instruction": "x", "mask": "small.png"}"#,
            "is 16x16, expected 32x32",
        ),
        (
            r#"{"id": "2", "image": "a.png", "instruction": "x", "object_mask": "empty.png"}"#,
            "`object_mask`:",
        ),
        (r#"{"id": "2", "image": "a.png", "instruction": "x", "target": "none.png"}"#, "`target`:"),
    ];
    for (line, fault) in cases {
        let folder = folder(&format!("{GOOD}\n\n{line}\n"));
        let error = Dataset::open(&folder.path().join("manifest.jsonl")).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("manifest.jsonl:3: "), "{message}");
        assert!(message.contains(fault), "{message} does not say {fault}");
    }
}

#[test]
fn a_manifest_without_items_or_without_a_file_is_refused() {
    let folder = folder("\n");
    let empty = Dataset::open(&folder.path().join("manifest.jsonl")).unwrap_err().to_string();
    assert!(empty.contains("has no items"), "{empty}");
    let absent = Dataset::open(&folder.path().join("other.jsonl")).unwrap_err().to_string();
    assert!(absent.contains("other.jsonl can't be read"), "{absent}");
}

#[test]
fn keys_without_a_meaning_become_strata() {
    let line = r#"{"id": "1", "image": "a.png", "instruction": "x", "mask": "mask.png", "action": "recolor", "things": 3, "kind": "cat", "hard": true, "span": [1, 2], "note": ""}"#;
    let folder = folder(line);
    let dataset = Dataset::open(&folder.path().join("manifest.jsonl")).unwrap();
    let item = &dataset.items[0];
    assert_eq!(item.action, Some(ItemAction::Recolor));
    let strata: Vec<_> = item.strata.iter().map(|(k, v)| format!("{k}={v}")).collect();
    assert_eq!(strata, ["things=3", "kind=cat", "hard=true", "note=none"]);
    assert!(item.load().unwrap().mask.is_some());
}

#[test]
fn a_limit_takes_items_from_all_over_the_manifest() {
    let dataset = heldout().limited(5);
    let actions: Vec<_> = dataset.items.iter().filter_map(|item| item.action).collect();
    for action in [ItemAction::Change, ItemAction::Recolor, ItemAction::Add, ItemAction::Remove] {
        assert!(actions.contains(&action), "{action} is not among {actions:?}");
    }
}

// --- figures

/// The pictures of `tests/record/metrics.py`.
fn recorded_pictures() -> (RgbImage, RgbImage, Region) {
    let value = |x: u32, y: u32, c: u32| (x * 11 + y * 7 + c * 40) % 256;
    let other = |x: u32, y: u32, c: u32| (value(x, y, c) + (x * y + 5 * c) % 29) % 256;
    let draw = |value: &dyn Fn(u32, u32, u32) -> u32| {
        RgbImage::from_fn(23, 17, |x, y| Rgb([0, 1, 2].map(|c| value(x, y, c) as u8)))
    };
    let disk = |x: u32, y: u32| (i64::from(x) - 11).pow(2) + (i64::from(y) - 8).pow(2) <= 49;
    (draw(&value), draw(&other), Region::from_fn(23, 17, disk))
}

#[test]
fn change_and_ssim_match_scikit_image() {
    let (one, other, region) = recorded_pictures();
    // scikit-image 0.26.0: pixels, SSIM, mean, mean square, PSNR.
    let recorded = [
        (Region::all(23, 17), 391, 0.676_021_33, 24.329_070_759, 3_088.312_020_46, 13.233_591_89),
        (region, 149, 0.570_712_77, 29.888_143_177, 4_354.465_324_385, 11.741_455_244),
    ];
    for (region, pixels, ssim, mean, mean_square, psnr) in recorded {
        let change = Change::within(&region, &one, &other).unwrap();
        assert_eq!(region.count(), pixels);
        let found = [ssim_within(&region, &one, &other).unwrap(), change.mean, change.psnr()];
        for (found, expected) in found.into_iter().zip([ssim, mean, psnr]) {
            assert!((found - expected).abs() < 1e-7, "{found} is not {expected}");
        }
        assert!((change.mean_square - mean_square).abs() < 1e-6);
    }
}

#[test]
fn an_interval_holds_the_true_mean_about_as_often_as_it_says() {
    let mut rng = StdRng::seed_from_u64(7);
    let trials = 200;
    let hits = (0..trials).filter(|_| {
        let values: Vec<f64> = (0..50).map(|_| rng.random_range(0.0..1.0)).collect();
        let it = statistics::mean(&values).unwrap();
        it.low <= 0.5 && 0.5 <= it.high
    });
    let share = hits.count() as f64 / f64::from(trials);
    // Of 200 trials at 95 % all but one in a thousand runs give 0.90 to 0.99.
    assert!((0.90..=0.995).contains(&share), "{share}");
}

#[test]
fn a_paired_difference_is_tighter_than_two_means() {
    let pairs: Vec<(f64, f64)> = (0..40).map(|i| (f64::from(i) + 1.0, f64::from(i))).collect();
    let difference = statistics::mean_difference(&pairs).unwrap();
    assert!((difference.low - 1.0).abs() < 1e-9 && (difference.high - 1.0).abs() < 1e-9);
    let ratio = statistics::ratio_of_means(&pairs).unwrap();
    assert!((ratio.value - 20.5 / 19.5).abs() < 1e-12, "{ratio:?}");
}

// --- success

/// Share of the held-out scenes of each action for which a made-up result passes.
fn passes(
    scenes: &[(Item, LoadedItem)],
    make: impl Fn(&LoadedItem) -> RgbImage,
) -> BTreeMap<ItemAction, f64> {
    let mut counts: BTreeMap<ItemAction, (usize, usize)> = BTreeMap::new();
    for (item, pictures) in scenes {
        let action = item.action.unwrap();
        let kind = match action {
            ItemAction::Add => EditKind::Add,
            ItemAction::Remove => EditKind::Remove,
            _ => EditKind::Change,
        };
        let evidence = JudgedEdit {
            kind,
            source: &pictures.image,
            target: pictures.target.as_ref().unwrap(),
            mask: &score::region(pictures.mask.as_ref().unwrap()),
            reconstruction: None,
        };
        let verdict = evidence.judge(&make(pictures)).unwrap();
        let (passed, all) = counts.entry(action).or_default();
        *passed += usize::from(verdict.is_success());
        *all += 1;
    }
    counts.into_iter().map(|(it, (passed, all))| (it, passed as f64 / all as f64)).collect()
}

/// The scenes of both held-out sets, which no method is run on here.
fn scenes() -> [(&'static str, Vec<(Item, LoadedItem)>); 2] {
    ["heldout", "heldout-hard"].map(|set| {
        let items = held_out_set(set).items.into_iter();
        (set, items.map(|item| (item.clone(), item.load().unwrap())).collect())
    })
}

#[test]
fn untouched_and_blurred_pictures_do_not_pass_for_edits() {
    for (set, scenes) in scenes() {
        let blurred = |radius| passes(&scenes, |it| imageops::blur(it.image.as_ref(), radius));
        let untouched = passes(&scenes, |it| it.image.as_ref().clone());
        let floors = [("untouched", untouched), ("blurred by 1", blurred(1.0))];
        let more = [("blurred by 2", blurred(2.0)), ("blurred by 4", blurred(4.0))];
        for (name, shares) in floors.into_iter().chain(more) {
            println!("{set}, {name}: {}", in_percent(&shares));
            assert!(shares.values().all(|it| *it <= FLOOR), "{set}, {name}: {shares:?} pass");
        }
    }
}

#[test]
fn the_target_passes_and_still_does_a_little_soft() {
    for (set, scenes) in scenes() {
        let exact = passes(&scenes, |it| it.target.clone().unwrap());
        let soft = passes(&scenes, |it| imageops::blur(it.target.as_ref().unwrap(), 0.7));
        println!("{set}, target: {}", in_percent(&exact));
        println!("{set}, soft target: {}", in_percent(&soft));
        assert!(exact.values().all(|share| *share >= 1.0), "{set}: {exact:?}");
        assert!(soft.values().all(|share| *share >= 0.95), "{set}: {soft:?}");
    }
}

#[test]
fn a_wrong_edit_passes_seldom() {
    let [(_, scenes), _] = scenes();
    // What is not red, green or blue alike changes its hue.
    let turned =
        passes(&scenes, |it| edited(it, |_, target| Rgb([target[1], target[2], target[0]])));
    // Half done: a ghost of the object stays.
    let half = passes(&scenes, |it| {
        edited(it, |source, target| Rgb([0, 1, 2].map(|c| u8::midpoint(source[c], target[c]))))
    });
    // The right color without the right shape.
    let blob = passes(&scenes, |it| {
        let color = mean_of_new_pixels(it);
        edited(it, |_, _| color)
    });
    println!("wrong hue: {}\nhalf way: {}", in_percent(&turned), in_percent(&half));
    println!("blob: {}", in_percent(&blob));
    assert!(blob[&ItemAction::Change] <= 0.35, "{blob:?}"); // some masks have the new outline
    for action in [ItemAction::Change, ItemAction::Recolor, ItemAction::Add] {
        assert!(turned[&action] <= 0.3, "{turned:?}"); // white, grey and black have no hue to turn
    }
    assert!(half.values().all(|share| *share <= FLOOR), "{half:?}");
}

/// The target's mean color where it differs from the source.
fn mean_of_new_pixels(pictures: &LoadedItem) -> Rgb<u8> {
    let target = pictures.target.as_ref().unwrap();
    let pairs = pictures.image.pixels().zip(target.pixels());
    let new: Vec<_> = pairs.filter(|(a, b)| a != b).map(|(_, new)| new).collect();
    Rgb([0, 1, 2].map(|c| {
        (new.iter().map(|pixel| u32::from(pixel[c])).sum::<u32>() / new.len() as u32) as u8
    }))
}

/// The source with other pixels in the mask, made of source and target.
fn edited(pictures: &LoadedItem, make: impl Fn(Rgb<u8>, Rgb<u8>) -> Rgb<u8>) -> RgbImage {
    let (source, target) = (pictures.image.as_ref(), pictures.target.as_ref().unwrap());
    let mask = pictures.mask.as_ref().unwrap().as_image();
    RgbImage::from_fn(source.width(), source.height(), |x, y| {
        let (before, after) = (*source.get_pixel(x, y), *target.get_pixel(x, y));
        if mask.get_pixel(x, y)[0] > 0 { make(before, after) } else { before }
    })
}

fn in_percent(shares: &BTreeMap<ItemAction, f64>) -> String {
    let shares = shares.iter().map(|(action, share)| format!("{action} {:.1} %", 100.0 * share));
    shares.collect::<Vec<_>>().join(", ")
}

// --- the whole of it

fn planned(count: usize, methods: &[&'static str]) -> (Editor, Plan) {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/demo-model");
    let recommended = fs::read_to_string(model.join("retouch.json")).unwrap();
    let mut settings = EditSettings::recommended(&recommended).unwrap();
    settings.steps = 2.try_into().unwrap();
    settings.localize_steps = settings.steps;
    let editor = Editor::new(Box::new(load_pipeline(&model, Kind::Float)), None);
    let plan = Plan {
        dataset: heldout().limited(count),
        methods: methods.iter().map(|name| Method::named(name).unwrap()).collect(),
        settings,
        negative_prompt: String::new(),
        verbatim: false,
        seed: 5,
    };
    (editor, plan)
}

fn evaluated(count: usize, methods: &[&'static str]) -> Evaluation {
    let (editor, plan) = planned(count, methods);
    let mut told = 0;
    let evaluation = runner::run(&editor, plan, &mut |progress| {
        told += usize::from(matches!(progress, Progress::Edited { .. }));
        ControlFlow::Continue(())
    });
    let evaluation = evaluation.unwrap();
    assert_eq!(told, evaluation.rows.len());
    evaluation
}

#[test]
fn methods_are_run_scored_and_reported() {
    // A U-Net does not attend to the picture, so that nothing is copied.
    let names: Vec<_> =
        METHODS.iter().map(|it| it.name).filter(|it| *it != "iam-edit:copy").collect();
    let evaluation = evaluated(2, &names);
    assert_eq!(evaluation.rows.len(), 2 * names.len());
    for row in &evaluation.rows {
        let scores = row.scores.as_ref().unwrap();
        for figure in [Figure::Success, Figure::OutsideMean, Figure::OutsideUncomposited] {
            assert!(scores.contains_key(&figure), "{}: no {figure:?}", row.method.name);
        }
        if row.method.name != "instruct-pix2pix" {
            // Pixels outside the used mask are the input's own.
            assert!(scores[&Figure::OutsideUsed] <= 0.0, "{}", row.method.name);
        }
        assert_eq!(row.method.localizes(), scores.contains_key(&Figure::MaskIou));
    }
    let folder = tempfile::tempdir().unwrap();
    let facts = vec![("Model".to_owned(), "a <model> & \"more\"".to_owned())];
    let paths = Report::new(&evaluation, facts).write(folder.path()).unwrap();
    assert_eq!(paths.len(), FILES.len());
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let json: serde_json::Value = serde_json::from_str(&read("report.json")).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().len(), evaluation.rows.len());
    assert_eq!(json["by_action"]["lines"][0]["group"], "all");
    assert_eq!(read("scores.csv").lines().count(), 1 + evaluation.rows.len());
    assert!(read("tables.csv").contains("by action,all,iam-edit,mask_iou,"));
    assert!(read("report.md").contains("| all | iam-edit | 2 |"));

    let html = read("report.html");
    assert!(html.contains("a &lt;model&gt; &amp; &quot;more&quot;"));
    for outside in ["http:", "https:", "src=\"/", "@import", "url("] {
        assert!(!html.contains(outside), "the page loads from elsewhere: {outside}");
    }
    for tag in ["table", "tr", "td", "section", "article", "figure", "svg", "div", "details", "p"] {
        let opened =
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "<{tag}>");
    }
    assert_eq!(html.matches("<article ").count(), 2);
    // What was computed once is shown once, under the names of all its methods.
    let computed = evaluation.rows.iter().filter(|row| row.same_as.is_none()).count();
    assert_eq!(html.matches("class=\"column method\"").count(), computed);
    assert!(html.contains("data-methods=\"iam-edit iam-edit:true-object\""));
}

#[test]
fn a_stopped_run_keeps_what_it_made() {
    let (editor, plan) = planned(3, &["instruct-pix2pix"]);
    let mut edits = 0;
    let evaluation = runner::run(&editor, plan, &mut |progress| {
        edits += usize::from(matches!(progress, Progress::Edited { .. }));
        if edits == 2 { ControlFlow::Break(Interrupted) } else { ControlFlow::Continue(()) }
    });
    let evaluation = evaluation.unwrap();
    assert!(evaluation.is_interrupted);
    assert_eq!((evaluation.rows.len(), evaluation.plan.dataset.items.len()), (2, 2));
    let folder = tempfile::tempdir().unwrap();
    Report::new(&evaluation, vec![]).write(folder.path()).unwrap();
}

#[test]
fn an_edit_is_the_same_whatever_else_is_evaluated() {
    let figures = |evaluation: &Evaluation| {
        let row = evaluation.rows.iter().find(|row| row.method.name == "iam-edit").unwrap();
        let scores = row.scores.as_ref().unwrap();
        (row.seed, scores[&Figure::MaskIou], scores[&Figure::OutsideUncomposited])
    };
    let alone = evaluated(1, &["iam-edit"]);
    let beside = evaluated(2, &["instruct-pix2pix", "iam-edit"]);
    assert_eq!(figures(&alone), figures(&beside));
}

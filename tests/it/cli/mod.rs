//! The command line, run on the demo model with a drawn scene and few steps.

// What bad input is told.
mod bad_input;
// How many steps a localization needs.
mod bench;
// How sure a localization is.
mod confidence;
// Texts that are longer than the model reads.
mod cut_texts;
// Models of another family.
mod families;
// The data folder of a server.
mod journal;
// LoRAs.
mod loras;
// Masks, boxes, clusters and what they leave untouched.
mod masks;
// What is said, and where.
mod messages;
// Several edits in one instruction.
mod parts;
// Where results go.
mod outputs;
// What of a picture comes back.
mod pictures;
// Pictures that are made again from their own files.
mod records;
// Localizations that were saved, and edits they are not about.
mod saved;
// Ctrl-C and its like.
mod signals;
mod told;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command as Process, Stdio},
};

use assert_cmd::Command;
use image::RgbImage;
use predicates::str::contains;
use retouch::picture::settings::read_settings;
use serde_json::Value;
use tempfile::TempDir;

use crate::support;

/// A scene with three things, one of them a red star.
const SCENE: &str = "assets/heldout/image/recolor-064.png";

/// What is asked of it.
pub(crate) const INSTRUCTION: &str = "make the red star blue";

/// A folder of one's own, and the command in it.
pub(crate) struct Desk(TempDir);

impl Desk {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `retouch`, without the settings and the cache of whoever runs the tests.
    pub(crate) fn retouch<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_retouch"));
        command.args(args).current_dir(self.0.path()).env_remove("RETOUCH_MODEL");
        command.env_remove("RETOUCH_SERVER").env_remove("RETOUCH_API_KEY");
        command.env("XDG_CACHE_HOME", self.path("cache")).env("OMP_NUM_THREADS", "1");
        command
    }

    /// `retouch edit` of the scene in two steps a pass.
    pub(crate) fn edit<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = self.retouch(["edit"]);
        command.arg(scene()).arg(INSTRUCTION).args(["--steps", "2"]).args(args);
        command
    }

    pub(crate) fn picture(&self, name: &str) -> RgbImage {
        image::open(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}")).to_rgb8()
    }

    /// Names of the files in the folder, sorted.
    pub(crate) fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.0.path()).unwrap();
        let names = entries.map(|it| it.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|it| it != "cache").collect();
        names.sort();
        names
    }
}

pub(crate) fn scene() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(SCENE)
}

fn source() -> RgbImage {
    image::open(scene()).unwrap().to_rgb8()
}

/// Standard error of a run that went well.
fn said(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stderr.clone()).unwrap()
}

#[test]
fn an_edit_changes_the_picture_and_says_how() {
    let desk = Desk::new();
    let run = desk.edit(["-o", "out.png", "--seed", "7"]).assert().success();
    run.stdout(contains("edited: out.png"))
        .stderr(contains("understood: recolor the red star to blue"));
    let edited = desk.picture("out.png");
    assert_eq!(edited.dimensions(), (64, 64));
    assert_ne!(edited, source());
}

#[test]
fn one_seed_gives_one_file_and_another_seed_another_picture() {
    let desk = Desk::new();
    for (name, seed) in [("a.png", "7"), ("b.png", "7"), ("c.png", "8")] {
        desk.edit(["-o", name, "--seed", seed]).assert().success();
    }
    assert_eq!(fs::read(desk.path("a.png")).unwrap(), fs::read(desk.path("b.png")).unwrap());
    assert_ne!(desk.picture("a.png"), desk.picture("c.png"));
}

#[test]
fn a_random_seed_is_printed_and_makes_the_picture_again() {
    let desk = Desk::new();
    let said = said(&mut desk.edit(["-o", "a.png"]));
    let seed = said.lines().find_map(|line| line.strip_prefix("seed: ")).unwrap();
    desk.edit(["-o", "b.png", "--seed", seed]).assert().success();
    assert_eq!(desk.picture("a.png"), desk.picture("b.png"));
}

#[test]
fn the_file_holds_every_setting_that_made_it() {
    let desk = Desk::new();
    for name in ["out.png", "out.jpg", "out.webp"] {
        let args =
            ["-o", name, "--seed", "7", "--tau", "0.25", "--negative-prompt", "a <tree> & more"];
        desk.edit(args).assert().success();
        let bytes = fs::read(desk.path(name)).unwrap();
        let settings: Value =
            serde_json::from_str(&read_settings(name, &bytes).unwrap().unwrap()).unwrap();
        assert_eq!(settings["instruction"], INSTRUCTION);
        assert_eq!(settings["seed"], 7);
        assert_eq!(settings["steps"], 2);
        assert_eq!(settings["tau"], 0.25);
        assert_eq!(settings["negative_prompt"], "a <tree> & more");
        assert_eq!(settings["model"], "demo-model");
    }
}

#[test]
fn pictures_go_through_pipes_and_events_to_standard_error() {
    let desk = Desk::new();
    let input = fs::read(scene()).unwrap();
    let args = ["edit", "-", INSTRUCTION, "-o", "-", "--format", "webp", "--steps", "2", "--json"];
    let run = desk.retouch(args).write_stdin(input).assert().success();
    let output = run.get_output();
    assert_eq!(&output.stdout[8..12], b"WEBP");
    let events: Vec<Value> = String::from_utf8(output.stderr.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect();
    for key in ["seed", "instruction", "step", "localized", "mask_settled", "written"] {
        assert!(events.iter().any(|event| event.get(key).is_some()), "no event has {key}");
    }
    assert!(desk.files().is_empty());
}

#[test]
fn json_events_come_on_standard_output_beside_a_file() {
    let desk = Desk::new();
    let run = desk.edit(["-o", "out.png", "--json"]).assert().success().stderr("");
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let steps = text.lines().filter(|line| line.contains("\"step\":{")).count();
    assert_eq!(steps, 8, "the six steps that the model's localization takes, and two");
}

#[test]
fn maps_are_written_beside_a_contact_sheet() {
    let desk = Desk::new();
    let args = ["-o", "out.png", "--maps", "maps", "--compare", "instruct-pix2pix"];
    desk.edit(args).assert().success().stdout(contains("contact sheet: maps/contact-sheet.png"));
    for name in [
        "clusters",
        "mask",
        "overlay",
        "contact-sheet",
        "preview-localize-0001",
        "preview-edit-0002",
    ] {
        let picture = desk.picture(&format!("maps/{name}.png"));
        assert!(picture.width() >= 32, "{name}");
    }
    for word in ["red", "star"] {
        let names = fs::read_dir(desk.path("maps")).unwrap();
        let mut names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
        assert!(names.any(|it| it.starts_with("attention-") && it.contains(word)), "{word}");
    }
    // A second call would overwrite the sheet.
    desk.edit(["-o", "other.png", "--maps", "maps"]).assert().code(7).stderr(contains("--force"));
    assert!(!desk.path("other.png").exists());
}

#[test]
fn a_saved_localization_saves_the_pass_and_gives_the_same_edit() {
    let desk = Desk::new();
    let mut localize = desk.retouch(["localize"]);
    localize.arg(scene()).arg(INSTRUCTION);
    localize.args([
        "--localize-steps",
        "2",
        "--seed",
        "7",
        "-o",
        "mask.png",
        "--save",
        "found.json",
    ]);
    localize.assert().success().stdout(contains("localization: found.json"));
    desk.edit(["-o", "once.png", "--seed", "7"]).assert().success();
    let said =
        said(&mut desk.edit(["-o", "twice.png", "--seed", "7", "--localization", "found.json"]));
    assert!(!said.contains("localize: step"), "{said}");
    assert_eq!(desk.picture("once.png"), desk.picture("twice.png"));

    // Of another picture it is refused.
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/heldout/image/recolor-065.png");
    let mut edit = desk.retouch(["edit"]);
    edit.arg(other).args([INSTRUCTION, "-o", "no.png", "--localization", "found.json"]);
    edit.assert().code(3).stderr(contains("another picture"));
}

#[test]
fn what_means_nothing_to_a_model_is_left_out_and_told() {
    let desk = Desk::new();
    let pixels = |name: &str, args: &[&str]| {
        let mut edit = desk.retouch(["edit"]);
        edit.arg(scene()).args(args).args(["--steps", "2", "--seed", "7", "-o", name]);
        let said = said(&mut edit);
        (desk.picture(name), said)
    };
    let (clean, silent) = pixels("clean.png", &[INSTRUCTION]);
    assert!(!silent.contains("left out"), "{silent}");
    let junk = "\u{feff}make “the (red star:1.3)” blue, masterpiece, 8k <lora:x:1>";
    let (cleaned, told) = pixels("junk.png", &[junk]);
    assert_eq!(cleaned, clean);
    for word in ["left out of the instruction", "invisible", "quotation", "`8k`", INSTRUCTION] {
        assert!(told.contains(word), "{word}: {told}");
    }
    // The same for what is named and what is to be avoided.
    let (named, told) = pixels("named.png", &[INSTRUCTION, "--object", "«the red star»"]);
    assert!(named == clean && told.contains("left out of the object"), "{told}");
    let avoid = ["--negative-prompt", "(tree:1.2)"];
    let (weighted, told) = pixels("weighted.png", &[&[INSTRUCTION], &avoid[..]].concat());
    let (plain, _) = pixels("plain.png", &[INSTRUCTION, "--negative-prompt", "tree"]);
    assert!(weighted == plain && told.contains("left out of the negative prompt"), "{told}");
}

#[test]
fn variants_are_numbered_and_their_seeds_count_up() {
    let desk = Desk::new();
    desk.edit(["-o", "out.png", "--seed", "7", "-n", "2"]).assert().success();
    assert_eq!(desk.files(), ["out-1.png", "out-2.png"]);
    assert_ne!(desk.picture("out-1.png"), desk.picture("out-2.png"));
    for (name, seed) in [("out-1.png", 7), ("out-2.png", 8)] {
        let settings = read_settings(name, &fs::read(desk.path(name)).unwrap()).unwrap().unwrap();
        let settings: Value = serde_json::from_str(&settings).unwrap();
        assert_eq!(settings["seed"], seed, "{name}");
    }
    // The second is what its seed gives in the mask that the first one's found.
    let mut localize = desk.retouch(["localize"]);
    localize.arg(scene()).args([INSTRUCTION, "--seed", "7", "-o", "mask.png"]);
    localize.args(["--save", "found.json"]).assert().success();
    let given = ["-o", "eight.png", "--seed", "8", "--localization", "found.json"];
    desk.edit(given).assert().success();
    assert_eq!(desk.picture("out-2.png"), desk.picture("eight.png"));
}

#[test]
fn a_picture_of_any_size_comes_back_at_its_own() {
    let desk = Desk::new();
    image::imageops::resize(&source(), 151, 90, image::imageops::FilterType::Triangle)
        .save(desk.path("wide.png"))
        .unwrap();
    let args = ["edit", "wide.png", INSTRUCTION, "--steps", "2", "-o"];
    desk.retouch(args).arg("fit.png").assert().success();
    assert_eq!(desk.picture("fit.png").dimensions(), (151, 90));
    desk.retouch(args).args(["native.png", "--size", "native"]).assert().success();
    assert_eq!(desk.picture("native.png").dimensions(), (151, 90));
    desk.retouch(args).args(["large.png", "--size", "fit:96"]).assert().success();
    assert_eq!(desk.picture("large.png").dimensions(), (151, 90));
}

#[test]
fn a_lossy_file_is_warned_of_and_refused_where_pixels_must_be_kept() {
    let desk = Desk::new();
    let said = said(&mut desk.edit(["-o", "out.jpg"]));
    assert!(said.contains("warning: a JPEG changes every pixel"), "{said}");
    let run = desk.edit(["-o", "no.jpg", "--preserve", "pixel"]).assert().code(2);
    run.stderr(contains("write a PNG or WebP"));
    assert_eq!(desk.files(), ["out.jpg"]);
}

#[test]
fn an_instruction_that_cannot_be_read_edits_the_whole_picture_unless_strict() {
    let desk = Desk::new();
    let args = ["edit", "scene.png", "colorless green ideas", "--steps", "2", "-o", "out.png"];
    fs::copy(scene(), desk.path("scene.png")).unwrap();
    desk.retouch(args).assert().success().stderr(contains("the whole picture is edited"));
    let strict = desk.retouch(args).args(["--strict", "--force"]).assert().code(4);
    strict.stderr(contains("name the object"));
}

#[test]
fn the_papers_settings_are_a_preset() {
    let desk = Desk::new();
    desk.edit(["-o", "out.png", "--preset", "paper", "--localize-steps", "1"]).assert().success();
    let bytes = fs::read(desk.path("out.png")).unwrap();
    let settings: Value =
        serde_json::from_str(&read_settings("out.png", &bytes).unwrap().unwrap()).unwrap();
    assert_eq!(settings["text_guidance"], 7.5);
    assert_eq!(settings["image_guidance"], 1.5);
    assert_eq!(settings["tau"], 0.3);
    assert_eq!(settings["modulation"], "gate");
}

#[test]
fn inspect_says_what_a_model_is() {
    let desk = Desk::new();
    let run = desk.retouch(["inspect"]).assert().success();
    run.stdout(contains("64x64 pixels")).stdout(contains("usable       yes"));
    let run = desk.retouch(["inspect", "--json"]).assert().success();
    let found: Value = serde_json::from_slice(&run.get_output().stdout).unwrap();
    assert_eq!(found["sample_size"], 64);
    assert_eq!(found["parts"].as_array().unwrap().len(), 3);
    assert_eq!(found["usable"], true);
}

#[test]
fn completions_are_printed_for_every_shell() {
    let desk = Desk::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        desk.retouch(["completions", shell]).assert().success().stdout(contains("--localization"));
    }
}

#[test]
fn a_reader_that_has_seen_enough_is_no_fault() {
    let mut command = Process::new(env!("CARGO_BIN_EXE_retouch"));
    let mut child = command.args(["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
}

#[test]
fn help_lists_the_exit_codes() {
    let run = Desk::new().retouch(["--help"]).assert().success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    // Wherever its lines break.
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.join(" ").contains("130 Ctrl-C"), "{text}");
}

#[test]
fn ctrl_c_stops_within_a_step_and_leaves_no_file() {
    use std::io::{BufRead, BufReader};

    // Steps so long that one more is told from many, however late the signal comes.
    let large = ["--steps", "1000", "--size", "fit:96", "-o", "out.png", "--json"];

    let desk = Desk::new();
    let mut command = support::listening_retouch();
    command.arg("edit").arg(scene()).arg(INSTRUCTION).args(large);
    command.current_dir(desk.0.path()).env_remove("RETOUCH_MODEL").env("OMP_NUM_THREADS", "1");
    command.env("XDG_CACHE_HOME", desk.path("cache")).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let step = |line: &str| line.contains("\"step\":{");
    assert!(lines.by_ref().any(|line| step(&line.unwrap())), "it never began");
    let sent = Process::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let later = lines.map_while(Result::ok).filter(|line| step(line)).count();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(desk.files().is_empty(), "{:?}", desk.files());
    // The one that was under way, and one that ended while the signal was on its way.
    assert!(later <= 2, "{later} steps were made after Ctrl-C");
}

//! Which module may import which, checked on every `cargo test`.
//!
//! One package has no crate boundaries that would enforce its layers, so this table does.

#[path = "architecture/families.rs"]
mod families;
#[path = "architecture/file_rules.rs"]
mod file_rules;
#[path = "architecture/imports.rs"]
mod imports;
#[path = "architecture/sources.rs"]
mod sources;

use std::{collections::BTreeMap, fs, path::Path};

use sources::{code_of, files, flags_in, lies_in, names_crate, room_of, rooms_named};

/// For each top-level module of `src`, the modules that it may import, lowest layer first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("address", &[]),
    ("config_json", &[]),
    ("panics", &[]),
    ("kernels", &[]),
    ("attention", &["kernels"]),
    ("choice", &[]),
    ("sampling", &["choice"]),
    ("cluster", &[]),
    ("picture", &["choice"]),
    ("drawing", &[]),
    ("measures", &[]),
    ("instruction", &["choice"]),
    ("edit", &["choice", "sampling", "picture", "instruction"]),
    ("models", &["config_json", "attention", "kernels"]),
    ("schedulers", &["config_json", "sampling"]),
    (
        "pipelines",
        &["config_json", "attention", "sampling", "picture", "kernels", "models", "schedulers"],
    ),
    ("executor", &["attention", "kernels", "sampling", "schedulers", "pipelines"]),
    (
        "editing",
        &[
            "attention",
            "sampling",
            "cluster",
            "picture",
            "instruction",
            "edit",
            "schedulers",
            "pipelines",
        ],
    ),
    (
        "evaluation",
        &[
            "sampling",
            "picture",
            "drawing",
            "measures",
            "instruction",
            "edit",
            "pipelines",
            "editing",
        ],
    ),
    ("wire", &["choice", "sampling", "picture", "drawing", "instruction", "edit"]),
    ("client", &["address", "instruction", "wire"]),
    ("journal", &["wire"]),
    ("nats", &["address", "wire", "journal"]),
    ("jobs", &["panics", "sampling", "picture", "instruction", "edit", "wire", "journal"]),
    ("server", &["address", "panics", "sampling", "jobs", "wire"]),
    ("studio", &[]),
    ("http_api", &["picture", "edit", "wire", "jobs", "server"]),
    (
        "serving",
        &[
            "sampling",
            "picture",
            "kernels",
            "models",
            "schedulers",
            "pipelines",
            "executor",
            "instruction",
            "edit",
            "editing",
            "wire",
            "journal",
            "nats",
            "jobs",
            "server",
            "studio",
            "http_api",
        ],
    ),
    (
        "cli",
        &[
            "address",
            "panics",
            "choice",
            "sampling",
            "picture",
            "drawing",
            "kernels",
            "schedulers",
            "pipelines",
            "instruction",
            "edit",
            "editing",
            "evaluation",
            "wire",
            "client",
            "journal",
            "nats",
            "jobs",
            "server",
            "serving",
        ],
    ),
];

/// Restricted paths, with the modules, or parts of modules, that may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("models", &["models", "pipelines", "serving/load"]),
    ("server::edit_service", &["server"]),
    ("pipelines::instruct_pix2pix", &["pipelines"]),
];

/// External crates, with the modules, or parts of modules, that may use them. A crate that is not listed may be used
/// anywhere.
const CRATES: &[(&str, &[&str])] = &[
    ("async_nats", &["nats"]),
    ("axum", &["server", "http_api"]),
    ("clap", &["cli"]),
    ("clap_complete", &["cli"]),
    ("dashmap", &["jobs"]),
    ("exif", &["picture/metadata"]),
    ("figment", &["cli/serve_config"]),
    ("governor", &["server/gate"]),
    (
        "image",
        &[
            "picture",
            "drawing",
            "pipelines",
            "executor",
            "measures",
            "edit",
            "editing",
            "serving",
            "evaluation",
            "wire",
            "jobs",
            "cli",
        ],
    ),
    ("include_dir", &["studio"]),
    ("indicatif", &["cli"]),
    ("libloading", &["kernels"]),
    ("multer", &["http_api"]),
    ("metrics_exporter_prometheus", &["server/telemetry"]),
    ("metrics_opentelemetry", &["server/telemetry"]),
    ("metrics_util", &["server/telemetry"]),
    ("open", &["cli/studio"]),
    ("opentelemetry", &["server/telemetry", "jobs/trace"]),
    ("opentelemetry_otlp", &["server/telemetry"]),
    ("opentelemetry_sdk", &["server/telemetry", "jobs/trace"]),
    ("prost", &["wire", "journal", "nats", "jobs"]),
    ("puruspe", &["schedulers"]),
    ("quick_cache", &["editing", "pipelines", "executor"]),
    ("redb", &["journal"]),
    ("roxmltree", &["picture/metadata"]),
    ("rustls", &["server", "cli"]),
    ("safetensors", &["models"]),
    ("subtle", &["server/keys"]),
    (
        "tch",
        &[
            "attention",
            "cluster",
            "kernels",
            "models",
            "schedulers",
            "pipelines",
            "executor",
            "editing",
            // Names the device and the dtype that a model is loaded for.
            "serving/load",
        ],
    ),
    ("tokenizers", &["models"]),
    ("tokio", &["nats", "jobs", "client", "server", "serving", "cli"]),
    ("tokio_rustls", &["server", "cli"]),
    ("toml", &["server/keys", "cli"]),
    ("tonic", &["wire", "client", "server", "studio", "http_api", "cli"]),
    ("tonic_health", &["server", "cli"]),
    ("tower_http", &["server"]),
    ("tracing_opentelemetry", &["server/telemetry", "jobs/trace"]),
];

/// Restricted words, with the modules that may use them, and the reason.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("unsafe_code", &["kernels"], "`unsafe` lives there alone, so that it is read together"),
    ("env::var", &["cli"], "settings travel as values, so that a run depends on what it was given"),
];

/// Where a word that looks like a flag is none of ours, below the command line.
const FOREIGN_FLAGS: &[(&str, &str)] = &[("kernels/gpu/cuda", "--no-as-needed")];

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    for (path, text) in files(&["src"]) {
        let Some(room) = room_of(&path) else { continue };
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{}: room `{room}` is not in the table", path.display()));
            continue;
        };
        for used in imports::paths(&text) {
            for (door, keepers) in DOORS {
                let is_passed =
                    used.strip_prefix(door).is_some_and(|it| it.is_empty() || it.starts_with("::"));
                if is_passed && !lies_in(&path, keepers) {
                    let file = path.display();
                    faults.push(format!("{file}: `{room}` must not pass the door `{door}`"));
                }
            }
        }
        for (number, line) in text.lines().enumerate() {
            let at = format!("{}:{}", path.display(), number + 1);
            let code = code_of(line);
            if code.trim_start().starts_with("pub use ") {
                faults.push(format!("{at}: a name has one path, so no `pub use`"));
            }
            if code.contains("crate::{") || code.contains("super::super") {
                faults.push(format!("{at}: write one `use crate::room::…` a room"));
            }
            for used in rooms_named(code) {
                if used != room && !used.is_empty() && !allowed.contains(&used) {
                    faults.push(format!("{at}: `{room}` must not import `{used}`"));
                }
            }
            for (name, homes) in CRATES {
                if names_crate(code, name) && !lies_in(&path, homes) {
                    faults.push(format!("{at}: `{room}` must not name the crate `{name}`"));
                }
            }
            for (word, homes, reason) in WORDS {
                if code.contains(word) && !homes.contains(&room.as_str()) {
                    faults.push(format!("{at}: `{room}` must not say `{word}`: {reason}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

/// Files that import one another in a circle can't be read one after the other.
#[test]
fn no_files_of_a_room_import_one_another() {
    let modules = files(&["src"]).into_iter().filter_map(|(path, text)| {
        let place = path.strip_prefix("src").ok()?.with_extension("");
        let names: Vec<&str> = place.iter().filter_map(|it| it.to_str()).collect();
        let names = names.strip_suffix(&["mod"]).unwrap_or(&names);
        (!matches!(names, ["lib" | "main"])).then(|| (names.join("::"), text))
    });
    let circles = imports::circles(&modules.collect());
    assert!(circles.is_empty(), "circles: {circles:#?}");
}

#[test]
fn circles_are_found() {
    let modules = |texts: &[(&str, &str)]| -> BTreeMap<String, String> {
        texts.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
    };
    let straight = modules(&[
        ("a", "use crate::a::{b::{self, B}, c as d};"),
        ("a::b", "fn f() -> crate::a::c::C {} // use crate::a;"),
        ("a::c", "use crate::z::Y;"),
        ("z", "use crate::a::b;"),
    ]);
    assert!(imports::circles(&straight).is_empty());
    let round = modules(&[
        ("a::b", "use crate::{a::c::C};"),
        ("a::c", "use crate::a::d::{self, D};"),
        ("a::d", "fn f(b: crate::a::b::B) {}"),
    ]);
    assert_eq!(imports::circles(&round), [["a::b", "a::c", "a::d"]]);
}

/// The map of the crate and the guide for newcomers list the rooms of the table, in its order.
#[test]
fn the_maps_list_the_rooms() {
    let rooms: Vec<&str> = MAY_IMPORT.iter().map(|(room, _)| *room).collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |name| fs::read_to_string(root.join(name)).expect("a map of the rooms is there");
    let in_crate = text("src/lib.rs");
    let listed = in_crate.lines().filter_map(|it| it.strip_prefix("//! | [`")?.split('`').next());
    assert_eq!(listed.collect::<Vec<_>>(), rooms, "src/lib.rs");
    let in_guide = text("ARCHITECTURE.md");
    let listed = in_guide.lines().filter_map(|it| it.strip_prefix("| `")?.split('`').next());
    assert_eq!(listed.collect::<Vec<_>>(), rooms, "ARCHITECTURE.md");
    let declared = in_crate.lines().filter_map(|it| it.strip_prefix("pub mod ")?.strip_suffix(';'));
    let mut declared: Vec<&str> = declared.collect();
    let mut sorted = rooms.clone();
    declared.sort_unstable();
    sorted.sort_unstable();
    assert_eq!(declared, sorted, "modules of src/lib.rs");
}

/// What the guides for newcomers name as a place is there.
#[test]
fn the_places_that_guides_name_are_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let decisions = fs::read_dir(root.join("docs/decisions")).expect("there are decisions");
    let decisions = decisions.map(|it| it.expect("a folder is readable").path());
    let guides = ["ARCHITECTURE.md", "CONTRIBUTING.md"].map(|it| root.join(it));
    let mut missing = Vec::new();
    for guide in guides.into_iter().chain(decisions) {
        let text = fs::read_to_string(&guide).expect("a guide is readable");
        for place in text.split('`').skip(1).step_by(2) {
            let is_path = place.contains('/')
                && !place.starts_with("//")
                && !place.contains([' ', '*', ':', '{', '<']);
            let is_made = place.starts_with("target/") || place.contains("NAME");
            let there = [root.join(place), root.join("src").join(place)];
            if is_path && !is_made && !there.iter().any(|it| it.exists()) {
                missing.push(format!("{}: `{place}`", guide.display()));
            }
        }
    }
    assert!(missing.is_empty(), "not there:\n{}", missing.join("\n"));
}

/// Callers of the library and of the service know no flags: each door adds its remedy to what the core says.
#[test]
fn rooms_below_the_command_line_name_no_flag() {
    let mut faults = Vec::new();
    for (path, text) in files(&["src"]) {
        if path.extension().is_none_or(|it| it != "rs") || lies_in_cli(&path) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for flag in flags_in(code_of(line)) {
                let is_foreign =
                    |(home, foreign): &(&str, &str)| *foreign == flag && lies_in(&path, &[home]);
                if !FOREIGN_FLAGS.iter().any(is_foreign) {
                    faults.push(format!("{}:{}: `{flag}`", path.display(), number + 1));
                }
            }
        }
    }
    assert!(faults.is_empty(), "flags below the command line:\n{}", faults.join("\n"));
}

#[test]
fn flags_are_seen_wherever_they_stand() {
    let found = |code| flags_in(code).collect::<Vec<_>>();
    assert_eq!(found(r#"#[error("give --mask or `--box`")]"#), ["--mask", "--box"]);
    assert_eq!(found(r#""x,--no-as-needed""#), ["--no-as-needed"]);
    assert!(found("a --b; // c").is_empty() && found("i---j -- k").is_empty());
}

fn lies_in_cli(path: &Path) -> bool {
    path.starts_with("src") && room_of(path).is_none_or(|room| room == "cli")
}

#[test]
fn every_room_of_the_table_points_down() {
    for (floor, (room, allowed)) in MAY_IMPORT.iter().enumerate() {
        for used in *allowed {
            let below = MAY_IMPORT[..floor].iter().any(|(name, _)| name == used);
            assert!(below, "`{room}` may import `{used}`, which is not below it");
        }
    }
}

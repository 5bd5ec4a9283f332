//! The walls of the house: which room may import which, checked on every `cargo test`.
//!
//! One package has no crate boundaries to hold its layers apart, so this table does.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Each room with the rooms it may import, from the ground up.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("address", &[]),
    ("kernels", &[]),
    ("attention", &["kernels"]),
    ("sampling", &[]),
    ("cluster", &[]),
    ("picture", &[]),
    ("drawing", &[]),
    ("measures", &[]),
    ("instruction", &[]),
    ("edit", &["sampling", "picture", "instruction"]),
    ("models", &["attention", "kernels"]),
    ("schedulers", &["sampling"]),
    ("pipelines", &["attention", "sampling", "picture", "kernels", "models", "schedulers"]),
    ("executor", &["attention", "sampling", "schedulers", "pipelines"]),
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
    ("wire", &["sampling", "picture", "drawing", "instruction", "edit"]),
    ("client", &["address", "instruction", "wire"]),
    ("journal", &["wire"]),
    ("jobs", &["sampling", "picture", "instruction", "edit", "wire", "journal"]),
    ("server", &["address", "jobs", "wire"]),
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
            "edit",
            "editing",
            "wire",
            "journal",
            "jobs",
            "server",
        ],
    ),
    (
        "cli",
        &[
            "address",
            "sampling",
            "picture",
            "drawing",
            "kernels",
            "models",
            "schedulers",
            "pipelines",
            "executor",
            "instruction",
            "edit",
            "editing",
            "evaluation",
            "wire",
            "client",
            "journal",
            "jobs",
            "server",
            "serving",
        ],
    ),
];

/// Paths behind a door: only the rooms, or parts of rooms, listed may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("models", &["models", "pipelines", "cli/load"]),
    ("pipelines::instruct_pix2pix", &["pipelines", "cli/load"]),
];

/// Outside crates with the rooms, or parts of rooms, that may name them. A crate not listed may be used anywhere.
const CRATES: &[(&str, &[&str])] = &[
    ("anyhow", &["cli", "evaluation"]),
    ("axum", &["server"]),
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
    ("indicatif", &["cli"]),
    ("libloading", &["kernels"]),
    ("metrics_exporter_prometheus", &["server/telemetry"]),
    ("metrics_opentelemetry", &["server/telemetry"]),
    ("metrics_util", &["server/telemetry"]),
    ("opentelemetry", &["server/telemetry"]),
    ("opentelemetry_otlp", &["server/telemetry"]),
    ("opentelemetry_sdk", &["server/telemetry"]),
    ("prost", &["wire", "journal", "jobs"]),
    ("puruspe", &["schedulers"]),
    ("quick_cache", &["editing", "pipelines"]),
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
            "cli/load",
        ],
    ),
    ("tokenizers", &["models"]),
    ("tokio", &["jobs", "client", "server", "cli"]),
    ("tokio_rustls", &["server", "cli"]),
    ("toml", &["server/keys", "cli"]),
    ("tonic", &["wire", "client", "server", "cli"]),
    ("tonic_health", &["server", "cli"]),
    ("tower_http", &["server"]),
    ("tracing_opentelemetry", &["server/telemetry"]),
];

/// Words with the rooms that may say them, and why nobody else may.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("unsafe_code", &["kernels"], "`unsafe` lives there alone, so that it is read together"),
    ("env::var", &["cli"], "settings travel as values, so that a run depends on what it was given"),
];

/// Where a word that looks like a flag is none of ours, below the command line.
const FOREIGN_FLAGS: &[(&str, &str)] = &[("kernels/gpu/cuda", "--no-as-needed")];

/// The most lines that a file may have.
const LONGEST: usize = 400;

#[test]
fn imports_point_down() {
    let mut faults = Vec::new();
    for (path, text) in files(&["src"]) {
        let Some(room) = room_of(&path) else { continue };
        let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
            faults.push(format!("{}: room `{room}` is not in the table", path.display()));
            continue;
        };
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
            for (door, keepers) in DOORS {
                if code.contains(&format!("crate::{door}")) && !lies_in(&path, keepers) {
                    faults.push(format!("{at}: `{room}` must not pass the door `{door}`"));
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

/// The words of a line that begin as long flags do.
fn flags_in(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("--").filter_map(|(start, _)| {
        let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
        let rest = &code[start + 2..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let begins = rest.starts_with(|c: char| c.is_ascii_lowercase());
        let is_inside = code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        (begins && end > 1 && !is_inside).then(|| &code[start..start + 2 + end])
    })
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

#[test]
fn every_file_says_what_it_is() {
    let mut silent = Vec::new();
    for (path, text) in files(EVERYWHERE) {
        let first = if path.extension().is_some_and(|it| it == "py") { "\"\"\"" } else { "//!" };
        if !text.starts_with(first) {
            silent.push(path.display().to_string());
        }
    }
    assert!(silent.is_empty(), "the first line must say what the file is:\n{}", silent.join("\n"));
}

#[test]
fn every_file_fits_one_sitting() {
    let mut long = Vec::new();
    for (path, text) in files(EVERYWHERE) {
        let lines = text.lines().count();
        if lines > LONGEST {
            long.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert!(long.is_empty(), "more than {LONGEST} lines:\n{}", long.join("\n"));
}

/// The room of `src/ROOM.rs` or `src/ROOM/…`; `None` for the crate roots.
fn room_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").ok()?.components().next()?;
    let name = first.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (name != "lib" && name != "main").then_some(name)
}

/// Whether `src/ROOM/PART.rs` lies in one of these rooms or parts of rooms.
fn lies_in(path: &Path, homes: &[&str]) -> bool {
    let place = path.strip_prefix("src").expect("a room lies in src").with_extension("");
    homes.iter().any(|home| place.starts_with(home))
}

/// A line without its comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether code names an outside crate, as `NAME::` that nothing else runs into.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(start, _)| {
        !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The rooms that code names as `crate::ROOM`.
fn rooms_named(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Where code lies.
const EVERYWHERE: &[&str] = &["build.rs", ".ci", "benches", "examples", "src", "tests"];

/// The Rust and Python files under these paths, by their paths from the repository's root, with their text.
fn files(places: &[&str]) -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut left: Vec<PathBuf> =
        places.iter().map(|it| root.join(it)).filter(|it| it.exists()).collect();
    while let Some(path) = left.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("a folder of the repository is readable");
            left.extend(entries.map(|it| it.expect("a folder is readable").path()));
        } else if path.extension().is_some_and(|it| it == "rs" || it == "py") {
            let text = fs::read_to_string(&path).expect("source is UTF-8");
            let path = path.strip_prefix(root).expect("it lies under the root").to_owned();
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "no files under {places:?}");
    found
}

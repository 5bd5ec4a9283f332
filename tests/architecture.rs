//! Which module may import which, checked on every `cargo test`.
//!
//! One package has no crate boundaries that would enforce its layers, so this table does.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// For each top-level module of `src`, the modules that it may import, lowest layer first.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("kernels", &[]),
    ("attn_processor", &["kernels"]),
    ("sampling", &[]),
    ("cluster", &[]),
    ("picture", &[]),
    ("drawing", &[]),
    ("models", &["attn_processor", "kernels"]),
    ("schedulers", &["sampling"]),
    ("pipelines", &["attn_processor", "sampling", "picture", "kernels", "models", "schedulers"]),
    ("metrics", &[]),
    ("editing", &["attn_processor", "sampling", "cluster", "picture", "schedulers", "pipelines"]),
    ("evaluation", &["sampling", "picture", "drawing", "metrics", "pipelines", "editing"]),
    ("wire", &["sampling", "picture", "drawing", "editing"]),
    ("journal", &["wire"]),
    ("jobs", &["sampling", "picture", "editing", "wire", "journal"]),
    ("server", &["jobs", "wire"]),
    (
        "cli",
        &[
            "sampling",
            "picture",
            "drawing",
            "kernels",
            "models",
            "schedulers",
            "pipelines",
            "editing",
            "jobs",
            "evaluation",
            "wire",
            "journal",
            "server",
        ],
    ),
];

/// Restricted paths, with the modules, or parts of modules, that may name them.
const DOORS: &[(&str, &[&str])] = &[
    ("models", &["models", "pipelines", "cli/load"]),
    ("pipelines::instruct_pix2pix", &["pipelines", "cli/load"]),
];

/// External crates, with the modules, or parts of modules, that may use them. A crate that is not listed may be used
/// anywhere.
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
            "metrics",
            "editing",
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
    ("opentelemetry", &["server/telemetry", "cli/client"]),
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
            "attn_processor",
            "cluster",
            "kernels",
            "models",
            "schedulers",
            "pipelines",
            "editing",
            // Names the device and the dtype that a model is loaded for.
            "cli/load",
        ],
    ),
    ("tokenizers", &["models"]),
    ("tokio", &["jobs", "server", "cli"]),
    ("tokio_rustls", &["server", "cli"]),
    ("toml", &["server/keys", "cli"]),
    ("tonic", &["wire", "server", "cli"]),
    ("tonic_health", &["server", "cli"]),
    ("tower_http", &["server"]),
    ("tracing_opentelemetry", &["server/telemetry", "cli/client"]),
];

/// Restricted words, with the modules that may use them, and the reason.
const WORDS: &[(&str, &[&str], &str)] = &[
    ("unsafe_code", &["kernels"], "`unsafe` lives there alone, so that it is read together"),
    ("env::var", &["cli"], "settings travel as values, so that a run depends on what it was given"),
];

/// Words that look like command-line flags but are not this program's, below the command line.
const FOREIGN_FLAGS: &[(&str, &str)] = &[("kernels/cuda", "--no-as-needed")];

/// Maximum number of lines of a file.
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

/// Modules below `cli` must not name command-line flags, since the service and the library have none: command line and
/// service add the remedy in their own terms.
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

/// The words of a line that look like long flags.
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

/// The top-level module of `src/MODULE.rs` or `src/MODULE/…`; `None` for the crate roots.
fn room_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").ok()?.components().next()?;
    let name = first.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (name != "lib" && name != "main").then_some(name)
}

/// Whether `src/MODULE/PART.rs` belongs to one of these modules or parts.
fn lies_in(path: &Path, homes: &[&str]) -> bool {
    let place = path.strip_prefix("src").expect("a room lies in src").with_extension("");
    homes.iter().any(|home| place.starts_with(home))
}

/// A line without its comment.
fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether code names an external crate, as `NAME::` that is not part of a longer name.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(start, _)| {
        !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The modules that code names as `crate::MODULE`.
fn rooms_named(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Folders with code.
const EVERYWHERE: &[&str] = &["build.rs", ".ci", "benches", "src", "tests"];

/// The Rust and Python files under these paths, by path relative to the repository's root, with their text.
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

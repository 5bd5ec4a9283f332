//! Source files, read as text: their rooms, and what a line of code names.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The words of a line that look like long flags.
pub(super) fn flags_in(code: &str) -> impl Iterator<Item = &str> {
    code.match_indices("--").filter_map(|(start, _)| {
        let is_part = |c: char| c.is_ascii_lowercase() || c == '-';
        let rest = &code[start + 2..];
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let begins = rest.starts_with(|c: char| c.is_ascii_lowercase());
        let is_inside = code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        (begins && end > 1 && !is_inside).then(|| &code[start..start + 2 + end])
    })
}

/// The top-level module of `src/MODULE.rs` or `src/MODULE/…`; `None` for the crate roots.
pub(super) fn room_of(path: &Path) -> Option<String> {
    let first = path.strip_prefix("src").ok()?.components().next()?;
    let name = first.as_os_str().to_str()?.trim_end_matches(".rs").to_owned();
    (name != "lib" && name != "main").then_some(name)
}

/// Whether `src/MODULE/PART.rs` belongs to one of these modules or parts.
pub(super) fn lies_in(path: &Path, homes: &[&str]) -> bool {
    let place = path.strip_prefix("src").expect("a room lies in src").with_extension("");
    homes.iter().any(|home| place.starts_with(home))
}

/// A line without its comment.
pub(super) fn code_of(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

/// Whether code names an external crate, as `NAME::` that is not part of a longer name.
pub(super) fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(start, _)| {
        !code[..start].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
    })
}

/// The modules that code names as `crate::MODULE`.
pub(super) fn rooms_named(code: &str) -> impl Iterator<Item = &str> {
    code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// Where code lies.
pub(super) const EVERYWHERE: &[&str] =
    &["build.rs", ".ci", "benches", "examples", "python", "src", "tests"];

/// The Rust and Python files under these paths, by path relative to the repository's root, with their text.
pub(super) fn files(places: &[&str]) -> Vec<(PathBuf, String)> {
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

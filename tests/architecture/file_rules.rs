//! What holds of each file by itself: its first line, and how long it is.

use crate::sources::{EVERYWHERE, files};

/// Maximum number of lines of a file.
const LONGEST: usize = 400;

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

//! What `make quick` leaves out: modules that start processes or servers, or wait for a clock, and no others.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

/// What starts a process, or waits for a clock.
const MARKS: [&str; 6] =
    ["CARGO_BIN_EXE", "cargo_bin(", "current_exe(", "Command::new(", "sleep(", "timeout("];
/// What these modules lend to others: commands, servers, and a wait for them.
const LENT: [&str; 4] = ["Desk::new(", "Site::start", "Harness::", "in_time("];

/// Each module of this binary with the text of all its files.
fn modules(tests: &Path) -> BTreeMap<String, String> {
    let main = fs::read_to_string(tests.join("main.rs")).unwrap();
    let names = main.lines().filter_map(|it| it.strip_prefix("mod ")?.strip_suffix(';'));
    let text = |name: &str| {
        let file = fs::read_to_string(tests.join(name).with_extension("rs")).unwrap_or_default();
        file + &texts(&tests.join(name))
    };
    names.map(|name| (name.to_owned(), text(name))).collect()
}

fn texts(folder: &Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).into_iter().flatten().map(Result::unwrap) {
        let path = entry.path();
        let more = if path.is_dir() { texts(&path) } else { fs::read_to_string(path).unwrap() };
        text.push_str(&more);
    }
    text
}

#[test]
fn quick_tests_start_no_process_and_wait_for_no_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let makefile = fs::read_to_string(root.join("Makefile")).unwrap();
    let listed = makefile.lines().find_map(|it| it.strip_prefix("SLOW := ")).unwrap();
    let listed: BTreeSet<&str> = listed.split(' ').collect();
    let modules = modules(&root.join("tests/it"));
    let found = modules.iter().filter(|(name, text)| {
        let marks = MARKS.iter().chain(&LENT).any(|mark| text.contains(mark));
        // This one names them, and `support` runs nothing itself.
        marks && !["quick", "support"].contains(&name.as_str())
    });
    let found: BTreeSet<&str> = found.map(|(name, _)| name.as_str()).collect();
    assert_eq!(listed, found, "the list in the Makefile is not what the modules do");
}

//! `.ci/needs`: what is missing to build is said in one line, before anything is compiled.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use assert_cmd::Command;
use predicates::str::contains;

/// `.ci/needs` with a `cargo` of this version.
fn needs(cargo: &str) -> Command {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("cargo");
    fs::write(&program, format!("#!/bin/sh\necho 'cargo {cargo} (0123abc 2026-01-01)'\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let mut needs = Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/needs"));
    needs.env("CARGO", folder.keep().join("cargo"));
    needs
}

#[test]
fn a_rust_that_is_too_old_is_refused_by_the_oldest_that_cargo_toml_says() {
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    let (major, minor) = oldest.split_once('.').unwrap();
    let minor: u32 = minor.parse().unwrap();
    for old in [format!("{major}.{}.1", minor - 1), format!("{major}.9.0")] {
        let said = format!("needs Rust {oldest} or newer, and this is {old}");
        needs(&old).assert().code(1).stderr(contains(said));
    }
    for new in [format!("{oldest}.0"), format!("{major}.{}.0-nightly", minor + 1)] {
        needs(&new).assert().success().stderr("");
    }
}

#[test]
fn the_oldest_rust_is_said_in_cargo_toml_alone() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let oldest = env!("CARGO_PKG_RUST_VERSION");
    for name in
        [".ci/needs", ".ci/run", "Makefile", "README.md", "CONTRIBUTING.md", ".ci/clippy.toml"]
    {
        let text = fs::read_to_string(root.join(name)).unwrap();
        assert!(!text.contains(&format!("Rust {oldest}")), "{name}");
        assert!(!text.contains("msrv") && !text.contains(&format!("\"{oldest}\"")), "{name}");
    }
}

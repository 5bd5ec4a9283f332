//! `retouch journal` over the data folder of a server that was killed, in the layout of version 1.

use std::{
    fs,
    path::{Path, PathBuf},
};

use predicates::str::{contains, is_match};
use redb::{Database, ReadableTable, TableDefinition};
use serde_json::Value;

use super::Desk;

const JOBS: TableDefinition<'_, u128, &[u8]> = TableDefinition::new("jobs");

/// A desk with a copy of the folder as `data`.
fn desk() -> Desk {
    let desk = Desk::new();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/data_folder_1");
    fs::create_dir_all(desk.path("data/artifacts")).unwrap();
    for file in files(&from) {
        let to = desk.path("data").join(file.strip_prefix(&from).unwrap());
        fs::copy(&file, to).unwrap();
    }
    desk
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Every file with its bytes.
fn state(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    files(folder).into_iter().map(|it| (it.clone(), fs::read(it).unwrap())).collect()
}

const CHECK: [&str; 4] = ["journal", "check", "--data-dir", "data"];
const EXPORT: [&str; 6] = ["journal", "export", "--data-dir", "data", "--output", "out"];

#[test]
fn a_check_says_what_is_there_and_what_is_lost_and_changes_nothing() {
    let desk = desk();
    let before = state(&desk.path("data"));
    let sound = desk.retouch(CHECK).assert().success();
    sound
        .stdout(contains("7 jobs (1 AWAITING_MASK, 1 CANCELLED, 1 EDITING, 1 FAILED, "))
        .stdout(contains("nothing is wrong"));
    assert_eq!(state(&desk.path("data")), before);

    let artifacts = files(&desk.path("data/artifacts"));
    fs::remove_file(&artifacts[0]).unwrap();
    fs::write(&artifacts[1], b"cut").unwrap();
    let stray = desk.path("data/artifacts/0190b3c5-0000-7000-8000-000000000000");
    fs::write(&stray, b"whose").unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let before = state(&desk.path("data"));
    desk.retouch(CHECK)
        .assert()
        .code(11)
        .stdout(contains(format!("lost: the file of artifacts/{} is missing", name(&artifacts[0]))))
        .stdout(contains(format!(
            "artifacts/{} has changed since it was stored (SHA-256 differs)",
            name(&artifacts[1])
        )))
        .stdout(contains(format!(
            "unknown: no record for the file {}",
            Path::new("data/artifacts").join(name(&stray)).display()
        )));
    assert_eq!(state(&desk.path("data")), before);
}

#[test]
fn a_folder_of_a_running_server_or_without_a_journal_is_refused_by_its_name() {
    let desk = desk();
    let held = Database::create(desk.path("data/journal.redb")).unwrap();
    for command in [&CHECK[..], &EXPORT[..], &["journal", "repair", "--data-dir", "data"]] {
        let refused = desk.retouch(command.iter().copied()).assert().code(11);
        refused.stderr(is_match("journal.redb is in use by another process").unwrap());
    }
    drop(held);
    fs::create_dir(desk.path("empty")).unwrap();
    let refused = desk.retouch(["journal", "check", "--data-dir", "empty"]).assert().code(11);
    refused.stderr(contains("there is no empty/journal.redb"));
    assert!(files(&desk.path("empty")).is_empty());
}

#[test]
fn an_export_names_every_picture_by_what_it_shows_beside_a_list_of_the_jobs() {
    let desk = desk();
    let before = state(&desk.path("data"));
    desk.retouch(EXPORT).assert().success().stdout(contains("7 jobs and 51 pictures"));
    assert_eq!(state(&desk.path("data")), before);
    let list = fs::read_to_string(desk.path("out/jobs.jsonl")).unwrap();
    let jobs: Vec<Value> = list.lines().map(|it| serde_json::from_str(it).unwrap()).collect();
    assert_eq!(jobs.len(), 7);
    let done = jobs.iter().find(|it| it["job"]["request_id"] == "done").unwrap();
    assert_eq!((&done["tenant"], &done["lost"]), (&"local".into(), &Value::Array(Vec::new())));
    let files = done["files"].as_object().unwrap();
    let shown: Vec<&str> = files.values().map(|it| it.as_str().unwrap()).collect();
    for what in
        ["input", "clusters", "cluster-labels", "heatmap-circle", "proposed-mask", "mask", "result"]
    {
        assert!(shown.contains(&what), "{what}: {shown:?}");
    }
    for (name, shown) in files {
        let is_time_id_what =
            format!("^local/[0-9]{{4}}-[0-9-]+T[0-9-]+-[0-9a-f]{{8}}-{}", shown.as_str().unwrap());
        assert!(predicates::Predicate::eval(&is_match(is_time_id_what).unwrap(), name), "{name}");
        image::open(desk.path("out").join(name)).unwrap();
    }
    // Nothing is written over.
    desk.retouch(EXPORT).assert().code(2).stderr(contains("out is not empty"));
}

#[test]
fn pictures_without_a_journal_are_exported_too() {
    let desk = desk();
    let count = files(&desk.path("data/artifacts")).len();
    fs::write(desk.path("data/journal.redb"), [7; 5000]).unwrap();
    let exported = desk.retouch(EXPORT).assert().success();
    exported.stderr(contains("journal.redb")).stderr(contains("without their jobs"));
    assert_eq!(files(&desk.path("out/unknown")).len(), count);
    fs::remove_file(desk.path("data/journal.redb")).unwrap();
    fs::remove_dir_all(desk.path("out")).unwrap();
    desk.retouch(EXPORT).assert().success();
    assert_eq!(files(&desk.path("out/unknown")).len(), count);
}

#[test]
fn a_repair_drops_what_cannot_be_read_and_keeps_it_beside() {
    let desk = desk();
    // 1. A record that is no job.
    let db = Database::create(desk.path("data/journal.redb")).unwrap();
    let write = db.begin_write().unwrap();
    {
        let mut jobs = write.open_table(JOBS).unwrap();
        let first = jobs.iter().unwrap().next().unwrap().unwrap().0.value();
        jobs.insert(first, [0xff; 9].as_slice()).unwrap();
    }
    write.commit().unwrap();
    drop(db);
    desk.retouch(CHECK).assert().code(11).stdout(contains("damaged: the record of jobs/"));
    let serve =
        ["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data-dir", "data"];
    desk.retouch(serve).assert().code(9).stderr(contains("retouch journal repair"));
    assert_eq!(files(&desk.path("data/artifacts")).len(), 51, "no picture was dropped");
    let broken = fs::read(desk.path("data/journal.redb")).unwrap();

    // 2. Without it, and with all else.
    let repaired = desk.retouch(["journal", "repair", "--data-dir", "data"]).assert().success();
    repaired.stdout(contains("6 jobs")).stdout(contains("before-repair"));
    assert_eq!(fs::read(desk.path("data/journal.redb.before-repair-0")).unwrap(), broken);
    desk.retouch(CHECK).assert().success().stdout(contains("6 jobs"));
    assert!(!desk.path("data/set-aside").exists(), "its pictures are still known");
}

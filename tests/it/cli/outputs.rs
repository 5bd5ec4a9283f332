//! Output files: existing ones are kept or refused before the work starts, and finished results are not lost.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    os::unix::fs::{PermissionsExt, symlink},
    process::{Command as Process, Stdio},
};

use predicates::str::contains;

use super::{Desk, INSTRUCTION, scene};

/// A shell that runs `retouch`, given as `$0`, on the scene, `$1`.
fn shell(desk: &Desk, script: &str) -> std::process::Output {
    let mut command = Process::new("sh");
    command.args(["-c", script, env!("CARGO_BIN_EXE_retouch")]).arg(scene());
    command.current_dir(desk.path("")).env_remove("RETOUCH_MODEL").env_remove("RETOUCH_SERVER");
    command.env("XDG_CACHE_HOME", desk.path("cache")).env("OMP_NUM_THREADS", "1");
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn maps_of_an_earlier_run_go_when_they_are_written_over() {
    let desk = Desk::new();
    let maps = |name: &str| desk.path("maps").join(name);
    let mut edit = desk.retouch(["edit"]);
    edit.arg(scene()).args([INSTRUCTION, "--steps", "4", "-o", "a.png", "--maps", "maps"]);
    edit.assert().success();
    assert!(maps("preview-edit-0004.png").exists());
    // A file that no run makes is its owner's.
    fs::write(maps("preview-edit-notes.png"), "mine").unwrap();
    desk.edit(["-o", "b.png", "--maps", "maps", "--force"]).assert().success();
    assert!(maps("preview-edit-0002.png").exists());
    for step in ["preview-edit-0003.png", "preview-edit-0004.png"] {
        assert!(!maps(step).exists(), "{step} is the earlier run's");
    }
    assert!(maps("preview-edit-notes.png").exists() && maps("mask.png").exists());

    // With another object, there is what a folder of its own would have.
    let edit = |output: &str, maps: &str| {
        let mut edit = desk.retouch(["edit"]);
        edit.arg(scene()).args(["remove the circle", "--steps", "2", "-o", output]);
        edit.args(["--seed", "1", "--maps", maps, "--force"]).assert().success();
    };
    let names = |folder: &str| {
        let names = fs::read_dir(desk.path(folder)).unwrap();
        let names = names.map(|it| it.unwrap().file_name().into_string().unwrap());
        names.collect::<BTreeSet<_>>()
    };
    let before = names("maps");
    edit("c.png", "maps");
    edit("d.png", "fresh");
    fs::remove_file(maps("preview-edit-notes.png")).unwrap();
    assert_eq!(names("maps"), names("fresh"));
    assert_ne!(names("maps"), before);
}

#[test]
fn maps_that_are_there_are_found_before_the_work() {
    let desk = Desk::new();
    fs::create_dir(desk.path("maps")).unwrap();
    for name in ["preview-edit-0001.png", "attention-01-star.png"] {
        fs::write(desk.path("maps").join(name), "old").unwrap();
        let run = desk.edit(["-o", "out.png", "--maps", "maps"]).assert().code(7);
        let said = text(&run.get_output().stderr);
        assert!(said.contains(name) && !said.contains("step"), "{said}");
        fs::remove_file(desk.path("maps").join(name)).unwrap();
    }
    // Nor is a result written where a map would be.
    for name in ["maps/preview-edit-0001.png", "maps/attention-01-star.png"] {
        let run = desk.edit(["-o", name, "--maps", "maps", "--force"]).assert().code(2);
        run.stderr(contains("choose another folder for --maps"));
    }
}

#[test]
fn words_of_any_length_have_maps() {
    let desk = Desk::new();
    let word = "bee".repeat(100);
    let mut edit = desk.retouch(["edit"]);
    edit.arg(scene()).arg(format!("make the {word} blue"));
    edit.args(["--steps", "1", "-o", "out.png", "--maps", "maps"]).assert().success();
}

#[test]
fn force_keeps_permissions_and_leaves_what_is_write_protected() {
    let desk = Desk::new();
    for mode in [0o600, 0o444] {
        fs::write(desk.path("out.png"), "old").unwrap();
        fs::set_permissions(desk.path("out.png"), Permissions::from_mode(mode)).unwrap();
        let run = desk.edit(["-o", "out.png", "--force"]).assert();
        if mode == 0o444 {
            let run = run.code(7).stderr(contains("out.png is write-protected"));
            assert!(!text(&run.get_output().stderr).contains("step"), "before the work");
            assert_eq!(fs::read(desk.path("out.png")).unwrap(), b"old");
        } else {
            run.success();
            assert_eq!(desk.picture("out.png").dimensions(), (64, 64));
        }
        assert_eq!(fs::metadata(desk.path("out.png")).unwrap().permissions().mode() & 0o777, mode);
    }
}

#[test]
fn a_picture_is_not_written_to_a_terminal() {
    let desk = Desk::new();
    for args in [&["edit"][..], &["localize"]] {
        let mut command = Process::new(env!("CARGO_BIN_EXE_retouch"));
        command.args(args).arg(scene()).args([INSTRUCTION, "-o", "-"]);
        command.current_dir(desk.path("")).env_remove("RETOUCH_MODEL").env_remove("RETOUCH_SERVER");
        // The controlling end of a terminal is one itself.
        let terminal = File::options().read(true).write(true).open("/dev/ptmx").unwrap();
        let output = command.stdout(terminal).stderr(Stdio::piped()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = text(&output.stderr);
        assert!(said.contains("terminal") && said.contains("-o FILE"), "{said}");
        assert!(!said.contains("step"), "before the work: {said}");
    }
}

#[test]
fn a_closed_standard_output_loses_no_picture_without_a_word() {
    let desk = Desk::new();
    for command in ["edit", "localize"] {
        let script = format!("exec \"$0\" {command} \"$1\" \"{INSTRUCTION}\" -o - >&-");
        let output = shell(&desk, &script);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(7), "{said}");
        assert!(said.contains("standard output") && said.contains("-o FILE"), "{said}");
        assert!(!said.contains("step"), "before the work: {said}");
    }
    for command in ["completions bash", "keys new --tenant t", "serve --print-config", "inspect"] {
        let output = shell(&desk, &format!("exec \"$0\" {command} >&-"));
        assert_eq!(output.status.code(), Some(7), "{command}: {}", text(&output.stderr));
    }
    // Whoever wants none says so, in either way that programs open it.
    let edit = "exec \"$0\" edit \"$1\" \"make the red star blue\" --steps 1 -o -";
    for to in [">/dev/null", "1<>/dev/null"] {
        let output = shell(&desk, &format!("{edit} {to}"));
        assert!(output.status.success(), "{to}: {}", text(&output.stderr));
    }
    // And a disk that is full is told.
    let output = shell(&desk, &format!("{edit} >/dev/full"));
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn outputs_are_tried_where_they_lead_before_the_work() {
    let desk = Desk::new();
    fs::copy(scene(), desk.path("mask.png")).unwrap();
    let long = format!("{}.png", "n".repeat(250));
    fs::copy(scene(), desk.path(&format!("{}.png", "m".repeat(245)))).unwrap();
    let default = format!("{}.png", "m".repeat(245));
    fs::write(desk.path("file"), "").unwrap();
    symlink("gone/out.png", desk.path("dangling.png")).unwrap();
    symlink("dangling.png", desk.path("chain.png")).unwrap();
    symlink(desk.path(&format!("{}.png", "n".repeat(300))), desk.path("far.png")).unwrap();
    let words = format!("SCENE|-o|{long}|-n|10");
    let default = format!("{default}|--steps|1");
    let cases: &[(&str, i32, &str)] = &[
        (&words, 7, "too long"),
        (&default, 7, "too long"),
        ("SCENE|-o|dangling.png", 7, "does not exist, create it first"),
        ("SCENE|-o|chain.png", 7, "does not exist, create it first"),
        ("SCENE|-o|dangling.png|--force", 7, "does not exist, create it first"),
        ("SCENE|-o|far.png", 7, "too long"),
        ("SCENE|-o|/dev/stdout|--format|png", 7, "-o - >"),
        ("SCENE|-o|out.png|--maps|file", 7, "choose another folder for --maps"),
        ("SCENE|-o|out.png|--maps|file/maps", 7, "choose another folder for --maps"),
        ("SCENE|-o|out.png|--maps|-", 2, "--maps takes a folder"),
        ("SCENE|-o|mask.png|--force|--mask|mask.png", 2, "reads or writes already"),
        ("SCENE|-o|./mask.png|--force|--mask|mask.png", 2, "reads or writes already"),
    ];
    let before = desk.files();
    for (typed, code, expected) in cases {
        let mut edit = desk.retouch(["edit"]);
        for (index, arg) in typed.split('|').enumerate() {
            if arg == "SCENE" {
                edit.arg(scene())
            } else {
                edit.arg(arg)
            };
            if index == 0 {
                edit.arg(INSTRUCTION);
            }
        }
        let run = edit.assert().code(*code);
        let said = text(&run.get_output().stderr);
        assert!(said.contains(expected), "{typed}: {said}");
        assert!(!said.contains("step"), "{typed} is told before the work: {said}");
        assert_eq!(desk.files(), before, "{typed} left a file");
    }
    let mut localize = desk.retouch(["localize"]);
    localize.arg(scene()).args([INSTRUCTION, "-o", "one.png", "--save", "./one.png"]);
    localize.assert().code(2).stderr(contains("reads or writes already"));
    // Where a link leads to a folder that is there, the file is made behind it.
    fs::create_dir(desk.path("gone")).unwrap();
    desk.edit(["-o", "chain.png"]).assert().success();
    assert!(desk.path("gone/out.png").is_file() && desk.path("chain.png").is_symlink());
}

#[test]
fn a_picture_may_be_edited_in_its_place() {
    let desk = Desk::new();
    fs::copy(scene(), desk.path("here.png")).unwrap();
    let args = ["edit", "here.png", INSTRUCTION, "--steps", "2", "-o", "here.png"];
    desk.retouch(args).assert().code(7).stderr(contains("--force"));
    desk.retouch(args).arg("--force").assert().success();
    assert_ne!(fs::read(desk.path("here.png")).unwrap(), fs::read(scene()).unwrap());
}

#[test]
fn a_reader_that_ends_early_is_told_of() {
    let desk = Desk::new();
    // The pipe is closed while the picture is made.
    let script =
        "\"$0\" edit \"$1\" \"make the red star blue\" --steps 1 -o - 2>said | true; cat said >&2";
    let output = shell(&desk, script);
    assert!(text(&output.stderr).contains("standard output"), "{}", text(&output.stderr));
}

//! Signals: which ones stop a command, what they leave behind, and which are ignored.

use std::{
    fs,
    io::{BufRead, BufReader, Lines},
    process::{Child, ChildStdout, Command as Process, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{Desk, INSTRUCTION, scene};

/// How long a process may take to end.
const SOON: Duration = Duration::from_secs(60);

/// A command in a desk's folder, with its standard output as lines of JSON.
struct Running(Child);

impl Running {
    /// Runs `retouch` as a shell does after `before`, such as `trap '' HUP;`.
    fn start(desk: &Desk, before: &str, args: &[&str]) -> Self {
        let mut command = Process::new("env");
        command.args(["--default-signal", "sh", "-c", &format!("{before} exec \"$0\" \"$@\"")]);
        command.arg(env!("CARGO_BIN_EXE_retouch")).args(args);
        command.current_dir(desk.path("")).env_remove("RETOUCH_MODEL").env_remove("RETOUCH_SERVER");
        command.env("OMP_NUM_THREADS", "1").env("XDG_CACHE_HOME", desk.path("cache"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn edit(desk: &Desk, before: &str, args: &[&str]) -> Self {
        let scene = scene();
        let fixed = ["edit", scene.to_str().unwrap(), INSTRUCTION, "--json"];
        Self::start(desk, before, &[&fixed[..], args].concat())
    }

    /// Reads lines until one has this in it.
    fn until(&mut self, text: &str) -> Lines<BufReader<ChildStdout>> {
        let mut lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        assert!(lines.by_ref().any(|line| line.unwrap().contains(text)), "`{text}` never came");
        lines
    }

    fn signal(&self, name: &str) {
        let pid = self.0.id().to_string();
        assert!(Process::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// The exit code, once it has ended.
    fn code(&mut self) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            if started.elapsed() > SOON {
                self.0.kill().unwrap();
                panic!("it never ended");
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until a signal has a handler, and so the command has begun.
    fn until_it_listens(&self) {
        let started = Instant::now();
        loop {
            let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
            let caught = status.lines().find_map(|it| it.strip_prefix("SigCgt:")).unwrap();
            // SIGINT is the second.
            if u64::from_str_radix(caught.trim(), 16).unwrap() & 2 != 0 {
                return;
            }
            assert!(started.elapsed() < SOON, "it never listened");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

#[test]
fn variants_that_were_made_are_kept_when_a_run_is_stopped() {
    let desk = Desk::new();
    let args = ["-n", "50", "--steps", "3", "-o", "out.png", "--maps", "maps", "--seed", "7"];
    let mut run = Running::edit(&desk, "", &args);
    let lines = run.until("out-2.png");
    run.signal("INT");
    let said: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(run.code(), Some(130));
    let made: Vec<String> = desk.files().into_iter().filter(|it| it.starts_with("out-")).collect();
    assert!((2..50).contains(&made.len()), "{made:?}");
    // What there is, is whole, said, and on the contact sheet.
    for name in &made {
        assert_eq!(desk.picture(name).dimensions(), (64, 64));
    }
    assert!(desk.path("maps/contact-sheet.png").is_file());
    assert!(desk.path("maps/preview-edit-0003.png").is_file());
    let count = format!("{} of 50 variants", made.len());
    assert!(said.iter().any(|line| line.contains(&count)), "{said:?}");
    assert!(said.iter().any(|line| line.contains("contact-sheet.png")), "{said:?}");
    // And the same that a run of their own gives.
    let mut alone = desk.retouch(["edit"]);
    alone.arg(scene()).args([INSTRUCTION, "--steps", "3", "--seed", "8", "-o", "alone.png"]);
    alone.assert().success();
    assert_eq!(desk.picture("alone.png"), desk.picture("out-2.png"));
}

#[test]
fn a_request_that_was_ignored_from_the_start_stays_ignored() {
    for (ignored, name) in [("HUP", "HUP"), ("INT", "INT"), ("TERM", "TERM")] {
        let desk = Desk::new();
        let args = ["--steps", "15", "-o", "out.png"];
        let mut run = Running::edit(&desk, &format!("trap '' {ignored};"), &args);
        let lines = run.until("\"step\":{");
        run.signal(name);
        run.signal(name);
        assert!(lines.map_while(Result::ok).any(|line| line.contains("written")), "{name}");
        assert_eq!(run.code(), Some(0), "{name}");
        assert_eq!(desk.files(), ["out.png"]);
    }
}

#[test]
fn a_request_that_is_not_ignored_stops_the_run() {
    for name in ["HUP", "INT", "TERM"] {
        let desk = Desk::new();
        let mut run = Running::edit(&desk, "", &["--steps", "1000", "-o", "out.png"]);
        let _lines = run.until("\"step\":{");
        run.signal(name);
        assert_eq!(run.code(), Some(130), "{name}");
        assert!(desk.files().is_empty());
    }
}

#[test]
fn the_first_request_ends_a_command_that_waits_for_its_input() {
    let desk = Desk::new();
    assert!(Process::new("mkfifo").arg(desk.path("pipe")).status().unwrap().success());
    let commands: [&[&str]; 4] = [
        &["edit", "-", INSTRUCTION, "-o", "out.png"],
        &["edit", "pipe", INSTRUCTION, "-o", "out.png"],
        &["localize", "-", INSTRUCTION, "-o", "out.png"],
        &["eval", "pipe"],
    ];
    for args in commands {
        let mut run = Running::start(&desk, "", args);
        run.until_it_listens();
        run.signal("INT");
        assert_eq!(run.code(), Some(130), "{args:?}");
        assert_eq!(desk.files(), ["pipe"], "{args:?}");
    }
}

#[test]
fn a_server_keeps_to_what_it_was_started_to_ignore() {
    let desk = Desk::new();
    let args =
        ["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0", "--data-dir", "data"];
    let mut run = Running::start(&desk, "trap '' INT;", &args);
    let mut lines = BufReader::new(run.0.stderr.take().unwrap()).lines();
    let mut heard = |text: &str| lines.by_ref().any(|line| line.unwrap().contains(text));
    assert!(heard("listening on"));
    run.signal("INT");
    assert!(heard("the model is loaded and warmed up"));
    run.signal("TERM");
    assert_eq!(run.code(), Some(0));
}

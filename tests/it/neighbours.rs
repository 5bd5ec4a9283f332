//! libtorch's threads when other programs use the same cores, as seen in Linux's thread names.

use std::{
    fs, hint,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::cli::{Desk, scene};

/// The thread that watches for neighbours.
const WATCH: &str = "spin-policy";
/// The thread that is there while libgomp's threads may not spin.
const SWITCH: &str = "spin-switch";

/// An edit that computes for minutes on two threads, until it is dropped.
struct Edit {
    child: Child,
    _desk: Desk,
}

impl Edit {
    fn start(variables: &[(&str, &str)]) -> Self {
        let desk = Desk::new();
        let mut command = Command::new(env!("CARGO_BIN_EXE_retouch"));
        for it in ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "RETOUCH_MODEL"] {
            command.env_remove(it);
        }
        command.envs(variables.iter().copied()).stdout(Stdio::null()).stderr(Stdio::null());
        command
            .arg("edit")
            .arg(scene())
            .arg("make the red star blue")
            .arg("-o")
            .arg(desk.path("out.png"));
        let child = command.args(["--steps", "1000", "--threads", "2"]).spawn().unwrap();
        Self { child, _desk: desk }
    }

    /// Whether a thread of this name is there now.
    fn has(&self, name: &str) -> bool {
        let Ok(threads) = fs::read_dir(format!("/proc/{}/task", self.child.id())) else {
            return false;
        };
        let named = |it: fs::DirEntry| fs::read_to_string(it.path().join("comm"));
        threads.flatten().any(|it| named(it).is_ok_and(|it| it.trim() == name))
    }

    /// Waits for a thread of this name.
    fn comes(&self, name: &str) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(60) {
            if self.has(name) {
                return true;
            }
            thread::sleep(Duration::from_millis(10));
        }
        false
    }

    /// Waits until the networks compute: the model's team is there.
    fn computes(&self) {
        let start = Instant::now();
        let stat = format!("/proc/{}/schedstat", self.child.id());
        let ran = || {
            fs::read_to_string(&stat).unwrap().split(' ').next().unwrap().parse::<u64>().unwrap()
        };
        while ran() < 1_500_000_000 {
            assert!(start.elapsed() < Duration::from_secs(60), "it does not compute");
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Edit {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

#[test]
fn threads_do_not_spin_beside_programs_that_want_the_cores() {
    let edit = Edit::start(&[]);
    assert!(edit.comes(WATCH), "nobody watches for neighbours");
    let over = AtomicBool::new(false);
    let loops = 2 * thread::available_parallelism().unwrap().get();
    thread::scope(|scope| {
        for _ in 0..loops {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    hint::spin_loop();
                }
            });
        }
        let came = edit.comes(SWITCH);
        over.store(true, Ordering::Relaxed);
        assert!(came, "threads spin beside {loops} busy loops");
    });
}

#[test]
fn what_the_environment_says_of_spinning_holds() {
    for variable in [("GOMP_SPINCOUNT", "300000"), ("OMP_WAIT_POLICY", "active")] {
        let edit = Edit::start(&[variable]);
        edit.computes();
        assert!(!edit.has(WATCH), "{variable:?}");
    }
}

//! Panics reach the log, even if they are caught.

use std::{
    env,
    panic::{self, AssertUnwindSafe},
    process::Command,
    thread,
};

use retouch::server::{
    config::{Log, LogFormat, Otlp},
    telemetry,
};

/// Set in the child process that panics.
const CHILD: &str = "RETOUCH_TEST_PANIC";

#[test]
fn a_panic_is_logged_with_what_where_and_on_which_thread() {
    for format in ["text", "json"] {
        let child = "server_edges::panics::child_that_panics_under_the_eyes_of_the_log";
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", child, "--ignored", "--nocapture"])
            .env(CHILD, format)
            .output()
            .unwrap();
        let log = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{log}");
        let line = |what: &str| {
            let mut lines = log.lines().filter(|it| it.contains(what));
            let line = lines.next().unwrap_or_else(|| panic!("no `{what}` in:\n{log}"));
            assert_eq!(lines.next(), None, "told twice:\n{log}");
            line.to_owned()
        };
        let caught = line("a caught one");
        assert!(caught.contains("ERROR") && caught.contains("panics.rs:"), "{caught}");
        assert!(caught.contains("retouch-model-0"), "{caught}");
        assert!(!caught.contains("frame #0"), "{caught}");
        // libtorch's want of memory is tried again with less.
        assert!(line("out of memory").contains("WARN"), "{log}");
        assert!(line("of a task").contains("panics.rs:"), "{log}");
    }
}

/// The other half of that test, in a process of its own.
#[test]
#[ignore = "it is started by another test"]
fn child_that_panics_under_the_eyes_of_the_log() {
    let format = if env::var(CHILD).unwrap() == "json" { LogFormat::Json } else { LogFormat::Text };
    let log = Log { format, level: "info".to_owned() };
    panic::set_hook(Box::new(|_| {}));
    let _telemetry = telemetry::start(&log, &Otlp::default()).unwrap();
    let thread = thread::Builder::new().name("retouch-model-0".to_owned());
    let caught = || panic!("a caught one\nframe #0: of a stack");
    let run = move || panic::catch_unwind(AssertUnwindSafe(caught)).is_err();
    assert!(thread.spawn(run).unwrap().join().unwrap());
    let memory = || panic!("DefaultCPUAllocator: can't allocate memory: 9 bytes");
    assert!(panic::catch_unwind(AssertUnwindSafe(memory)).is_err());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let task = runtime.spawn(async { panic!("of a task") });
    assert!(runtime.block_on(task).is_err());
}

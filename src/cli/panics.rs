//! Panics of a command, reported as one error with their place instead of a backtrace.

use std::{
    any::Any,
    panic,
    sync::{Mutex, PoisonError},
    thread,
};

use crate::cli::error::CliError;
use crate::panics::{Cause, Panic};

/// Place and message of the last panic. A panic caught on another thread keeps its payload but not its place.
static LAST: Mutex<Option<(String, String)>> = Mutex::new(None);

/// Installs a panic hook that prints nothing and records the place.
pub(crate) fn note() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        let thread = thread::current();
        let place = format!("{place}, thread {}", thread.name().unwrap_or("unnamed"));
        let last = (Panic::of(info.payload()).line, place);
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(last);
    }));
}

/// The error for a panic's payload.
pub(crate) fn error(payload: &(dyn Any + Send)) -> CliError {
    of(Panic::of(payload), LAST.lock().unwrap_or_else(PoisonError::into_inner).as_ref())
}

/// The error for the last panic, if its payload was lost with its thread.
pub(crate) fn last_error() -> CliError {
    let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    let line = last.as_ref().map_or("a thread ended", |(line, _)| line);
    of(Panic::of(&line.to_owned()), last.as_ref())
}

fn of(Panic { line, cause }: Panic, last: Option<&(String, String)>) -> CliError {
    match cause {
        Cause::Memory => CliError::Memory,
        Cause::Device => CliError::DeviceFailed(line),
        Cause::Defect => match last {
            Some((said, place)) if *said == line => CliError::Defect(format!("{line} ({place})")),
            _ => CliError::Defect(line),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str, last: Option<(&str, &str)>) -> String {
        let last = last.map(|(line, place)| (line.to_owned(), place.to_owned()));
        of(Panic::of(&line.to_owned()), last.as_ref()).to_string()
    }

    #[test]
    fn a_defect_says_what_and_where() {
        let place = "src/cluster.rs:7:9, thread main";
        let found = told("index out of bounds", Some(("index out of bounds", place)));
        assert!(
            found.ends_with("index out of bounds (src/cluster.rs:7:9, thread main)"),
            "{found}"
        );
        assert!(found.contains("please report it"), "{found}");
        // The recorded place belongs to another panic.
        assert!(told("as asked", Some(("another", place))).ends_with("as asked"));
    }

    #[test]
    fn want_of_memory_has_a_remedy_and_a_device_its_name() {
        let memory = told("DefaultCPUAllocator: can't allocate memory", None);
        assert_eq!(memory, "there was not enough memory; a smaller --size needs less");
        let device = told("CUDA error: an illegal memory access", None);
        assert_eq!(device, "the device failed: CUDA error: an illegal memory access");
    }
}

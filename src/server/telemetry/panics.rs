//! Logs every panic with its message, place and thread, whether or not it is caught.

use std::{
    panic::{self, PanicHookInfo},
    thread,
};

use crate::panics::{Cause, Panic};

/// Installs a panic hook that logs, then calls the previous hook.
pub fn log_panics() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        log(info);
        before(info);
    }));
}

fn log(info: &PanicHookInfo<'_>) {
    let Panic { line, cause } = Panic::of(info.payload());
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    let thread = thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    // A job without enough memory is mostly retried at a smaller size.
    if cause == Cause::Memory {
        tracing::warn!(place, thread, "out of memory: {line}");
    } else {
        tracing::error!(place, thread, "panicked: {line}");
    }
}

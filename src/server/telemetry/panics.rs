//! Panics in the log: what was said, where, and on which thread, whoever catches them.

use std::{
    panic::{self, PanicHookInfo},
    thread,
};

use crate::jobs::panics::{Cause, Panic};

/// From now on, panics of this process reach its log; what was done about them before is done still.
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
    // What found no memory is mostly tried again with less.
    if cause == Cause::Memory {
        tracing::warn!(place, thread, "out of memory: {line}");
    } else {
        tracing::error!(place, thread, "panicked: {line}");
    }
}

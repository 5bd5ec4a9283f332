//! What other processes have to do with a job: whether this one accepted it, what it has told them, and what they want.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// What other processes have to do with a job.
#[derive(Debug, Default)]
pub(super) struct Elsewhere(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Whether this process accepted it.
    is_of_here: bool,
    /// When they were told that a stream is attached here.
    seated: Option<Instant>,
    /// When they were asked for what its worker shows.
    asked: Option<Instant>,
    /// Until when they want that.
    wanted: Option<Instant>,
    /// Pass and step of the preview that was sent last.
    sent: Option<(i32, u32)>,
}

impl Elsewhere {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether this process accepted it.
    pub(super) fn is_of_here(&self) -> bool {
        self.state().is_of_here
    }

    /// Notes that this process accepted it.
    pub(super) fn accepted_here(&self) {
        self.state().is_of_here = true;
    }

    /// Whether other processes are to be told again that a stream is attached.
    pub(super) fn is_seat_due(&self, every: Duration) -> bool {
        is_due(&mut self.state().seated, every)
    }

    /// Whether other processes are to be asked again for what its worker shows.
    pub(super) fn is_ask_due(&self, every: Duration) -> bool {
        is_due(&mut self.state().asked, every)
    }

    /// Notes that another process wants what its worker shows; returns whether none wanted it before.
    pub(super) fn want(&self, lasts: Duration) -> bool {
        let before = self.state().wanted.replace(Instant::now() + lasts);
        before.is_none_or(|it| it <= Instant::now())
    }

    /// Whether another process wants what its worker shows.
    pub(super) fn is_wanted(&self) -> bool {
        self.state().wanted.is_some_and(|it| it > Instant::now())
    }

    /// Whether a preview has not been sent yet; it counts as sent from now on.
    pub(super) fn is_unsent(&self, pass: i32, step: u32) -> bool {
        self.state().sent.replace((pass, step)) != Some((pass, step))
    }

    /// Sends the last preview again.
    pub(super) fn forget_sent(&self) {
        self.state().sent = None;
    }
}

fn is_due(last: &mut Option<Instant>, every: Duration) -> bool {
    let due = last.is_none_or(|it| it.elapsed() >= every);
    if due {
        *last = Some(Instant::now());
    }
    due
}

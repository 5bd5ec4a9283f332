//! Time as jobs see it: that of the system, which tests advance instead of sleeping.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use prost_types::Timestamp;

/// The clock of a store and its jobs. Clones are the same clock.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// Milliseconds by which it is ahead of the system's clocks: 0 outside tests.
    ahead: Arc<AtomicU64>,
}

impl Clock {
    /// Wall-clock time.
    pub fn now(&self) -> SystemTime {
        SystemTime::now() + self.ahead()
    }

    /// Wall-clock time, as a protobuf message.
    pub fn timestamp(&self) -> Timestamp {
        self.now().into()
    }

    /// Monotonic time.
    pub fn instant(&self) -> Instant {
        Instant::now() + self.ahead()
    }

    /// Time since an instant of this clock.
    pub fn since(&self, instant: Instant) -> Duration {
        self.instant().saturating_duration_since(instant)
    }

    /// Moves both times forward.
    pub fn advance(&self, by: Duration) {
        self.ahead.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }

    fn ahead(&self) -> Duration {
        Duration::from_millis(self.ahead.load(Ordering::Relaxed))
    }
}

/// The time of a message, if it is set and valid.
pub fn time(at: Option<Timestamp>) -> Option<SystemTime> {
    at.and_then(|it| SystemTime::try_from(it).ok())
}

/// Time from a message's time to `now`; zero if it is not set, or later.
pub fn elapsed(from: Option<Timestamp>, now: SystemTime) -> Duration {
    time(from).and_then(|it| now.duration_since(it).ok()).unwrap_or_default()
}

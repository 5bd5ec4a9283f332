//! Controls how long libgomp's threads busy-wait (spin): by default as libgomp does, and hardly at all while other
//! programs need the cores.
//!
//! A spinning thread occupies a core that another program's thread, or one of its own team, could use; beside other
//! programs that makes an edit many times slower. libgomp reads `GOMP_SPINCOUNT` before `main` and has no call to
//! change it. But it reduces spinning from 300,000 rounds to 100 while it manages more threads than the machine has
//! processors (GCC's `libgomp/env.c`, `team.c` and `config/linux/wait.h`), counting the threads of every team. So
//! spinning is switched off by creating a second team of sleeping threads.
//!
//! Whether other programs need the cores is read from `/proc/self/task/*/schedstat`: how long each thread was runnable
//! without a core.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Once, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::kernels::cpu::openmp;

/// Sampling interval while threads compute.
const BUSY: Duration = Duration::from_millis(25);
/// Sampling interval while nothing is computed.
const IDLE: Duration = Duration::from_millis(100);
/// Averaging time of the waits, so that a program start or an interrupt does not count as another program.
const AVERAGED: Duration = Duration::from_millis(150);
/// Average wait share of a thread from which the cores count as shared: half of what one other busy program causes.
const SHARED_FROM: f64 = 0.15;
/// Average wait share below which the cores count as exclusive again.
const OWN_BELOW: f64 = 0.05;

/// From now on watches for other programs on the cores, and lets libgomp's threads spin only while there are none.
///
/// Does nothing if libtorch has one thread or no OpenMP, or if `/proc` has no `schedstat`.
pub fn yield_to_neighbours() {
    static STARTED: Once = Once::new();
    if openmp::team_size() < 2 || openmp::processors().is_none() {
        return;
    }
    STARTED.call_once(|| {
        // Where it can't be started, threads spin as they always did.
        drop(thread::Builder::new().name("spin-policy".to_owned()).spawn(watch));
    });
}

fn watch() {
    let Some(own) = fs::read_link("/proc/thread-self").ok().and_then(|it| id(&it)) else { return };
    let (mut seen, mut at) = (HashMap::new(), Instant::now());
    let mut waited = 0.0;
    let mut switch: Option<Switch> = None;
    let mut pause = BUSY;
    loop {
        thread::sleep(pause);
        let Some(now) = times(own) else { return };
        let passed = at.elapsed();
        at = Instant::now();
        let look = Look::between(&seen, &now, passed);
        seen = now;
        let weight = passed.as_secs_f64() / AVERAGED.as_secs_f64();
        waited += (look.waited - waited) * weight.min(1.0);
        if waited >= SHARED_FROM {
            switch = switch.or_else(Switch::new);
        } else if waited < OWN_BELOW {
            switch = None;
        }
        pause = if look.ran > 0.1 || switch.is_some() { BUSY } else { IDLE };
    }
}

/// Run and wait time of a thread, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Times {
    /// Time on a core.
    ran: u64,
    /// Time runnable without a core.
    waited: u64,
}

/// Run and wait time between two samples, as fractions of the interval.
#[derive(Debug, PartialEq)]
struct Look {
    /// Sum over all threads of the time on cores.
    ran: f64,
    /// Maximum over the threads of the time waiting for a core.
    waited: f64,
}

impl Look {
    fn between(
        before: &HashMap<u32, Times>,
        after: &HashMap<u32, Times>,
        passed: Duration,
    ) -> Self {
        let passed = passed.as_nanos() as f64;
        let mut look = Self { ran: 0.0, waited: 0.0 };
        for (thread, now) in after {
            // A thread that is new counts from the next look on.
            let Some(then) = before.get(thread) else { continue };
            look.ran += now.ran.saturating_sub(then.ran) as f64 / passed;
            let waited = now.waited.saturating_sub(then.waited) as f64 / passed;
            look.waited = look.waited.max(waited);
        }
        look
    }
}

/// Times of this process's threads except the sampling one; `None` if the kernel does not report them.
fn times(own: u32) -> Option<HashMap<u32, Times>> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    let mut all = HashMap::new();
    for thread in threads.flatten() {
        let path = thread.path();
        let Some(id) = id(&path).filter(|&id| id != own) else { continue };
        // A thread may have ended since.
        let Ok(text) = fs::read_to_string(path.join("schedstat")) else { continue };
        all.insert(id, parsed(&text)?);
    }
    (!all.is_empty()).then_some(all)
}

/// `ran waited slices`, in nanoseconds (the kernel's `Documentation/scheduler/sched-stats.rst`).
fn parsed(schedstat: &str) -> Option<Times> {
    let mut fields = schedstat.split_ascii_whitespace().map(str::parse);
    let mut next = || fields.next()?.ok();
    Some(Times { ran: next()?, waited: next()? })
}

/// The thread id at the end of a path under `/proc`.
fn id(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

/// A team of sleeping threads that makes libgomp count more threads than processors; while it exists, no thread spins.
#[derive(Debug)]
struct Switch {
    /// Dropped with this value, which ends the thread that owns the team.
    _until: mpsc::Sender<()>,
}

impl Switch {
    fn new() -> Option<Self> {
        // The team of the networks is counted already.
        let threads = openmp::processors()?.saturating_sub(openmp::team_size()) + 2;
        let (until, ended) = mpsc::channel::<()>();
        let owner = thread::Builder::new().name("spin-switch".to_owned());
        let owner = owner.spawn(move || {
            openmp::make_team(threads);
            // The team is there as long as the thread that made it.
            let _ = ended.recv();
        });
        owner.ok().map(|_| Self { _until: until })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_of_a_thread_counts_and_new_threads_do_not() {
        let times = |ran, waited| Times { ran, waited };
        let before = HashMap::from([(1, times(100, 10)), (2, times(0, 0)), (4, times(9, 9))]);
        let after = HashMap::from([(1, times(150, 30)), (2, times(25, 60)), (3, times(9, 90))]);
        let look = Look::between(&before, &after, Duration::from_nanos(100));
        assert!((look.ran - 0.75).abs() < 1e-9, "{look:?}");
        assert!((look.waited - 0.6).abs() < 1e-9, "{look:?}");
    }

    #[test]
    fn a_schedstat_without_its_fields_tells_nothing() {
        assert_eq!(parsed("124785 12687829 2\n"), Some(Times { ran: 124_785, waited: 12_687_829 }));
        assert_eq!(parsed("0 0 0\n"), Some(Times::default()));
        assert_eq!(parsed("12"), None);
        assert_eq!(parsed("off"), None);
    }
}

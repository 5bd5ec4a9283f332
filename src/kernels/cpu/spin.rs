//! How long libgomp's threads spin while they wait for one another: as libgomp has it while this process has its cores to
//! itself, hardly at all while other programs want them.
//!
//! A thread that spins holds a core that a neighbour's thread, or its own team's, could use: beside other programs that makes
//! an edit many times slower. libgomp reads `GOMP_SPINCOUNT` before `main` and has no call to change it. It does cut
//! spinning from 300,000 rounds to 100 while it manages more threads than the machine has processors (GCC's `libgomp/env.c`,
//! `team.c` and `config/linux/wait.h`), and it counts the threads of each team. So a second team whose threads sleep is
//! the switch: while it is there, nobody spins.
//!
//! Whether others want the cores is what Linux says in `/proc/self/task/*/schedstat`: how long each thread was ready to run
//! and had no core.

use std::{
    collections::HashMap,
    fs,
    path::Path,
    sync::{Once, mpsc},
    thread,
    time::{Duration, Instant},
};

use crate::kernels::cpu::openmp;

/// How often waits are looked at while threads compute.
const BUSY: Duration = Duration::from_millis(25);
/// How often they are looked at while nothing is computed.
const IDLE: Duration = Duration::from_millis(100);
/// The time over which waits are averaged, so that a program that starts beside this one, or an interrupt, is no neighbour.
const AVERAGED: Duration = Duration::from_millis(150);
/// The average share of the time that a thread waits for a core from which the cores are shared: half of what one neighbour causes.
const SHARED_FROM: f64 = 0.15;
/// The average share below which the cores are this process's own again.
const OWN_BELOW: f64 = 0.05;

/// Watches for other programs on the cores from now on, and lets libgomp's threads spin only while there are none.
///
/// Does nothing where libtorch has one thread or no OpenMP, or `/proc` has no `schedstat`.
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

/// What a thread did so far, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Times {
    /// On a core.
    ran: u64,
    /// Ready, without one.
    waited: u64,
}

/// What the threads did between two looks, as shares of the time between.
#[derive(Debug, PartialEq)]
struct Look {
    /// All threads together, on cores.
    ran: f64,
    /// The longest that one of them waited for a core.
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

/// The times of this process's threads but the one that looks; `None` where the kernel tells none.
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

/// The thread that a path under `/proc` ends with.
fn id(path: &Path) -> Option<u32> {
    path.file_name()?.to_str()?.parse().ok()
}

/// A team of sleeping threads, as large as makes libgomp count more threads than processors: while it is there, nobody spins.
#[derive(Debug)]
struct Switch {
    /// Its owner ends when this does.
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

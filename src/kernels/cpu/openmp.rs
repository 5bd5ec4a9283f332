//! Work on libtorch's own threads: a second pool would fight its workers, which spin for a while after each call.
#![expect(
    unsafe_code,
    reason = "libgomp's entry point is found by name and called through a pointer, and threads share memory"
)]

use std::{
    ffi::{c_int, c_uint, c_void},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use libloading::os::unix::Library;

/// `GOMP_parallel(fn, data, num_threads, flags)`: runs `fn(data)` on each thread of a team, the caller's among them.
type Parallel =
    unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// The start of memory that several threads use, each its own part where it writes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<T>(*mut T);

// SAFETY: whoever goes through the pointer says why it may.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

/// Whether [`share`] has libtorch's team, and not the caller's thread alone.
pub(super) fn has_team() -> bool {
    parallel().is_some()
}

/// Runs `tasks` tasks on libtorch's threads, each thread with a scratch of its own; none may panic.
pub(super) fn share<S>(
    tasks: usize,
    scratch: impl Fn() -> S + Sync,
    run: impl Fn(&mut S, usize) + Sync,
) {
    let next = AtomicUsize::new(0);
    on_each_thread(&|| {
        let mut scratch = scratch();
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                break;
            }
            run(&mut scratch, task);
        }
    });
}

/// Runs `body` once on each of libtorch's threads, as many as it uses itself for one operator, and waits for them.
///
/// `body` shares its work through an atomic counter, so it is right on any number of threads; it must not panic.
fn on_each_thread<F: Fn() + Sync>(body: &F) {
    unsafe extern "C" fn call<F: Fn() + Sync>(body: *mut c_void) {
        // SAFETY: `on_each_thread` passes a pointer to a live `F`, which may be shared between threads.
        unsafe { (*body.cast::<F>())() }
    }
    let threads = team_size() as c_uint;
    match parallel() {
        Some(parallel) if threads > 1 => {
            let data = std::ptr::from_ref(body).cast_mut().cast();
            // SAFETY: the signature is libgomp's; `body` outlives the call, which returns when every thread has.
            unsafe { parallel(call::<F>, data, threads, 0) }
        }
        _ => body(),
    }
}

/// Makes the caller a team of `threads`, its own among them, which stays, asleep, until the caller's thread ends.
pub(super) fn make_team(threads: usize) {
    unsafe extern "C" fn nothing(_: *mut c_void) {}
    if let Some(parallel) = parallel() {
        // SAFETY: the signature is libgomp's, and `nothing` looks at nothing.
        unsafe { parallel(nothing, std::ptr::null_mut(), threads as c_uint, 0) }
    }
}

/// The threads that libtorch uses for one operator, from 1.
pub(super) fn team_size() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// The processors that the OpenMP library counts; `None` where libtorch has no such library.
pub(super) fn processors() -> Option<usize> {
    let process = Library::this();
    // SAFETY: the OpenMP specification's `int omp_get_num_procs(void)`.
    let count = unsafe {
        (*process.get::<unsafe extern "C" fn() -> c_int>(b"omp_get_num_procs\0").ok()?)()
    };
    usize::try_from(count).ok()
}

/// The entry point of the OpenMP library that libtorch is linked to.
fn parallel() -> Option<Parallel> {
    static PARALLEL: OnceLock<Option<Parallel>> = OnceLock::new();
    *PARALLEL.get_or_init(|| {
        let process = Library::this();
        // SAFETY: GCC's and LLVM's OpenMP both export it with this signature.
        let symbol = unsafe { process.get::<Parallel>(b"GOMP_parallel\0") };
        symbol.ok().map(|it| *it)
    })
}

// === impl Shared ===

impl<T> Shared<T> {
    pub(super) fn new(start: *mut T) -> Self {
        Self(start)
    }

    /// # Safety
    /// As for `pointer::add`.
    pub(super) unsafe fn at(&self, offset: usize) -> *mut T {
        // SAFETY: the caller's promise.
        unsafe { self.0.add(offset) }
    }
}

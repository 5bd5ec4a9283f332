//! Parallel loops on libtorch's own OpenMP threads, since a second pool would compete with its threads, which busy-wait
//! for a while after each call.
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

/// `GOMP_parallel(fn, data, num_threads, flags)`: runs `fn(data)` on each thread of a team, including the caller's.
type Parallel =
    unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// A pointer to memory that several threads access, each writing to its own part.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shared<T>(*mut T);

// SAFETY: whoever goes through the pointer says why it may.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

/// Whether [`share`] runs on libtorch's threads instead of the caller's alone.
pub(super) fn has_team() -> bool {
    parallel().is_some()
}

/// Runs `tasks` tasks on libtorch's threads, with one scratch value per thread; tasks must not panic.
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

/// Runs `body` once on each of libtorch's intra-op threads and waits for them.
///
/// `body` distributes work by an atomic counter, so it is correct for any number of threads; it must not panic.
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

/// Creates an OpenMP team of `threads`, including the caller's, whose threads sleep until the caller's thread ends.
pub(super) fn make_team(threads: usize) {
    unsafe extern "C" fn nothing(_: *mut c_void) {}
    if let Some(parallel) = parallel() {
        // SAFETY: the signature is libgomp's, and `nothing` looks at nothing.
        unsafe { parallel(nothing, std::ptr::null_mut(), threads as c_uint, 0) }
    }
}

/// Number of libtorch's intra-op threads, at least 1.
pub(super) fn team_size() -> usize {
    tch::get_num_threads().max(1) as usize
}

/// Number of processors by OpenMP; `None` if libtorch has no OpenMP library.
pub(super) fn processors() -> Option<usize> {
    let process = Library::this();
    // SAFETY: the OpenMP specification's `int omp_get_num_procs(void)`.
    let count = unsafe {
        (*process.get::<unsafe extern "C" fn() -> c_int>(b"omp_get_num_procs\0").ok()?)()
    };
    usize::try_from(count).ok()
}

/// `GOMP_parallel` of the OpenMP library that libtorch is linked to.
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

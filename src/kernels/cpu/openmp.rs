//! Parallel loops on libtorch's own OpenMP threads, since a second pool would compete with its threads, which busy-wait
//! for a while after each call.
#![expect(
    unsafe_code,
    reason = "libgomp's entry point is found by name and called through a pointer"
)]

use std::{
    ffi::{c_int, c_uint, c_void},
    sync::{Mutex, OnceLock, PoisonError},
};

use libloading::os::unix::Library;

/// `GOMP_parallel(fn, data, num_threads, flags)`: runs `fn(data)` on each thread of a team, including the caller's.
type Parallel =
    unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// Whether [`share`] runs on libtorch's threads instead of the caller's alone.
pub(super) fn has_team() -> bool {
    parallel().is_some()
}

/// Runs the tasks on libtorch's threads, with one scratch value per thread; a panic in one ends the process.
pub(super) fn share<T: Send, S>(
    tasks: impl Iterator<Item = T> + Send,
    scratch: impl Fn() -> S + Sync,
    run: impl Fn(&mut S, T) + Sync,
) {
    let tasks = Mutex::new(tasks);
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
    on_each_thread(&|| {
        let mut scratch = scratch();
        while let Some(task) = next() {
            run(&mut scratch, task);
        }
    });
}

/// Runs `body` once on each of libtorch's intra-op threads and waits for them.
///
/// `body` must be correct for any number of threads, since libgomp may start fewer; a panic in it ends the process.
fn on_each_thread<F: Fn() + Sync>(body: &F) {
    unsafe extern "C" fn call<F: Fn() + Sync>(body: *mut c_void) {
        // SAFETY: `on_each_thread` passes a pointer to an `F` that outlives the call, and `F` is `Sync`.
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
    // SAFETY: the signature is the OpenMP specification's: `int omp_get_num_procs(void)`.
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

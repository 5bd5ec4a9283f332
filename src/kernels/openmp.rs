//! Work on libtorch's own threads: a second pool would fight its workers, which spin for a while after each call.
#![expect(
    unsafe_code,
    reason = "libgomp's entry point is found by name and called through a pointer"
)]

use std::{
    ffi::{c_uint, c_void},
    sync::OnceLock,
};

use libloading::os::unix::Library;

/// `GOMP_parallel(fn, data, num_threads, flags)`: runs `fn(data)` on each thread of a team, the caller's among them.
type Parallel =
    unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, c_uint, c_uint);

/// Whether [`on_each_thread`] has libtorch's team, and not the caller's thread alone.
pub(super) fn has_team() -> bool {
    parallel().is_some()
}

/// Runs `body` once on each of libtorch's threads, as many as it uses itself for one operator, and waits for them.
///
/// `body` shares its work through an atomic counter, so it is right on any number of threads; it must not panic.
pub(super) fn on_each_thread<F: Fn() + Sync>(body: &F) {
    unsafe extern "C" fn call<F: Fn() + Sync>(body: *mut c_void) {
        // SAFETY: `on_each_thread` passes a pointer to a live `F`, which may be shared between threads.
        unsafe { (*body.cast::<F>())() }
    }
    let threads = tch::get_num_threads().max(1) as c_uint;
    match parallel() {
        Some(parallel) if threads > 1 => {
            let data = std::ptr::from_ref(body).cast_mut().cast();
            // SAFETY: the signature is libgomp's; `body` outlives the call, which returns when every thread has.
            unsafe { parallel(call::<F>, data, threads, 0) }
        }
        _ => body(),
    }
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

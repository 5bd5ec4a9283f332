//! Memory that was freed, given back to the system.
#![expect(unsafe_code, reason = "glibc's function is found by name and called through a pointer")]

use std::{ffi::c_int, sync::OnceLock};

use libloading::os::unix::Library;

/// `malloc_trim(pad)`: gives back what is free, but for `pad` bytes.
type Trim = unsafe extern "C" fn(usize) -> c_int;

/// Gives back what was freed and is still held for later allocations, as glibc does with all but the largest tensors;
/// what other C libraries hold stays theirs.
///
/// It takes milliseconds for each gigabyte, so that it is for what was large and is gone for long.
pub fn give_back() {
    static TRIM: OnceLock<Option<Trim>> = OnceLock::new();
    let trim = TRIM.get_or_init(|| {
        // SAFETY: the type is that of glibc's declaration.
        unsafe { Library::this().get::<Trim>(b"malloc_trim\0") }.ok().map(|it| *it)
    });
    if let Some(trim) = trim {
        // SAFETY: it may be called at any time from any thread.
        unsafe { trim(0) };
    }
}

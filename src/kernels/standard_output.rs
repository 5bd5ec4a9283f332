//! Detects whether standard output was open when the process started.
//!
//! Before `main`, Rust opens `/dev/null` in place of a closed standard stream, and output is then lost without an
//! error. So the check runs before Rust's runtime, from the ELF section `.init_array`.
#![expect(unsafe_code, reason = "a function is named to the loader by a section of the binary")]

use std::{
    os::fd::BorrowedFd,
    sync::atomic::{AtomicBool, Ordering},
};

static WAS_OPEN: AtomicBool = AtomicBool::new(true);

#[cfg(target_os = "linux")]
#[used]
// SAFETY: the loader calls it once, with arguments that it ignores; it makes one system call and stores the result.
#[unsafe(link_section = ".init_array")]
static LOOK: extern "C" fn() = {
    extern "C" fn look() {
        // SAFETY: the number is asked about, not used; a number that is not open is an answer.
        let stdout = unsafe { BorrowedFd::borrow_raw(1) };
        let found = rustix::io::fcntl_getfd(stdout);
        WAS_OPEN.store(found.is_ok(), Ordering::Relaxed);
    }
    look
};

/// Whether standard output was open when the process started; `true` if unknown.
pub fn was_open() -> bool {
    WAS_OPEN.load(Ordering::Relaxed)
}

//! The optional GPU library `libretouch_cuda.so`: CUDA graphs, fused kernels, events.
//!
//! tch gives no access to libtorch's `CUDAGraph` or to custom kernels, and a binary that also runs without a GPU must
//! not link them. So the C++ sources in this folder are compiled to a shared library (`make cuda-library`) and loaded
//! at run time.
#![expect(unsafe_code, reason = "calls a library that is opened at run time")]

pub mod event;
pub mod fused;
pub mod graph;

use std::{
    ffi::{CStr, c_char, c_void},
    path::{Path, PathBuf},
    ptr::NonNull,
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// The library's file name.
pub const LIBRARY: &str = "libretouch_cuda.so";

/// Why the library can't be used, or what failed in it.
#[derive(Debug, thiserror::Error)]
pub enum CudaLibraryError {
    /// The library is in none of the folders.
    #[error("`{LIBRARY}` is not in {}: build it with `make cuda-library`", list(.tried))]
    Missing {
        /// Folders that were searched.
        tried: Vec<PathBuf>,
    },
    /// The library can't be loaded: it was built for another libtorch or another version of retouch.
    #[error(
        "{} can't be loaded with this libtorch (2.11): it was built for another version; build it again with \
         `make cuda-library`",
        .library.display()
    )]
    Unloadable {
        /// Path of the library.
        library: PathBuf,
        /// The loader's error.
        source: libloading::Error,
    },
    /// libtorch or CUDA returned an error.
    #[error("{what}: {message}")]
    Refused {
        /// The operation.
        what: &'static str,
        /// The error message, without debugging hints.
        message: String,
    },
}

/// Null on success, else an error message that is valid until the thread's next call.
type ErrorText = *const c_char;

/// Loads the library from the first of `folders` that has it, for the rest of the process, and looks up functions.
fn open<T>(
    folders: &[PathBuf],
    find: impl FnOnce(&Library) -> Result<T, libloading::Error>,
) -> Result<T, CudaLibraryError> {
    let found = folders.iter().map(|it| it.join(LIBRARY)).find(|it| it.exists());
    let library = found.ok_or_else(|| CudaLibraryError::Missing { tried: folders.to_vec() })?;
    load(&library)
        .and_then(|it| find(&it))
        .map_err(|source| CudaLibraryError::Unloadable { library, source })
}

fn load(path: &Path) -> Result<std::mem::ManuallyDrop<Library>, libloading::Error> {
    // SAFETY: the library has no initializers of its own. With `RTLD_NOW` a symbol missing from this libtorch is an
    // error here.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(std::mem::ManuallyDrop::new)
}

fn made(handle: *mut c_void) -> NonNull<c_void> {
    NonNull::new(handle).expect("the library writes a handle where nothing went wrong")
}

fn checked(what: &'static str, outcome: ErrorText) -> Result<(), CudaLibraryError> {
    if outcome.is_null() {
        return Ok(());
    }
    // SAFETY: the library's text, which is valid until this thread's next call.
    let message = unsafe { CStr::from_ptr(outcome) }.to_string_lossy();
    Err(CudaLibraryError::Refused { what, message: first_line(&message) })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ")
}

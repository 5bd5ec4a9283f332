//! The library that a GPU adds: CUDA graphs, layers in one pass over memory, and events.
//!
//! tch does not reach libtorch's `CUDAGraph`, nor a kernel of one's own, and a binary that runs without a GPU must not link either.
//! So the C++ beside this file, a library of its own that `make cuda-library` compiles, is opened at run time.
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

/// Why the library is of no use, or what it could not do.
#[derive(Debug, thiserror::Error)]
pub enum CudaLibraryError {
    /// None of the folders holds the library.
    #[error("`{LIBRARY}` is not in {}: build it with `make cuda-library`", list(.tried))]
    Missing {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// The library is there but cannot be loaded: it was built for another libtorch, or by another retouch.
    #[error("{} does not load beside this libtorch 2.11: build it again with `make cuda-library`", .library.display())]
    Unloadable {
        /// The file that was opened.
        library: PathBuf,
        /// What the loader says.
        source: libloading::Error,
    },
    /// libtorch or CUDA refused.
    #[error("{what}: {message}")]
    Refused {
        /// What was asked of it.
        what: &'static str,
        /// Its reason, without the lines on how to debug it.
        message: String,
    },
}

/// Null, or what went wrong, valid until the thread's next call.
type Outcome = *const c_char;

/// Opens the library, from the first of `folders` that has it, for the rest of the process, and finds functions in it.
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
    // SAFETY: the library has no initializers of its own. `RTLD_NOW` makes a symbol that this libtorch lacks an error here.
    unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }.map(std::mem::ManuallyDrop::new)
}

fn made(handle: *mut c_void) -> NonNull<c_void> {
    NonNull::new(handle).expect("the library writes a handle where nothing went wrong")
}

fn checked(what: &'static str, outcome: Outcome) -> Result<(), CudaLibraryError> {
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

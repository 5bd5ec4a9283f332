//! CUDA events: wait for work launched so far, but not for work launched later.

use std::{
    ffi::{c_int, c_void},
    path::PathBuf,
    ptr::{self, NonNull},
    sync::OnceLock,
};

use tch::Device;

use crate::kernels::gpu::library::{self, CudaLibraryError, ErrorText, checked, made};

static FUNCTIONS: OnceLock<Functions> = OnceLock::new();

/// A recorded CUDA event.
#[derive(Debug)]
pub struct Event(NonNull<c_void>, Functions);

/// The library's functions; the library is never unloaded.
#[derive(Debug, Clone, Copy)]
struct Functions {
    new: unsafe extern "C" fn(c_int, *mut *mut c_void) -> ErrorText,
    wait: unsafe extern "C" fn(*mut c_void) -> ErrorText,
    free: unsafe extern "C" fn(*mut c_void) -> ErrorText,
}

// SAFETY: CUDA ties an event to no thread, and only one thread uses it at a time, since it is not `Sync`.
unsafe impl Send for Event {}

/// Loads the library from the first of `folders` that has it, for all events of this process.
///
/// [`open_cuda`](crate::kernels::gpu::cuda::open_cuda) must have been called before, since the library depends on it.
///
/// # Errors
/// [`CudaLibraryError`] if the library is missing or of another version.
pub fn open(folders: &[PathBuf]) -> Result<(), CudaLibraryError> {
    let functions = library::open(folders, |library| {
        // SAFETY: the signatures are those of `event.cpp`.
        Ok(unsafe {
            Functions {
                new: *library.get(b"retouch_event_new\0")?,
                wait: *library.get(b"retouch_event_wait\0")?,
                free: *library.get(b"retouch_event_free\0")?,
            }
        })
    })?;
    FUNCTIONS.get_or_init(|| functions);
    Ok(())
}

impl Event {
    /// Records an event after everything that this thread has launched on a device; `None` on devices other than GPUs,
    /// and before [`open()`].
    pub fn now(device: Device) -> Option<Self> {
        let (Device::Cuda(index), Some(functions)) = (device, FUNCTIONS.get()) else { return None };
        let mut handle = ptr::null_mut();
        // SAFETY: the signature is that of `event.cpp`; the pointer is valid for the call.
        let outcome = unsafe { (functions.new)(index as c_int, &raw mut handle) };
        or_panic(checked("no event", outcome));
        Some(Self(made(handle), *functions))
    }

    /// Waits until the device has reached the event.
    pub fn wait(self) {
        // SAFETY: the handle is freed on drop only.
        or_panic(checked("a device did not come to its work's end", unsafe {
            (self.1.wait)(self.0.as_ptr())
        }));
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the handle is freed here only, and not used again; CUDA keeps the event until it has been reached.
        let freed = checked("an event was not freed", unsafe { (self.1.free)(self.0.as_ptr()) });
        if let Err(error) = freed {
            tracing::warn!(%error);
        }
    }
}

/// Panics on failure, like tch's operators.
fn or_panic(outcome: Result<(), CudaLibraryError>) {
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

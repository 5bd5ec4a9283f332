//! CUDA graphs: GPU work that is recorded once and then replayed by a single launch.

use std::{
    any::Any,
    ffi::{c_int, c_void},
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    ptr::{self, NonNull},
};

use crate::kernels::gpu::library::{CudaLibraryError, ErrorText, checked, first_line, made, open};

/// Records CUDA graphs on one device. The graphs share a memory pool, since only one runs at a time.
#[derive(Debug)]
pub struct CudaRecorder {
    functions: Functions,
    handle: NonNull<c_void>,
}

/// A recorded CUDA graph.
#[derive(Debug)]
pub struct CudaGraph {
    functions: Functions,
    handle: NonNull<c_void>,
}

/// The library's functions; the library is never unloaded.
#[derive(Debug, Clone, Copy)]
struct Functions {
    recorder_new: unsafe extern "C" fn(c_int, *mut *mut c_void) -> ErrorText,
    graph_begin: unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> ErrorText,
    graph_end: unsafe extern "C" fn(*mut c_void) -> ErrorText,
    graph_replay: unsafe extern "C" fn(*mut c_void) -> ErrorText,
    graph_free: unsafe extern "C" fn(*mut c_void) -> ErrorText,
}

// SAFETY: libtorch ties a recorder to no thread, and only one thread uses it at a time, since it is not `Sync`.
unsafe impl Send for CudaRecorder {}
// SAFETY: libtorch ties a finished graph to no thread, and only one thread uses it at a time, since it is not `Sync`.
unsafe impl Send for CudaGraph {}

// === impl CudaRecorder ===

impl CudaRecorder {
    /// Loads the library from the first of `folders` that has it, for a device of this process.
    ///
    /// [`open_cuda`](crate::kernels::gpu::cuda::open_cuda) must have been called before, since the library depends on
    /// it.
    ///
    /// # Errors
    /// [`CudaLibraryError`] if the library is missing or of another version, or if there is no such device.
    pub fn open(device: usize, folders: &[PathBuf]) -> Result<Self, CudaLibraryError> {
        let functions = Functions::open(folders)?;
        let mut handle = ptr::null_mut();
        // SAFETY: the signature is that of `graph.cpp`; the pointer is valid for the call.
        let outcome = unsafe { (functions.recorder_new)(device as c_int, &raw mut handle) };
        checked("no recorder of CUDA graphs", outcome)?;
        Ok(Self { functions, handle: made(handle) })
    }

    /// Records what `work` launches on the device, without running it.
    ///
    /// Tensors that it reads and writes must outlive the graph at the same address; tensors that it creates and drops
    /// belong to the graph. It must not synchronize with the device. A panic in it ends the recording and is returned
    /// as an error.
    ///
    /// # Errors
    /// [`CudaLibraryError::Refused`] if the work can't be recorded.
    pub fn record(&self, work: &mut dyn FnMut()) -> Result<CudaGraph, CudaLibraryError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the signature is that of `graph.cpp`; the recorder is never freed, the pointer valid for the call.
        let outcome =
            unsafe { (self.functions.graph_begin)(self.handle.as_ptr(), &raw mut handle) };
        checked("a recording did not begin", outcome)?;
        let graph = CudaGraph { functions: self.functions, handle: made(handle) };
        let worked = panic::catch_unwind(AssertUnwindSafe(work));
        // SAFETY: the handle is of the recording that this thread began above.
        let outcome = unsafe { (self.functions.graph_end)(graph.handle.as_ptr()) };
        let ended = checked("a recording did not end", outcome);
        worked.map_err(|panic| CudaLibraryError::Refused {
            what: "a call can't be recorded",
            message: first_line(&message_of(panic.as_ref())),
        })?;
        ended.map(|()| graph)
    }
}

// === impl CudaGraph ===

impl CudaGraph {
    /// Launches the recorded work after everything that was launched before; returns without waiting for it.
    ///
    /// # Errors
    /// [`CudaLibraryError::Refused`] if the launch fails.
    pub fn replay(&mut self) -> Result<(), CudaLibraryError> {
        // SAFETY: the handle is that of a recording that has ended, and is freed on drop only.
        checked("a recording was not played", unsafe {
            (self.functions.graph_replay)(self.handle.as_ptr())
        })
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: the handle is freed here only, and not used again.
        let freed = checked("a recording was not freed", unsafe {
            (self.functions.graph_free)(self.handle.as_ptr())
        });
        if let Err(error) = freed {
            tracing::warn!(%error);
        }
    }
}

// === impl Functions ===

impl Functions {
    fn open(folders: &[PathBuf]) -> Result<Self, CudaLibraryError> {
        open(folders, |library| {
            // SAFETY: the signatures are those of `graph.cpp`.
            Ok(unsafe {
                Self {
                    recorder_new: *library.get(b"retouch_recorder_new\0")?,
                    graph_begin: *library.get(b"retouch_graph_begin\0")?,
                    graph_end: *library.get(b"retouch_graph_end\0")?,
                    graph_replay: *library.get(b"retouch_graph_replay\0")?,
                    graph_free: *library.get(b"retouch_graph_free\0")?,
                }
            })
        })
    }
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&it| it.to_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use crate::kernels::gpu::library::LIBRARY;

    use super::*;

    #[test]
    fn a_missing_library_names_every_folder_and_the_remedy() {
        let folders = ["/nowhere/bin", "/nowhere/share"].map(PathBuf::from);
        let error = CudaRecorder::open(0, &folders).unwrap_err();
        assert!(matches!(error, CudaLibraryError::Missing { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("/nowhere/bin, /nowhere/share: build it with `make cuda-library`"),
            "{text}"
        );
    }

    #[test]
    fn a_library_that_needs_another_libtorch_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("shim.c"), "void absent(void); void use(void) { absent(); }")
            .unwrap();
        let path = folder.path().join(LIBRARY);
        let mut cc = Command::new("cc");
        cc.current_dir(folder.path()).args(["-shared", "-fPIC", "shim.c", "-o"]).arg(&path);
        assert!(cc.status().unwrap().success());
        let error = CudaRecorder::open(0, &[folder.path().to_owned()]).unwrap_err();
        assert!(matches!(error, CudaLibraryError::Unloadable { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }

    /// A mock library that records nothing and counts calls: its graphs are the numbers of calls of each function.
    const COUNTING: &str = r#"
        static long calls[4];
        static int refuses;
        const char *retouch_recorder_new(int device, void **recorder) {
            refuses = device;
            *recorder = calls;
            return device > 1 ? "no such device\nand how to debug it" : 0;
        }
        const char *retouch_graph_begin(void *recorder, void **graph) {
            ++calls[0];
            *graph = recorder;
            return 0;
        }
        const char *retouch_graph_end(void *graph) { ++calls[1]; return refuses ? "it was invalid" : 0; }
        const char *retouch_graph_replay(void *graph) { ++calls[2]; return 0; }
        const char *retouch_graph_free(void *graph) { ++calls[3]; return 0; }
    "#;

    /// Each in a process's library of its own, whose counts start at 0.
    fn counting(device: usize) -> Result<CudaRecorder, CudaLibraryError> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("shim.c"), COUNTING).unwrap();
        let mut cc = Command::new("cc");
        cc.current_dir(folder.path()).args(["-shared", "-fPIC", "shim.c", "-o", LIBRARY]);
        assert!(cc.status().unwrap().success());
        CudaRecorder::open(device, &[folder.path().to_owned()])
    }

    fn counts(recorder: &CudaRecorder) -> [i64; 4] {
        // SAFETY: the counting library's recorder is its counts.
        unsafe { *recorder.handle.as_ptr().cast() }
    }

    #[test]
    fn a_recording_is_begun_ended_played_and_freed_once() {
        let recorder = counting(0).unwrap();
        let mut worked = 0;
        let mut graph = recorder.record(&mut || worked += 1).unwrap();
        graph.replay().unwrap();
        graph.replay().unwrap();
        assert_eq!((worked, counts(&recorder)), (1, [1, 1, 2, 0]));
        drop(graph);
        assert_eq!(counts(&recorder), [1, 1, 2, 1]);
    }

    #[test]
    fn work_that_panics_ends_its_recording() {
        let recorder = counting(0).unwrap();
        let error = recorder.record(&mut || panic!("not permitted\nat all")).unwrap_err();
        assert_eq!(error.to_string(), "a call can't be recorded: not permitted");
        assert_eq!(counts(&recorder), [1, 1, 0, 1]);
    }

    #[test]
    fn what_the_library_refuses_is_told_in_a_line() {
        let recorder = counting(1).unwrap();
        let error = recorder.record(&mut || ()).unwrap_err();
        assert_eq!(error.to_string(), "a recording did not end: it was invalid");
        assert_eq!(counts(&recorder), [1, 1, 0, 1]);
        let error = counting(2).unwrap_err();
        assert_eq!(error.to_string(), "no recorder of CUDA graphs: no such device");
    }
}

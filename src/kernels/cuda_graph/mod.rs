//! CUDA graphs: work on a GPU that is written down once and then done again by one launch.
//!
//! tch does not reach libtorch's `CUDAGraph`, and a binary that runs without a GPU must not link it. So `shim.cpp` beside this
//! file, a library of its own that `make cuda-graph` compiles, is opened at run time.
#![expect(unsafe_code, reason = "calls a library that is opened at run time")]

use std::{
    any::Any,
    ffi::{CStr, c_char, c_int, c_void},
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    ptr::{self, NonNull},
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// The library's file name.
pub const LIBRARY: &str = "libretouch_cuda_graph.so";

/// Why nothing was recorded or played.
#[derive(Debug, thiserror::Error)]
pub enum CudaGraphError {
    /// None of the folders holds the library.
    #[error("`{LIBRARY}` is not in {}: build it with `make cuda-graph`", list(.tried))]
    Missing {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },
    /// The library is there but cannot be loaded: it was built for another libtorch, or by another retouch.
    #[error("{} does not load beside this libtorch 2.11: build it again with `make cuda-graph`", .library.display())]
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

/// Where the graphs of one device are recorded; they share memory, since one runs at a time.
#[derive(Debug)]
pub struct CudaRecorder {
    shim: Shim,
    handle: NonNull<c_void>,
}

/// Recorded work.
#[derive(Debug)]
pub struct CudaGraph {
    shim: Shim,
    handle: NonNull<c_void>,
}

/// Null, or what went wrong, valid until the thread's next call.
type Outcome = *const c_char;

/// The library's functions; it is never closed.
#[derive(Debug, Clone, Copy)]
struct Shim {
    recorder_new: unsafe extern "C" fn(c_int, *mut *mut c_void) -> Outcome,
    graph_begin: unsafe extern "C" fn(*mut c_void, *mut *mut c_void) -> Outcome,
    graph_end: unsafe extern "C" fn(*mut c_void) -> Outcome,
    graph_replay: unsafe extern "C" fn(*mut c_void) -> Outcome,
    graph_free: unsafe extern "C" fn(*mut c_void) -> Outcome,
}

// SAFETY: a recorder is used by one thread at a time, and libtorch ties neither it nor a finished graph to a thread.
unsafe impl Send for CudaRecorder {}
// SAFETY: as above.
unsafe impl Send for CudaGraph {}

// === impl CudaRecorder ===

impl CudaRecorder {
    /// Opens the library, from the first of `folders` that has it, for a device of this process.
    ///
    /// [`open_cuda`](super::cuda::open_cuda) must have been called: the library uses what that has opened.
    ///
    /// # Errors
    /// [`CudaGraphError`] if the library is missing or of another version, or if there is no such device.
    pub fn open(device: usize, folders: &[PathBuf]) -> Result<Self, CudaGraphError> {
        let shim = Shim::open(folders)?;
        let mut handle = ptr::null_mut();
        // SAFETY: the library's interface; it writes one handle where nothing went wrong.
        let outcome = unsafe { (shim.recorder_new)(device as c_int, &raw mut handle) };
        checked("no recorder of CUDA graphs", outcome)?;
        Ok(Self { shim, handle: made(handle) })
    }

    /// Records what `work` asks of the device, none of which is done yet.
    ///
    /// The tensors that it reads and writes must stay where they are as long as the graph, those that it makes and drops are the
    /// graph's own. It must not wait for the device. A panic in it ends the recording and is an error.
    ///
    /// # Errors
    /// [`CudaGraphError::Refused`] if the work can't be recorded.
    pub fn record(&self, work: &mut dyn FnMut()) -> Result<CudaGraph, CudaGraphError> {
        let mut handle = ptr::null_mut();
        // SAFETY: the library's interface; the recorder lives as long as the process.
        let outcome = unsafe { (self.shim.graph_begin)(self.handle.as_ptr(), &raw mut handle) };
        checked("a recording did not begin", outcome)?;
        let graph = CudaGraph { shim: self.shim, handle: made(handle) };
        let worked = panic::catch_unwind(AssertUnwindSafe(work));
        // SAFETY: the handle is of the recording that this thread began above.
        let outcome = unsafe { (self.shim.graph_end)(graph.handle.as_ptr()) };
        let ended = checked("a recording did not end", outcome);
        worked.map_err(|panic| CudaGraphError::Refused {
            what: "a call can't be recorded",
            message: first_line(&message_of(panic.as_ref())),
        })?;
        ended.map(|()| graph)
    }
}

// === impl CudaGraph ===

impl CudaGraph {
    /// Does the recorded work once more, after all that was asked of the device before; returns before it is done.
    ///
    /// # Errors
    /// [`CudaGraphError::Refused`] if the device refuses it.
    pub fn replay(&mut self) -> Result<(), CudaGraphError> {
        // SAFETY: a handle of a recording that has ended.
        checked("a recording was not played", unsafe {
            (self.shim.graph_replay)(self.handle.as_ptr())
        })
    }
}

impl Drop for CudaGraph {
    fn drop(&mut self) {
        // SAFETY: nobody uses the handle any more.
        let freed = checked("a recording was not freed", unsafe {
            (self.shim.graph_free)(self.handle.as_ptr())
        });
        if let Err(error) = freed {
            tracing::warn!(%error);
        }
    }
}

// === impl Shim ===

impl Shim {
    fn open(folders: &[PathBuf]) -> Result<Self, CudaGraphError> {
        let found = folders.iter().map(|it| it.join(LIBRARY)).find(|it| it.exists());
        let library = found.ok_or_else(|| CudaGraphError::Missing { tried: folders.to_vec() })?;
        Self::load(&library).map_err(|source| CudaGraphError::Unloadable { library, source })
    }

    fn load(path: &Path) -> Result<Self, libloading::Error> {
        // SAFETY: the library has no initializers of its own. `RTLD_NOW` makes a symbol that this libtorch lacks an error here.
        let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) }?;
        // SAFETY: the signatures are those of `shim.cpp`.
        let shim = unsafe {
            Self {
                recorder_new: *library.get(b"retouch_recorder_new\0")?,
                graph_begin: *library.get(b"retouch_graph_begin\0")?,
                graph_end: *library.get(b"retouch_graph_end\0")?,
                graph_replay: *library.get(b"retouch_graph_replay\0")?,
                graph_free: *library.get(b"retouch_graph_free\0")?,
            }
        };
        std::mem::forget(library);
        Ok(shim)
    }
}

fn made(handle: *mut c_void) -> NonNull<c_void> {
    NonNull::new(handle).expect("the library writes a handle where nothing went wrong")
}

fn checked(what: &'static str, outcome: Outcome) -> Result<(), CudaGraphError> {
    if outcome.is_null() {
        return Ok(());
    }
    // SAFETY: the library's text, which is valid until this thread's next call.
    let message = unsafe { CStr::from_ptr(outcome) }.to_string_lossy();
    Err(CudaGraphError::Refused { what, message: first_line(&message) })
}

fn first_line(message: &str) -> String {
    message.lines().next().unwrap_or_default().to_owned()
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|&it| it.to_owned())).unwrap_or_default()
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|it| it.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn a_missing_library_names_every_folder_and_the_remedy() {
        let folders = ["/nowhere/bin", "/nowhere/share"].map(PathBuf::from);
        let error = CudaRecorder::open(0, &folders).unwrap_err();
        assert!(matches!(error, CudaGraphError::Missing { .. }), "{error:?}");
        let text = error.to_string();
        assert!(
            text.contains("/nowhere/bin, /nowhere/share: build it with `make cuda-graph`"),
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
        assert!(matches!(error, CudaGraphError::Unloadable { .. }), "{error:?}");
        assert!(error.to_string().starts_with(&path.display().to_string()), "{error}");
    }

    /// A library that records nothing and counts: its graphs are the numbers of calls of each function.
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
    fn counting(device: usize) -> Result<CudaRecorder, CudaGraphError> {
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

//! Recorders of a device's work, of which one makes CUDA graphs.

use crate::kernels::gpu::library::{CudaLibraryError, graph::CudaRecorder};

/// Records the work that a closure launches on a device.
pub trait Recorder: Send {
    /// Records `work`; whether the work has also been executed when this returns is left to the recorder.
    ///
    /// # Errors
    /// [`CudaLibraryError`] if the work can't be recorded.
    fn record(&self, work: &mut dyn FnMut()) -> Result<Replay, CudaLibraryError>;
}

/// Replays recorded work. It is passed the closure again, for recorders that can only execute it anew (those of tests).
pub type Replay = Box<dyn FnMut(&mut dyn FnMut()) -> Result<(), CudaLibraryError> + Send>;

impl Recorder for CudaRecorder {
    fn record(&self, work: &mut dyn FnMut()) -> Result<Replay, CudaLibraryError> {
        let mut graph = CudaRecorder::record(self, work)?;
        Ok(Box::new(move |_| graph.replay()))
    }
}

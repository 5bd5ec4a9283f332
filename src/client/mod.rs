//! Client of the gRPC service: connection, retried calls, followed jobs, and the manifest and progress of a batch.

pub mod calls;
pub mod connect;
pub mod error;
pub mod follow;
pub mod manifest;
pub mod refusal;
pub mod retry;
pub mod state_file;

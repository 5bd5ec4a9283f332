//! The gRPC server: the schema's service over the job store, and everything that a server in production has around it.

pub mod edit_service;
pub mod router;
pub mod status;

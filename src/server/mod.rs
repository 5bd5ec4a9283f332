//! The gRPC server: the schema's service over the job store, and everything that a server in production has around it.
//!
//! A call's way in: [`tls`] accepts the connection, [`telemetry::trace_layer`] opens its span, [`gate`] asks [`keys`] who calls and
//! refuses on the headers alone, then counts the body against the [`budget`]; [`edit_service`] does what is asked. [`ops`] answers
//! probes from a thread of its own, whatever the service is doing.

pub mod admission;
pub mod budget;
pub mod config;
pub mod config_check;
pub mod cors;
pub mod edit_service;
pub mod gate;
pub mod keys;
pub mod methods;
pub mod ops;
pub mod outcome;
pub mod refusal;
pub mod router;
pub mod stamp;
pub mod status;
pub mod telemetry;
pub mod tls;

//! The gRPC server: the schema's service over the job store, and everything that a server in production has around it.
//!
//! A call's way in: [`serving`] accepts the connection within the limits of [`connections`], over [`tls`] if it is set;
//! [`http_rules`] answers what is no gRPC, [`telemetry::trace_layer`] opens a span, [`gate`] asks [`keys`] who calls and
//! refuses on the headers alone, then has the body counted against the [`budget`]; [`edit_service`] does what is asked.
//! [`ops`] answers probes from a thread of its own, whatever the service is doing.

pub mod address;
pub mod admission;
mod body;
pub mod budget;
pub mod config;
pub mod config_check;
pub mod connections;
pub mod cors;
pub mod deadline;
pub mod edit_service;
pub mod gate;
pub mod http_rules;
pub mod keys;
mod messages;
pub mod methods;
pub mod open_files;
pub mod ops;
pub mod outcome;
mod peek;
pub mod refusal;
pub mod router;
pub mod serving;
pub mod stamp;
pub mod status;
pub mod telemetry;
pub mod tls;

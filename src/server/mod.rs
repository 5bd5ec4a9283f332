//! gRPC server over the job store, with TLS, authentication, rate limits, resource limits, telemetry and health checks.
//!
//! Path of a call: [`serving`] accepts the connection within the limits of [`connections`], over [`tls`] if configured;
//! [`browser`] refuses pages of other sites; [`router`] hands plain HTTP to its own routes; [`http_rules`] answers requests that are not gRPC; [`telemetry::trace_layer`] opens a span; [`gate`] authenticates
//! by [`keys`], refuses on the headers alone, then charges the body to the [`budget`]; [`edit_service`] handles the
//! method. [`ops`] answers probes, and KEDA by [`scaler`], from its own thread, even while the service is busy.

pub mod admission;
pub(crate) mod body;
pub mod browser;
pub mod budget;
pub mod config;
pub mod config_check;
pub mod connections;
pub mod cors;
pub mod deadline;
pub mod edit_service;
pub mod engine_config;
pub mod gate;
pub(crate) mod http_error;
pub mod http_rules;
pub mod keys;
mod linger;
pub mod listen_address;
mod messages;
pub mod methods;
pub mod open_files;
pub mod ops;
pub mod outcome;
mod peek;
pub mod refusal;
pub mod router;
pub mod scaler;
pub mod serving;
pub mod stamp;
pub mod status;
pub mod telemetry;
pub mod tls;
pub(crate) mod work;

//! Several processes over NATS JetStream, with real servers.

mod ambiguous;
mod checked;
mod conformance;
mod figures;
mod nats_server;
mod processes;
mod shared;

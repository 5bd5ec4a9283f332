//! Several processes over NATS JetStream, with real servers.

mod ambiguous;
mod conformance;
mod figures;
mod fleet;
mod kills;
mod load;
mod mixed;
mod nats_server;
mod partition;
mod power;
mod processes;
mod proxy;
mod roles;
mod scripted;
mod shared;

//! OpenAI's images API over HTTP, against the service with a scripted model.

mod browser;
mod described;
mod edits;
mod fields;
mod masks;
mod memory;
mod once;
mod plain;
mod refused;
mod streams;

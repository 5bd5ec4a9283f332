//! OpenAI's images API over HTTP, against the service with a scripted model.

mod browser;
mod edits;
mod fields;
mod masks;
mod once;
mod plain;
mod refused;
mod streams;

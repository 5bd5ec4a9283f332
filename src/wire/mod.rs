//! The generated gRPC schema (`proto/`), its conversions to the library's types, and the JSON
//! formats of events, records and saved localizations.

pub mod edit_record;
pub mod edit_request;
pub mod enums;
pub mod event_json;
pub mod events;
pub mod localization_json;
pub mod masks;
pub mod message_json;
pub mod overrides;
pub mod pictures;
pub mod reason;
pub mod result_file;
pub mod spec;
pub mod violation;

/// The messages and services of `retouch.v1`.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated; the schema holds the documentation"
)]
pub mod v1 {
    tonic::include_proto!("retouch.v1");
}

/// The journal's own messages.
pub mod journal {
    /// The messages of `retouch.journal.v1`.
    #[allow(
        missing_docs,
        clippy::all,
        clippy::pedantic,
        reason = "generated; the schema holds the documentation"
    )]
    pub mod v1 {
        tonic::include_proto!("retouch.journal.v1");
    }
}

/// The messages and service of KEDA's external scalers.
#[allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    reason = "generated; the schema holds the documentation"
)]
pub mod externalscaler {
    tonic::include_proto!("externalscaler");
}

/// The schema as an encoded `google.protobuf.FileDescriptorSet`, for server reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/schema.bin"));

//! Table of the gRPC methods: required scopes and metric labels.

use crate::server::keys::Scope;

/// The service whose methods require scopes.
pub const EDIT_SERVICE: &str = "retouch.v1.EditService";

/// Methods of [`EDIT_SERVICE`]; a test compares them with the schema.
pub const EDIT_METHODS: [&str; 14] = [
    "/retouch.v1.EditService/StreamEdit",
    "/retouch.v1.EditService/Edit",
    "/retouch.v1.EditService/RunEdit",
    "/retouch.v1.EditService/CreateEditJob",
    "/retouch.v1.EditService/BatchCreateEditJobs",
    "/retouch.v1.EditService/GetEditJob",
    "/retouch.v1.EditService/ListEditJobs",
    "/retouch.v1.EditService/WatchEditJob",
    "/retouch.v1.EditService/SubmitMask",
    "/retouch.v1.EditService/CancelEditJob",
    "/retouch.v1.EditService/DeleteEditJob",
    "/retouch.v1.EditService/UploadArtifact",
    "/retouch.v1.EditService/DownloadArtifact",
    "/retouch.v1.EditService/DeleteArtifact",
];

/// The only method of the service that either scope may call.
pub const SERVER_INFO: &str = "/retouch.v1.EditService/GetServerInfo";

/// Methods of the standard services: health and reflection.
const COMMON_METHODS: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.health.v1.Health/List",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Streaming methods whose callers may pause between messages without limit, such as while a person decides on a mask.
pub const MAY_PAUSE: [&str; 3] = [
    "/retouch.v1.EditService/Edit",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Credentials that a method requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// None: a health probe.
    Nothing,
    /// A key of any scope.
    Key,
    /// A key of one of these scopes.
    OneOf(&'static [Scope]),
}

/// Credentials required for a path. An unknown path requires a key, then is UNIMPLEMENTED.
pub fn needs(path: &str) -> Needs {
    if path.starts_with("/grpc.health.v1.Health/") {
        Needs::Nothing
    } else if path == SERVER_INFO {
        Needs::OneOf(&[Scope::Edit, Scope::Admin])
    } else if path.strip_prefix('/').is_some_and(|it| it.starts_with(EDIT_SERVICE)) {
        Needs::OneOf(&[Scope::Edit])
    } else {
        Needs::Key
    }
}

/// Metric label of unknown paths.
pub const OTHER: &str = "other";

/// Metric label of a path: `service/method`, or [`OTHER`] for unknown paths, so that callers can't create series.
pub fn label(path: &str) -> &'static str {
    let known = EDIT_METHODS.iter().chain(&COMMON_METHODS).chain([&SERVER_INFO]);
    known.copied().find(|it| *it == path).map_or(OTHER, |it| &it[1..])
}

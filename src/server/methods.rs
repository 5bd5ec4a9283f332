//! The methods that are served, what each needs, and their names in metrics.

use crate::server::keys::Scope;

/// The service whose methods need a scope.
pub const EDIT_SERVICE: &str = "retouch.v1.EditService";

/// Methods of [`EDIT_SERVICE`]; a test holds them against the schema.
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

/// The one method that either scope may call.
pub const SERVER_INFO: &str = "/retouch.v1.EditService/GetServerInfo";

/// Methods of the services that every server has.
const COMMON_METHODS: [&str; 5] = [
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
    "/grpc.health.v1.Health/List",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Methods whose callers may pause between two messages, as long as they like: for a person who decides a mask, say.
pub const MAY_PAUSE: [&str; 3] = [
    "/retouch.v1.EditService/Edit",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// What a caller must show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// Nothing: a probe.
    Nothing,
    /// A key of any scope.
    Key,
    /// A key of one of these scopes.
    OneOf(&'static [Scope]),
}

/// What a caller of this path must show. A path that nobody serves needs a key, then is UNIMPLEMENTED.
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

/// What a metric names a path that nobody serves.
pub const OTHER: &str = "other";

/// A path as a metric names it: `service/method`, or [`OTHER`], so that callers can't make up series.
pub fn label(path: &str) -> &'static str {
    let known = EDIT_METHODS.iter().chain(&COMMON_METHODS).chain([&SERVER_INFO]);
    known.copied().find(|it| *it == path).map_or(OTHER, |it| &it[1..])
}

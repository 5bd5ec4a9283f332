//! What the queue refuses on a call's headers, before its body is read.

use std::sync::Arc;

use crate::jobs::store::Store;
use crate::server::{gate::Admission, keys::Caller, refusal::Refusal, status};

/// Calls that ask for a job.
const CREATING: [&str; 5] = [
    "/retouch.v1.EditService/StreamEdit",
    "/retouch.v1.EditService/Edit",
    "/retouch.v1.EditService/RunEdit",
    "/retouch.v1.EditService/CreateEditJob",
    "/retouch.v1.EditService/BatchCreateEditJobs",
];

/// The queue of a store as a doorkeeper.
///
/// A repeated `request_id` is refused with the others while the queue is full: who asks again later gets the same job.
#[derive(Debug)]
pub struct QueueAdmission(pub Arc<Store>);

impl Admission for QueueAdmission {
    fn refuse(&self, caller: &Caller, grpc_path: &str) -> Option<Refusal> {
        if !CREATING.contains(&grpc_path) {
            return None;
        }
        self.0.check_load(&caller.tenant).err().map(|fault| status::refusal(&fault))
    }
}

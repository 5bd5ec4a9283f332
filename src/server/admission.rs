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
/// A tenant whose job has lost its stream is let in: the same request attaches to that job, which is cancelled if none comes, and
/// any other is refused once its body is read. Other repeated requests are refused while the queue is full: who asks again later
/// gets the same job.
#[derive(Debug)]
pub struct QueueAdmission(pub Arc<Store>);

impl Admission for QueueAdmission {
    fn refuse(&self, caller: &Caller, grpc_path: &str) -> Option<Refusal> {
        if !CREATING.contains(&grpc_path) {
            return None;
        }
        let fault = self.0.check_load(&caller.tenant).err()?;
        let comes_back = self.0.model().is_some() && self.0.has_lonely(&caller.tenant);
        (!comes_back).then(|| status::refusal(&fault))
    }
}

//! Queue admission on a call's headers: refuses calls to a full queue before their body is read.

use std::sync::Arc;

use crate::jobs::store::Store;
use crate::server::{gate::Admission, keys::Caller, refusal::Refusal, status};

/// Calls that create jobs, all or none. A batch is always read, since each of its requests has its own outcome.
const CREATING: [&str; 5] = [
    "/retouch.v1.EditService/StreamEdit",
    "/retouch.v1.EditService/Edit",
    "/retouch.v1.EditService/RunEdit",
    "/retouch.v1.EditService/CreateEditJob",
    "/v1/images/edits",
];

/// Admission by the queue of a store.
///
/// Two kinds of calls are admitted to a full queue: those with a known request id, which get the existing job, and
/// those of a tenant whose job has lost its stream, since the call may be the reconnect that keeps the job from being
/// cancelled; any other is refused once its body is read.
#[derive(Debug)]
pub struct QueueAdmission(pub Arc<Store>);

impl Admission for QueueAdmission {
    fn refuse(&self, caller: &Caller, path: &str) -> Option<Refusal> {
        if !CREATING.contains(&path) {
            return None;
        }
        let fault = self.0.check_load(&caller.tenant).err()?;
        let comes_back = self.0.model().is_some() && self.0.has_lonely(&caller.tenant);
        (!comes_back).then(|| status::refusal(&fault))
    }
    fn knows(&self, caller: &Caller, request_id: &str) -> bool {
        self.0.knows_request(&caller.tenant, request_id)
    }
}

//! What the queue refuses on a call's headers, before its body is read.

use std::sync::Arc;

use crate::jobs::store::Store;
use crate::server::{gate::Admission, keys::Caller, refusal::Refusal, status};

/// Calls that ask for one job. A batch has an outcome for each of its requests, so that it is read in any case.
const CREATING: [&str; 4] = [
    "/retouch.v1.EditService/StreamEdit",
    "/retouch.v1.EditService/Edit",
    "/retouch.v1.EditService/RunEdit",
    "/retouch.v1.EditService/CreateEditJob",
];

/// The queue of a store as a doorkeeper.
///
/// A request whose id is known is let in, whatever the queue says: it gets its job. So is a tenant whose job has lost its stream:
/// the same request attaches to that job, which is cancelled if none comes, and any other is refused once its body is read.
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
    fn knows(&self, caller: &Caller, request_id: &str) -> bool {
        self.0.knows_request(&caller.tenant, request_id)
    }
}

//! Faults of jobs as refusals and gRPC statuses.

use tonic::{Code, Status};

use crate::jobs::fault::Fault;
use crate::server::refusal::Refusal;

/// The refusal of a fault: its code and reason, when to try again, and which fields are wrong.
pub fn refusal(fault: &Fault) -> Refusal {
    let fields = fault.fields.iter().map(|it| (it.field.clone(), it.description.clone()));
    Refusal {
        code: Code::from_i32(fault.reason.code() as i32),
        reason: fault.reason.name(),
        message: fault.message.clone(),
        metadata: fault.metadata.clone().into_iter().collect(),
        retry_after: fault.retry_after,
        fields: fields.collect(),
    }
}

/// The status of a fault.
pub fn of_fault(fault: &Fault) -> Status {
    refusal(fault).into()
}

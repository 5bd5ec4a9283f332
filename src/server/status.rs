//! Conversion of job faults to refusals and gRPC statuses.

use tonic::{Code, Status};

use crate::jobs::fault::Fault;
use crate::server::refusal::Refusal;

/// The refusal of a fault: code, reason, retry delay and field violations.
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

/// Beginning of prost's error for a message of the wrong type.
const UNDECODABLE: &str = "failed to decode Protobuf message";

/// The refusal of a message that can't be decoded. tonic reports INTERNAL, which suggests that a retry could help.
pub fn undecodable(status: &Status) -> Option<Refusal> {
    let is_one = status.code() == Code::Internal && status.message().starts_with(UNDECODABLE);
    let said =
        || format!("a message could not be decoded as the method's request: {}", status.message());
    is_one.then(|| Refusal::invalid_message(said()))
}

/// The status that ends a stream after an invalid message; `None` if the connection broke.
pub fn of_input(status: Status) -> Option<Status> {
    match undecodable(&status) {
        Some(refusal) => Some(refusal.into()),
        // Refusals have details; errors of a broken connection have none.
        None => (!status.details().is_empty()).then_some(status),
    }
}

/// The gRPC status of a fault.
pub fn of_fault(fault: &Fault) -> Status {
    refusal(fault).into()
}

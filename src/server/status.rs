//! Faults of jobs as gRPC statuses, with google.rpc details that grpcurl prints.

use std::time::Duration;

use tonic::{Code, Status, metadata::MetadataValue};
use tonic_types::{ErrorDetails, StatusExt};

use crate::jobs::fault::{self, Fault};

/// The domain of every reason.
pub const DOMAIN: &str = "retouch";

/// The status of a fault: its code, `ErrorInfo`, and `RetryInfo` and `BadRequest` where there is something to say.
pub fn of_fault(fault: &Fault) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = fault.metadata.clone().into_iter().collect::<std::collections::HashMap<_, _>>();
    details.set_error_info(fault.reason.name(), DOMAIN, metadata);
    details.set_retry_info(fault.retry_after);
    for field in &fault.fields {
        details.add_bad_request_violation(&field.field, &field.description);
    }
    let mut status =
        Status::with_error_details(code(fault.reason.code()), fault.message.clone(), details);
    if let Some(delay) = fault.retry_after {
        status.metadata_mut().insert("grpc-retry-pushback-ms", pushback(delay));
    }
    status
}

/// gRFC A6: when a client may retry, in milliseconds.
fn pushback(delay: Duration) -> MetadataValue<tonic::metadata::Ascii> {
    MetadataValue::from(delay.as_millis().min(u128::from(u32::MAX)) as u64)
}

fn code(code: fault::Code) -> Code {
    Code::from_i32(code as i32)
}

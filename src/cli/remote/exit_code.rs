//! Exit codes of calls and jobs that failed, as listed in the help.

use tonic::Code;

use crate::client::{error::ClientError, refusal::Refusal};

/// Exit code of a failed call or job.
pub(crate) fn of(error: &ClientError) -> u8 {
    match error {
        ClientError::Unreachable { .. } => 8,
        ClientError::Refused(refusal) => of_refusal(refusal),
        // A server that accepted the job and lost it did not refuse it.
        ClientError::Failed(refusal) => match of_refusal(refusal) {
            8 => 1,
            code => code,
        },
        ClientError::Garbled(_) => 1,
    }
}

fn of_refusal(refusal: &Refusal) -> u8 {
    match (refusal.code, refusal.reason.as_str()) {
        (_, "BAD_IMAGE" | "IMAGE_TOO_LARGE" | "BAD_MASK" | "EMPTY_MASK")
        | (Code::OutOfRange, _) => 3,
        (_, "OBJECT_NOT_FOUND") => 4,
        (_, "LOW_CONFIDENCE") => 10,
        (_, "MODEL_UNUSABLE" | "MODEL_NOT_FOUND") => 5,
        (
            Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::Aborted,
            _,
        ) => 2,
        (
            Code::Unavailable
            | Code::Unauthenticated
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::Unimplemented,
            _,
        )
        // Refused before reaching the service, such as without the required client certificate.
        | (Code::Unknown, "") => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: Code, reason: &str) -> Refusal {
        let (reason, message) = (reason.to_owned(), "no".to_owned());
        let (fields, retry_after, is_final) = (Vec::new(), None, false);
        Refusal { code, reason, message, fields, retry_after, is_final }
    }

    #[test]
    fn faults_of_pictures_and_of_servers_have_exit_codes_of_their_own() {
        for (code, reason, expected) in [
            (Code::InvalidArgument, "BAD_MASK", 3),
            (Code::InvalidArgument, "OBJECT_NOT_FOUND", 4),
            (Code::InvalidArgument, "LOW_CONFIDENCE", 10),
            (Code::InvalidArgument, "INVALID_ARGUMENT", 2),
            (Code::Unauthenticated, "BAD_KEY", 8),
            (Code::Unavailable, "WORKER_LOST", 8),
        ] {
            assert_eq!(of(&refusal(code, reason).into()), expected, "{reason}");
        }
        let lost = ClientError::Failed(Box::new(refusal(Code::Unavailable, "WORKER_LOST")));
        assert_eq!(of(&lost), 1);
    }
}

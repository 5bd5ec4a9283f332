//! Maps errors of the editor ([`EditError`]) to faults of jobs.

use crate::editing::EditError;
use crate::instruction::ParseError;
use crate::jobs::{fault::Fault, runner::RunError};
use crate::wire::reason::Reason;

/// The fault of a failed pass, with a remedy in terms of the API's fields.
pub(super) fn failed(error: &EditError) -> RunError {
    let reason = match error {
        EditError::Interrupted(_) => return RunError::Interrupted,
        EditError::NotParsed(_) => Reason::ObjectNotFound,
        EditError::LowConfidence { confidence, .. } => {
            let message = format!(
                "{error}; name another object, give `spec.mask`, or lower `spec.min_confidence`"
            );
            let fault = Fault::new(Reason::LowConfidence, message);
            return RunError::Fault(fault.with("confidence", confidence));
        }
        EditError::EmptyMask => Reason::EmptyMask,
        EditError::Picture(_) | EditError::OtherGrid { .. } => Reason::BadMask,
        EditError::UnknownCluster { .. } | EditError::NothingFound => Reason::InvalidArgument,
        EditError::NoAttention
        | EditError::Distilled { .. }
        | EditError::NotJoint { .. }
        | EditError::OneScale
        | EditError::NoUnrelatedWord { .. } => Reason::ModelUnusable,
        EditError::Pipeline(_) => {
            tracing::error!(%error, "the model failed; `model.dtype = \"fp32\"` may help");
            Reason::Internal
        }
    };
    let remedy = remedy(error).map_or_else(String::new, |it| format!("; {it}"));
    RunError::Fault(Fault::new(reason, format!("{error}{remedy}")))
}

/// The remedy in terms of the API's fields, which the editor doesn't know.
fn remedy(error: &EditError) -> Option<&'static str> {
    Some(match error {
        EditError::NothingFound => {
            "give `spec.mask` an image or boxes, or name the object in `spec.object`"
        }
        EditError::NotParsed(ParseError::NoObject { .. }) => "give `spec.object`",
        EditError::NotParsed(ParseError::NotUnderstood(_) | ParseError::NotLatin(_)) => {
            "give `spec.object` and `spec.action`, or leave `spec.strict` out"
        }
        EditError::NotParsed(ParseError::NotAnObject(_)) => "correct `spec.object`",
        EditError::UnknownCluster { .. } => "correct the cluster ids of the mask",
        EditError::EmptyMask => "widen `spec.mask`, or the decision's",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instruction::Action;

    #[test]
    fn what_a_caller_can_mend_names_the_field_to_mend() {
        let said = |error: EditError| match failed(&error) {
            RunError::Fault(fault) => (fault.reason, fault.message),
            other => panic!("{other:?}"),
        };
        let text = || "wibble".to_owned();
        let no_object = ParseError::NoObject { text: text(), action: Action::Change };
        for (error, reason, field) in [
            (EditError::NothingFound, Reason::InvalidArgument, "`spec.object`"),
            (EditError::NotParsed(no_object), Reason::ObjectNotFound, "`spec.object`"),
            (
                EditError::NotParsed(ParseError::NotUnderstood(text())),
                Reason::ObjectNotFound,
                "`spec.strict`",
            ),
            (EditError::EmptyMask, Reason::EmptyMask, "`spec.mask`"),
            (
                EditError::LowConfidence { object: text(), confidence: 0.1, least: 0.5 },
                Reason::LowConfidence,
                "`spec.min_confidence`",
            ),
        ] {
            let (found, message) = said(error);
            assert_eq!(found, reason);
            assert!(message.contains(field) && !message.contains("--"), "{message}");
        }
    }
}

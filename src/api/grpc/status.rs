//! The one place where refusals become gRPC statuses.

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::service::{Error, Kind};

/// The domain of every reason.
const DOMAIN: &str = "headlessly.communication";
/// Violations that a status carries: details travel in a header, and clients take 8 KiB of those at most.
const MAX_VIOLATIONS: usize = 32;
/// Bytes of one description, for the same reason.
const MAX_DESCRIPTION: usize = 200;

/// The status that says a refusal, with its details as `google.rpc` messages.
pub fn of(error: Error) -> Status {
    let mut details = ErrorDetails::with_error_info(error.reason.clone(), DOMAIN, []);
    violations(&mut details, &error);
    if let Some(wait) = error.retry_after {
        details.set_retry_info(Some(wait));
    }
    if let Some(resource) = &error.resource {
        details.set_resource_info(resource.kind.clone(), &resource.id, "", "");
    }
    let subject = error.resource.as_ref().map_or("", |resource| resource.id.as_str());
    match error.kind {
        Kind::FailedPrecondition => {
            details.add_precondition_failure_violation(error.reason.clone(), subject, short(&error.message));
        }
        Kind::ResourceExhausted => {
            details.add_quota_failure_violation(subject, short(&error.message));
        }
        Kind::InvalidArgument
        | Kind::NotFound
        | Kind::AlreadyExists
        | Kind::Aborted
        | Kind::Unauthenticated
        | Kind::PermissionDenied
        | Kind::Unavailable
        | Kind::DeadlineExceeded
        | Kind::Unimplemented
        | Kind::Internal => {}
    }
    Status::with_error_details(code(error.kind), error.message, details)
}

/// The same as a message, for answers that hold several.
pub fn as_message(error: Error) -> tonic_types::pb::Status {
    let status = of(error);
    let details = prost::Message::decode(status.details());
    details.unwrap_or_else(|_| tonic_types::pb::Status {
        code: status.code().into(),
        message: status.message().to_owned(),
        details: Vec::new(),
    })
}

const fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Aborted => Code::Aborted,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::Internal => Code::Internal,
    }
}

fn violations(details: &mut ErrorDetails, error: &Error) {
    for violation in error.violations.iter().take(MAX_VIOLATIONS) {
        details.add_bad_request_violation(short(&violation.field), short(&violation.description));
    }
    let more = error.violations.len().saturating_sub(MAX_VIOLATIONS);
    if more > 0 {
        details.add_bad_request_violation("...", format!("and {more} more"));
    }
}

fn short(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_DESCRIPTION)]
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        model::{ids::MessageId, status::Status as State},
        service::Violations,
        store::{Clash, StoreError},
    };

    #[test]
    fn every_violation_is_told_up_to_what_a_header_holds() {
        let mut many = Violations::default();
        (0..1_000).for_each(|index| many.add(format!("messages[{index}].body"), "x".repeat(500)));
        let status = of(many.done().unwrap_err());
        assert_eq!(status.code(), Code::InvalidArgument);
        let told = status.get_details_bad_request().unwrap().field_violations;
        assert_eq!(told.len(), MAX_VIOLATIONS + 1);
        assert_eq!(told.last().unwrap().description, "and 968 more");
        assert!(status.details().len() < 8_192, "{}", status.details().len());
    }

    #[test]
    fn a_reused_request_id_names_the_field() {
        let status = of(StoreError::Clash(Clash::RequestId).into());
        assert_eq!(status.code(), Code::AlreadyExists);
        let info = status.get_details_error_info().unwrap();
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("REQUEST_ID_REUSED", DOMAIN));
        assert_eq!(status.get_details_bad_request().unwrap().field_violations[0].field, "request_id");
    }

    #[test]
    fn a_store_that_is_down_says_when_to_come_again() {
        for (error, reason) in [
            (StoreError::Unavailable("disk".to_owned()), "STORE_UNAVAILABLE"),
            (StoreError::Full, "STORAGE_FULL"),
        ] {
            let status = of(error.into());
            assert_eq!(status.code(), Code::Unavailable);
            assert_eq!(status.get_details_error_info().unwrap().reason, reason);
            assert!(status.get_details_retry_info().unwrap().retry_delay.unwrap() >= Duration::from_secs(1));
            assert!(!status.message().contains("disk\""));
        }
    }

    #[test]
    fn a_wrong_status_is_a_precondition() {
        let id = MessageId(5).to_string();
        let status = of(Error::wrong_status(State::Draft).about("Message", &id));
        let failure = status.get_details_precondition_failure().unwrap();
        assert_eq!(
            (failure.violations[0].r#type.as_str(), &failure.violations[0].subject),
            ("WRONG_STATUS", &id)
        );
        assert_eq!(status.get_details_resource_info().unwrap().resource_name, id);
    }
}

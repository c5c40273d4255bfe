//! Tells what the server said, all of it.

use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Exit, Failure, output::clean};

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let exit = match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Exit::Unavailable,
            Code::Internal | Code::Unknown | Code::DataLoss => Exit::Internal,
            _ => Exit::NotOk,
        };
        Self { exit, lines: lines(&status) }
    }
}

/// The code, the reason, the message; then each detail on a line of its own.
pub(super) fn lines(status: &Status) -> Vec<String> {
    let info = status.get_details_error_info();
    // Where the reason says no more than the code, once is enough.
    let says_more = info.as_ref().filter(|info| info.reason != code_name(status.code()));
    let reason = says_more.map(|info| format!(" {}", clean(&info.reason))).unwrap_or_default();
    let mut lines = vec![format!("{}{reason}: {}", code_name(status.code()), clean(status.message()))];
    let mut metadata: Vec<_> = info.map(|info| info.metadata.into_iter().collect()).unwrap_or_default();
    metadata.sort();
    lines.extend(metadata.iter().map(|(key, value)| format!("{}: {}", clean(key), clean(value))));
    details(status, &mut lines);
    hint(status, &mut lines);
    lines
}

fn details(status: &Status, lines: &mut Vec<String>) {
    let details = status.get_error_details();
    for violation in details.bad_request().iter().flat_map(|bad| &bad.field_violations) {
        lines.push(format!("{}: {}", clean(&violation.field), clean(&violation.description)));
    }
    for violation in details.precondition_failure().iter().flat_map(|failed| &failed.violations) {
        let (kind, subject) = (clean(&violation.r#type), clean(&violation.subject));
        lines.push(format!("{kind} {subject}: {}", clean(&violation.description)));
    }
    for violation in details.quota_failure().iter().flat_map(|failed| &failed.violations) {
        lines.push(format!("{}: {}", clean(&violation.subject), clean(&violation.description)));
    }
    if let Some(resource) = details.resource_info() {
        let (kind, name) = (clean(&resource.resource_type), clean(&resource.resource_name));
        lines.push(format!("{kind} {name} {}", clean(&resource.description)).trim().to_owned());
    }
    if let Some(after) = details.retry_info().and_then(|info| info.retry_delay) {
        lines.push(format!("try again in {:.1} s", after.as_secs_f64()));
    }
    if let Some(message) = details.localized_message() {
        lines.push(clean(&message.message));
    }
    for link in details.help().iter().flat_map(|help| &help.links) {
        lines.push(format!("{} {}", clean(&link.description), clean(&link.url)));
    }
    if let Some(request) = details.request_info() {
        lines.push(format!("request {}", clean(&request.request_id)));
    }
    if let Some(debug) = details.debug_info() {
        lines.push(clean(&debug.detail));
    }
}

fn hint(status: &Status, lines: &mut Vec<String>) {
    match status.code() {
        Code::Unauthenticated => lines.push("give an API key with HLY_API_KEY or --api-key".to_owned()),
        Code::Unimplemented => lines.push("the server may be of another version, or not be hly".to_owned()),
        _ => {}
    }
}

/// The name as the protocol writes it: `NOT_FOUND`.
pub(super) fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn every_detail_has_its_line() {
        let mut details = ErrorDetails::new();
        details
            .set_error_info(
                "QUEUE_FULL",
                "headlessly.communication",
                HashMap::from([("depth".into(), "7".into())]),
            )
            .add_bad_request_violation("message.body", "is required")
            .add_bad_request_violation("message.to", "bad\u{1b}[31m")
            .set_retry_info(Some(Duration::from_millis(1_500)));
        let status = Status::with_error_details(Code::ResourceExhausted, "too much", details);
        let failure = Failure::from(status);
        assert_eq!(failure.exit, Exit::NotOk);
        assert_eq!(
            failure.lines,
            [
                "RESOURCE_EXHAUSTED QUEUE_FULL: too much",
                "depth: 7",
                "message.body: is required",
                "message.to: bad[31m",
                "try again in 1.5 s",
            ]
        );
    }

    #[test]
    fn codes_become_exit_codes() {
        for (status, exit) in [
            (Status::unavailable(""), Exit::Unavailable),
            (Status::deadline_exceeded(""), Exit::Unavailable),
            (Status::internal(""), Exit::Internal),
            (Status::not_found(""), Exit::NotOk),
            (Status::invalid_argument(""), Exit::NotOk),
        ] {
            assert_eq!(Failure::from(status.clone()).exit, exit, "{status:?}");
        }
    }
}

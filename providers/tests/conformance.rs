//! Every HTTP plugin of this crate against the conformance suite. One module per plugin; each says what it is by a case.
#![allow(missing_docs, reason = "tests")]

use headlessly_providers::conformance;

mod cases;

conformance!(twilio, cases::twilio::case());
conformance!(fcm, cases::fcm::case());
conformance!(http, cases::http::case());

//! The conformance suite: what every plugin must do, one function per rule.
//!
//! A plugin describes itself by a [`Case`] and gets its tests by [`crate::conformance!`]. The vendor is a server on the loopback
//! interface that replays transcripts: what must be asked, what is answered, what must come out.
//!
//! ```ignore
//! fn case() -> Case {
//!     Case { descriptor: acme::DESCRIPTOR, settings, required: &["api_key"], .. }
//! }
//! headlessly_providers::conformance!(acme, case());
//! ```
//!
//! Six transcripts are asked of everybody: `accepted`, `throttled`, `server_error`, `unauthorized`, `bad_recipient`, `garbage`; others
//! have the name of what they show. A plugin that speaks no HTTP takes the rules that fit it one by one: they are functions.

mod config;
mod matching;
mod receipts;
mod sample;
mod sending;
mod transcript;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;

use crate::contract::{
    BuildContext, Channel, ChannelProvider, ConfigError, Descriptor, Receipt, ReceiptSink, Settings,
    SinkClosed,
};

pub use config::{
    example_builds, readme_is_complete, required_keys_are_named, unknown_keys_are_named,
    wrong_types_are_named,
};
pub use matching::difference;
pub use receipts::{
    callbacks_are_read, callbacks_are_stable, stale_callbacks_are_refused, tampered_callbacks_are_refused,
    unsigned_callbacks_are_refused,
};
pub use sample::{dispatch, example, extract_settings};
pub use sending::{
    body_over_limit_is_refused_unsent, cut_answer_is_ambiguous, dropped_send_leaves_it_usable,
    profile_is_sound, refused_connection_is_transient, required_transcripts_exist, secrets_stay_hidden,
    transcripts_hold,
};
pub use transcript::{Exchange, Expected, Outcome, Transcript};
pub use wire::{Seen, Step, Wire};

/// A rule that was broken, as a sentence.
pub type Failure = String;

/// The outcome of one rule.
pub type Verdict = Result<(), Failure>;

/// What the suite needs to know of a plugin.
#[derive(Clone, Debug)]
pub struct Case {
    /// The plugin.
    pub descriptor: Descriptor,
    /// Settings that make it speak to the server at this URL (`http://127.0.0.1:port`).
    pub settings: fn(&str) -> toml::Table,
    /// The settings without which it cannot be built.
    pub required: &'static [&'static str],
    /// The secrets within those settings, and those that transcripts hand out: none may be seen anywhere.
    pub canaries: &'static [&'static str],
    /// The channel of the sample message.
    pub channel: Channel,
    /// The recipient of the sample message.
    pub recipient: &'static str,
    /// Name and JSON of each transcript.
    pub transcripts: &'static [(&'static str, &'static str)],
    /// The README, which is the plugin's page in the documentation.
    pub readme: &'static str,
    /// What `env:` and `file:` references of the example stand for.
    pub references: &'static [(&'static str, &'static str)],
    /// Signed callbacks, empty for a vendor that does not call back.
    pub callbacks: Vec<Callback>,
}

/// A callback as the vendor would send it.
#[derive(Clone, Debug)]
pub struct Callback {
    /// What it is about.
    pub name: &'static str,
    /// Method.
    pub method: &'static str,
    /// The URL that the vendor calls.
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// The header that carries the signature.
    pub signature_header: &'static str,
    /// The body.
    pub body: Vec<u8>,
    /// The time of its arrival.
    pub now: crate::contract::Timestamp,
    /// Whether the signature covers a time, so that it gets old.
    pub expires: bool,
    /// What it must be read as.
    pub receipts: Vec<Receipt>,
}

impl Case {
    /// An instance that speaks to this URL.
    ///
    /// # Errors
    /// When the settings of the case do not build.
    pub fn build(&self, url: &str) -> Result<Arc<dyn ChannelProvider>, Failure> {
        self.build_from((self.settings)(url)).map_err(|error| format!("the settings do not build: {error}"))
    }

    /// An instance of these settings.
    ///
    /// # Errors
    /// Those of the plugin.
    pub fn build_from(&self, table: toml::Table) -> Result<Arc<dyn ChannelProvider>, ConfigError> {
        (self.descriptor.build)(&Settings { table }, context())
    }
}

/// A context whose receipts go nowhere.
pub fn context() -> BuildContext {
    BuildContext { name: "conformance".to_owned(), receipts: Arc::new(Nowhere) }
}

struct Nowhere;

#[async_trait]
impl ReceiptSink for Nowhere {
    async fn push(&self, _receipts: Vec<Receipt>) -> Result<(), SinkClosed> {
        Ok(())
    }
}

/// One test per rule for the case that the expression makes, in a module of this name.
#[macro_export]
macro_rules! conformance {
    ($name:ident, $case:expr) => {
        mod $name {
            use super::*;

            $crate::conformance!(@sync $case;
                required_transcripts_exist, profile_is_sound, callbacks_are_read, callbacks_are_stable,
                unsigned_callbacks_are_refused, tampered_callbacks_are_refused, stale_callbacks_are_refused,
                example_builds, readme_is_complete, required_keys_are_named, unknown_keys_are_named, wrong_types_are_named);
            $crate::conformance!(@async $case;
                transcripts_hold, refused_connection_is_transient, cut_answer_is_ambiguous,
                body_over_limit_is_refused_unsent, dropped_send_leaves_it_usable, secrets_stay_hidden);
        }
    };
    (@sync $case:expr; $($rule:ident),*) => {
        $(
            #[test]
            fn $rule() {
                if let Err(failure) = $crate::testing::$rule(&$case) {
                    panic!("{failure}");
                }
            }
        )*
    };
    (@async $case:expr; $($rule:ident),*) => {
        $(
            #[tokio::test]
            async fn $rule() {
                if let Err(failure) = $crate::testing::$rule(&$case).await {
                    panic!("{failure}");
                }
            }
        )*
    };
}

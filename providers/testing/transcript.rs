use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::Value;

use super::{Failure, Step, sample};
use crate::contract::{Accepted, Channel, Dispatch, Fault, Party, Priority, SendError, Timestamp};

/// One conversation with a vendor: requests that must come, canned answers, and what the plugin makes of them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transcript {
    /// What differs from the sample message.
    #[serde(default)]
    dispatch: Changes,
    /// In order. Empty when nothing may be sent.
    pub exchanges: Vec<Exchange>,
    /// What must come out.
    pub outcome: Outcome,
}

/// A request and its answer.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exchange {
    /// The request.
    pub expect: Expected,
    /// The answer.
    answer: Canned,
}

/// What a request must look like. What is left out is not looked at.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// Method.
    pub method: String,
    /// Path, with the query.
    pub path: String,
    /// Header fields, names in lower case. `"*"` is any value.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The fields of a form: these and no others. `"*"` is any value.
    pub form: Option<BTreeMap<String, String>>,
    /// The JSON body: this and nothing else. `"*"` is any value.
    pub json: Option<Value>,
    /// The body as text.
    pub body: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Canned {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A string is sent as it is, anything else as JSON.
    #[serde(default)]
    body: Value,
}

/// What must come out.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Outcome {
    /// The vendor took it.
    Accepted {
        /// The vendor's id.
        provider_message_id: Option<String>,
    },
    /// The vendor did not, or that is not known.
    Error {
        /// The name of the fault: `THROTTLED`.
        fault: String,
        /// The vendor's code.
        code: Option<String>,
        /// The wait.
        retry_after_seconds: Option<u64>,
        /// Whether the address is dead.
        #[serde(default)]
        retire_recipient: bool,
    },
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Changes {
    sender: Option<String>,
    recipient: Option<String>,
    recipient_name: Option<String>,
    subject: Option<String>,
    body: Option<String>,
    html_body: Option<String>,
    metadata: BTreeMap<String, String>,
    priority: Option<String>,
    expires_in_seconds: Option<u64>,
    callback_url: Option<String>,
}

impl Transcript {
    /// Reads a transcript.
    ///
    /// # Errors
    /// Names the transcript and what is wrong with it.
    pub fn read(name: &str, json: &str) -> Result<Self, Failure> {
        serde_json::from_str(json).map_err(|error| format!("transcript {name}: {error}"))
    }

    /// The message of this transcript.
    pub fn dispatch(&self, channel: Channel, recipient: &str) -> Dispatch {
        let mut dispatch = sample::dispatch(channel, recipient);
        let changes = self.dispatch.clone();
        let party = |address| Party { address, name: None };
        dispatch.sender = changes.sender.map(party);
        if let Some(address) = changes.recipient {
            dispatch.recipient.address = address;
        }
        dispatch.recipient.name = changes.recipient_name;
        dispatch.subject = changes.subject;
        dispatch.html_body = changes.html_body;
        dispatch.body = changes.body.unwrap_or(dispatch.body);
        dispatch.metadata = changes.metadata.into_iter().collect();
        dispatch.callback_url = changes.callback_url;
        dispatch.priority = match changes.priority.as_deref() {
            Some("TRANSACTIONAL") => Priority::Transactional,
            Some("BULK") => Priority::Bulk,
            _ => Priority::Normal,
        };
        dispatch.expires_at = changes.expires_in_seconds.map(|left| later(dispatch.now, left));
        dispatch
    }

    /// What the server does, in order.
    pub fn steps(&self) -> Vec<Step> {
        self.exchanges.iter().map(|exchange| exchange.answer.step()).collect()
    }
}

fn later(now: Timestamp, seconds: u64) -> Timestamp {
    now.plus(Duration::from_secs(seconds))
}

impl Canned {
    fn step(&self) -> Step {
        let body = match &self.body {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            json => json.to_string(),
        };
        let headers = self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Step::Answer { status: self.status, headers, body: body.into_bytes() }
    }
}

impl Outcome {
    /// Whether this is what came out.
    ///
    /// # Errors
    /// Tells both.
    pub fn check(&self, result: &Result<Accepted, SendError>) -> Result<(), Failure> {
        let holds = match (self, result) {
            (Self::Accepted { provider_message_id }, Ok(accepted)) => {
                accepted.provider_message_id == *provider_message_id
            }
            (Self::Error { fault, code, retry_after_seconds, retire_recipient }, Err(error)) => {
                error.fault == read_fault(fault)?
                    && error.code == *code
                    && error.retry_after == retry_after_seconds.map(Duration::from_secs)
                    && error.retire_recipient == *retire_recipient
            }
            _ => false,
        };
        if holds { Ok(()) } else { Err(format!("expected {self:?}, got {result:?}")) }
    }
}

fn read_fault(name: &str) -> Result<Fault, Failure> {
    use Fault::{Ambiguous, BadRecipient, Rejected, Throttled, Transient, Unauthorized};
    [Transient, Throttled, Ambiguous, Rejected, BadRecipient, Unauthorized]
        .into_iter()
        .find(|fault| fault.as_str() == name)
        .ok_or_else(|| format!("{name} is not a fault"))
}

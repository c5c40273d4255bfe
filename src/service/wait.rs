//! Answers that wait until a message has got somewhere.

use std::{sync::Arc, time::Duration};

use super::{
    Caller, Error, Service,
    tail::{Next, Subscription},
};
use crate::model::{
    ids::MessageId,
    message::{Message, State},
    status::Status,
};

/// How far to wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WaitUntil {
    /// It is durable.
    #[default]
    Accepted,
    /// A provider has it, or it ended otherwise.
    Sent,
    /// It was delivered, or ended otherwise, or no report will come.
    Delivered,
}

/// How far to wait, and how long at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Wait {
    /// How far.
    pub until: WaitUntil,
    /// How long at most.
    pub at_most: Duration,
}

impl WaitUntil {
    fn is_reached(self, state: &State) -> bool {
        match self {
            Self::Accepted => true,
            Self::Sent => !matches!(state.status(), Status::Draft | Status::Scheduled | Status::Queued),
            Self::Delivered => state.is_final(),
        }
    }
}

impl Service {
    /// A place at the end of the log, taken before the message is accepted, if the answer is to wait.
    pub(super) async fn watch_for(
        &self,
        wait: Wait,
    ) -> Result<Option<(Subscription, tokio::time::Instant)>, Error> {
        if wait.until == WaitUntil::Accepted || wait.at_most.is_zero() {
            return Ok(None);
        }
        let deadline = tokio::time::Instant::now() + wait.at_most;
        Ok(Some((self.0.tail.subscribe().await?, deadline)))
    }

    /// Waits for a message that is durable by now; returns it as it then is. Slowness is no error.
    pub(super) async fn wait_for(
        &self,
        caller: &Caller,
        id: MessageId,
        until: WaitUntil,
        (mut subscription, deadline): (Subscription, tokio::time::Instant),
    ) -> Result<Arc<Message>, Error> {
        let target = id.to_string();
        while !self.store().row(id).await?.is_none_or(|row| until.is_reached(&row.state)) {
            let news = async {
                loop {
                    match subscription.next().await {
                        Next::Batch(batch) if batch.iter().any(|event| event.target == target) => {
                            return true;
                        }
                        Next::Batch(_) => {}
                        Next::Lagged => return true,
                        Next::Stopping => return false,
                    }
                }
            };
            if !tokio::time::timeout_at(deadline, news).await.unwrap_or(false) {
                break;
            }
        }
        self.message(caller, id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Channel, Reporting, Timestamp,
        ids::Tenant,
        message::Draft,
        status::{Fact, Facts},
    };

    #[test]
    fn what_is_waited_for() {
        let draft = Draft { channel: Some(Channel::Email), ..Draft::default() };
        let mut state = Message::new(draft, MessageId(1), Tenant::default(), Timestamp(1), "user_x").state;
        assert!(WaitUntil::Accepted.is_reached(&state) && !WaitUntil::Sent.is_reached(&state));
        state.facts = Facts { accepted: Some(Timestamp(1)), queued: Some(Timestamp(1)), ..Facts::default() };
        assert!(!WaitUntil::Sent.is_reached(&state));
        state.facts.learn(Fact::HandedOff(Timestamp(2)));
        state.reporting = Some(Reporting::Delivery);
        assert!(WaitUntil::Sent.is_reached(&state) && !WaitUntil::Delivered.is_reached(&state));
        state.reporting = Some(Reporting::None);
        assert!(WaitUntil::Delivered.is_reached(&state));
    }
}

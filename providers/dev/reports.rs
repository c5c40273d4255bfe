//! What the simulated vendor reports about a message, and when.

use std::time::Duration;

use tokio::time::Instant;

use super::{behaviour::Behaviour, vendor::Due};
use crate::contract::{Dispatch, Receipt, ReceiptKind, Timestamp};

/// How long after the hand-off `delay` delivers.
const DELAY: Duration = Duration::from_secs(5);
/// Between reports that are to come in separate pushes.
const APART: Duration = Duration::from_millis(20);

/// The reports in the order in which they are sent.
pub(super) fn of(
    behaviour: Behaviour,
    dispatch: &Dispatch,
    id: &str,
    began: (Instant, Timestamp),
    delay: Duration,
) -> Vec<Due> {
    let report = |kind: ReceiptKind, after: Duration| {
        let mut receipt = Receipt::new(kind, id);
        receipt.message_id = Some(dispatch.message_id.clone());
        Due { when: began.0 + after, receipt, began }
    };
    match behaviour {
        Behaviour::Silent
        | Behaviour::BadRecipient
        | Behaviour::Reject
        | Behaviour::Lost
        | Behaviour::Unauthorized => Vec::new(),
        Behaviour::Deliver
        | Behaviour::Slow
        | Behaviour::Throttle
        | Behaviour::Transient
        | Behaviour::Ambiguous => vec![report(ReceiptKind::Delivered, delay)],
        Behaviour::Delay => vec![report(ReceiptKind::Delivered, DELAY)],
        Behaviour::Read => {
            vec![report(ReceiptKind::Delivered, delay), report(ReceiptKind::Read, delay + APART)]
        }
        Behaviour::Bounce => {
            let mut due = report(ReceiptKind::Failed { recipient_dead: true }, delay);
            due.receipt.code = Some("5.1.1".to_owned());
            due.receipt.detail = Some("the simulated mailbox does not exist".to_owned());
            vec![due]
        }
        Behaviour::Duplicate => [ReceiptKind::Sent, ReceiptKind::Delivered]
            .into_iter()
            .flat_map(|kind| (0..3).map(move |_| kind.clone()))
            .map(|kind| report(kind, delay))
            .collect(),
        Behaviour::OutOfOrder => {
            // Each carries the time at which it happened, which is the reverse of the order of arrival.
            [ReceiptKind::Read, ReceiptKind::Delivered, ReceiptKind::Sent, ReceiptKind::Accepted]
                .into_iter()
                .zip(0..)
                .map(|(kind, place)| {
                    let mut due = report(kind, delay + APART * place);
                    due.receipt.at = Some(began.1.plus(delay + APART * (3 - place)));
                    due
                })
                .collect()
        }
    }
}

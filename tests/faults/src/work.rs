//! What the clients ask for: made from a seed, so that a run can be made again.

use std::time::Duration;

use fastrand::Rng;
use headlessly_communication::{
    model::Channel,
    pb::{self, SendMessageBatchRequest, SendMessageRequest, send_message_request::Target},
};

use crate::time;

/// What a load is made of.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    /// Messages in all, about.
    pub(crate) messages: usize,
    /// Messages of a batch.
    pub(crate) batch: usize,
    /// One in so many messages is sent by a call of its own.
    pub(crate) single_in: usize,
    /// The channels, each as often as it should come up.
    pub(crate) channels: Vec<Channel>,
    /// One in so many is scheduled; 0 for none.
    pub(crate) scheduled_in: u32,
    /// One in so many must be refused; 0 for none.
    pub(crate) invalid_in: u32,
}

/// One thing to ask for.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Many messages with one call.
    Batch(Batch),
    /// One message, which may be withdrawn at once.
    Single(Box<Single>),
}

/// Many messages with one call.
#[derive(Clone, Debug)]
pub(crate) struct Batch {
    /// The call.
    pub(crate) request: SendMessageBatchRequest,
    /// The channel of all of them.
    pub(crate) channel: Channel,
    /// When each is due; 0 for at once.
    pub(crate) due: Vec<i64>,
}

/// One message.
#[derive(Clone, Debug)]
pub(crate) struct Single {
    /// The call.
    pub(crate) request: SendMessageRequest,
    /// The channel.
    pub(crate) channel: Channel,
    /// When it is due; 0 for at once.
    pub(crate) due: i64,
    /// It is to be withdrawn as soon as it is acknowledged.
    pub(crate) withdraw: bool,
}

/// What begins the body of a message that must be refused.
pub(crate) const REFUSED: &str = "refused";

/// What is yet to be asked for.
pub(crate) struct Works {
    seed: u64,
    shape: Shape,
    /// The sizes of all calls, in order; 1 is a call of its own.
    sizes: Vec<usize>,
    next: usize,
}

impl Works {
    /// Everything of this shape.
    pub(crate) fn new(seed: u64, shape: Shape) -> Self {
        let singles = shape.messages / shape.single_in.max(1);
        let batches = (shape.messages - singles).div_ceil(shape.batch.max(1));
        let mut sizes = vec![1; singles];
        sizes.extend(vec![shape.batch; batches]);
        Rng::with_seed(seed).shuffle(&mut sizes);
        Self { seed, shape, sizes, next: 0 }
    }

    /// How many messages the next call has; 0 when there is none.
    pub(crate) fn next_size(&self) -> usize {
        self.sizes.get(self.next).copied().unwrap_or(0)
    }

    /// The next call. Times in it are from now on.
    pub(crate) fn take(&mut self) -> Option<Work> {
        let size = *self.sizes.get(self.next)?;
        let number = self.next;
        self.next += 1;
        let mut rng = Rng::with_seed(self.seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let channel = *rng.choice(&self.shape.channels)?;
        let request_id = format!("{:x}-{number}", self.seed);
        if size == 1 {
            let scheduled = self.shape.scheduled_in > 0 && rng.u32(0..100) < 40;
            let due = if scheduled { later(&mut rng) } else { 0 };
            let target = Some(Target::Message(Box::new(message(channel, number, 0, due))));
            let request = SendMessageRequest { target, request_id, ..SendMessageRequest::default() };
            return Some(Work::Single(Box::new(Single { request, channel, due, withdraw: rng.bool() })));
        }
        let (mut messages, mut due) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for place in 0..size {
            let scheduled = self.shape.scheduled_in > 0 && rng.u32(0..self.shape.scheduled_in) == 0;
            let at = if scheduled { later(&mut rng) } else { 0 };
            let mut message = message(channel, number, place, at);
            if self.shape.invalid_in > 0 && rng.u32(0..self.shape.invalid_in) == 0 {
                message.recipient.clear();
                message.body = format!("{REFUSED} {number} {place}");
            }
            messages.push(message);
            due.push(at);
        }
        let request = SendMessageBatchRequest { messages, request_id, ..SendMessageBatchRequest::default() };
        Some(Work::Batch(Batch { request, channel, due }))
    }
}

/// In 1 to 3 seconds.
fn later(rng: &mut Rng) -> i64 {
    time::now() + rng.i64(1_000_000..3_000_000)
}

fn message(channel: Channel, number: usize, place: usize, due: i64) -> pb::Message {
    let recipient = match channel {
        Channel::Email => format!("w{number}.{place}@example.test"),
        Channel::Sms => format!("+1500{:07}", (number * 1_009 + place) % 10_000_000),
        Channel::Push => format!("token-{number}-{place}"),
        Channel::Chat => format!("handle-{number}-{place}"),
    };
    let api_channel = match channel {
        Channel::Email => pb::message::Channel::Email,
        Channel::Sms => pb::message::Channel::Sms,
        Channel::Push => pb::message::Channel::Push,
        Channel::Chat => pb::message::Channel::Chat,
    };
    pb::Message {
        channel: api_channel.into(),
        recipient,
        body: format!("{number} {place}"),
        scheduled_at: (due > 0).then(|| timestamp(due)),
        ..pb::Message::default()
    }
}

fn timestamp(micros: i64) -> prost_types::Timestamp {
    (std::time::UNIX_EPOCH + Duration::from_micros(micros.unsigned_abs())).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_asks_for_the_same() {
        let shape = Shape {
            messages: 1_000,
            batch: 50,
            single_in: 10,
            channels: vec![Channel::Email, Channel::Sms],
            scheduled_in: 0,
            invalid_in: 20,
        };
        let all = |seed| {
            let mut works = Works::new(seed, shape.clone());
            std::iter::from_fn(|| works.take()).map(|work| format!("{work:?}")).collect::<Vec<_>>()
        };
        assert_eq!(all(7), all(7));
        assert_ne!(all(7), all(8));
        assert_eq!(all(7).len(), 100 + 900 / 50);
    }
}

//! Event streams.

use headlessly_communication::pb;
use tonic::Streaming;

use super::{Clients, within};

/// A stream of the service, and everything it brought.
pub(crate) struct Follow<T> {
    stream: Streaming<T>,
}

impl Follow<pb::WatchMessagesResponse> {
    /// The events of messages.
    pub(crate) async fn messages(api: &Clients, request: pb::WatchMessagesRequest) -> Self {
        Self { stream: within("a stream", api.messages().watch(request)).await.unwrap().into_inner() }
    }
}

impl Follow<pb::Event> {
    /// All events of these types from now on.
    pub(crate) async fn events(api: &Clients, types: &[&str]) -> Self {
        let types = types.iter().map(|kind| (*kind).to_owned()).collect();
        let request = pb::WatchEventsRequest { types, ..Default::default() };
        Self { stream: within("a stream", api.events().watch(request)).await.unwrap().into_inner() }
    }
}

impl<T> Follow<T> {
    /// Everything up to the first that is meant, with it.
    pub(crate) async fn until(&mut self, what: &str, meant: impl Fn(&T) -> bool) -> Vec<T> {
        let mut seen = Vec::new();
        loop {
            match within(what, self.stream.message()).await {
                Ok(Some(next)) => seen.push(next),
                end => panic!("{what}: the stream ended after {} events: {:?}", seen.len(), end.err()),
            }
            if seen.last().is_some_and(&meant) {
                return seen;
            }
        }
    }

    /// The next so many.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<T> {
        let mut seen = Vec::new();
        for number in 1..=count {
            let what = format!("event {number} of {count}");
            seen.push(
                within(&what, self.stream.message()).await.unwrap().unwrap_or_else(|| panic!("{what}")),
            );
        }
        seen
    }

    /// What is left until the service ends the stream.
    pub(crate) async fn rest(&mut self) -> Vec<T> {
        let mut seen = Vec::new();
        while let Some(next) = within("the end of the stream", self.stream.message()).await.unwrap() {
            seen.push(next);
        }
        seen
    }
}

/// The types of events.
pub(crate) fn kinds<'a>(events: impl IntoIterator<Item = &'a pb::Event>) -> Vec<&'a str> {
    events.into_iter().map(|event| event.kind()).collect()
}

/// The type of an event, whose name in Rust is awkward.
trait Kind {
    fn kind(&self) -> &str;
}

impl Kind for pb::Event {
    fn kind(&self) -> &str {
        &self.r#type
    }
}

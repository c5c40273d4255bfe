//! A server for tests that answers as it is told to and remembers what it was asked.

#![allow(clippy::unwrap_used)]

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::stream;
use tokio_stream::{Stream, wrappers::TcpListenerStream};
use tonic::{Request, Response, Status, metadata::MetadataMap, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::v1::{
    self, Event, Message,
    message_service_server::{MessageService, MessageServiceServer},
    send_message_batch_response::{Result as Item, result::Result as Answer},
    send_message_request::Target,
};

/// What the server was asked.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) sent: Vec<v1::SendMessageRequest>,
    pub(super) metadata: Vec<MetadataMap>,
    pub(super) batches: Vec<v1::SendMessageBatchRequest>,
    pub(super) found: Vec<v1::FindMessagesRequest>,
    pub(super) cursors: Vec<String>,
}

#[derive(Clone, Default)]
pub(super) struct Fake(Arc<Mutex<Seen>>);

type Events = Pin<Box<dyn Stream<Item = Result<v1::WatchMessagesResponse, Status>> + Send>>;

/// How many messages it has.
pub(super) const MESSAGES: usize = 450;

impl Fake {
    /// Listens on a free port until the test's runtime ends; gives its URL.
    pub(super) async fn serve(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(MessageServiceServer::new(self.clone()));
        tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
        url
    }

    pub(super) fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }
}

/// Refuses messages without a body, with all the details that a server gives.
fn take(message: Message) -> Result<Message, Status> {
    if message.body.is_empty() {
        let mut details = ErrorDetails::new();
        details.set_error_info("INVALID_MESSAGE", "headlessly.communication", []);
        details.add_bad_request_violation("message.body", "is required");
        return Err(Status::with_error_details(tonic::Code::InvalidArgument, "1 problem", details));
    }
    let status = v1::message::Status::Queued.into();
    Ok(Message { id: "message_1".to_owned(), status, ..message })
}

fn event(number: u32, verb: &str) -> Result<v1::WatchMessagesResponse, Status> {
    let event = Event {
        r#type: format!("Message.{verb}"),
        target: "message_1".to_owned(),
        cursor: number.to_string(),
        ..Event::default()
    };
    Ok(v1::WatchMessagesResponse { event: Some(event), message: None })
}

/// Calls that no test makes. Written out as the trait has them, for a macro in it is expanded after `async_trait`.
macro_rules! not_served {
    ($($name:ident($request:ident) -> $answer:ident;)+) => { $(
        fn $name<'a, 'b>(&'a self, _: Request<v1::$request>) -> Answered<'b, v1::$answer>
        where
            'a: 'b,
            Self: 'b,
        {
            Box::pin(async { Err(Status::unimplemented(stringify!($name))) })
        }
    )+ };
}

type Answered<'b, T> = Pin<Box<dyn Future<Output = Result<Response<T>, Status>> + Send + 'b>>;

#[tonic::async_trait]
impl MessageService for Fake {
    not_served! {
        create(CreateMessageRequest) -> Message;
        update(UpdateMessageRequest) -> Message;
        delete(DeleteMessageRequest) -> Message;
        deliver(DeliverMessageRequest) -> Message;
        read(ReadMessageRequest) -> Message;
        fail(FailMessageRequest) -> Message;
        reschedule(RescheduleMessageRequest) -> Message;
        retry(RetryMessageRequest) -> Message;
        explain(ExplainMessageRequest) -> ExplainMessageResponse;
        get(GetMessageRequest) -> Message;
    }

    async fn send(&self, request: Request<v1::SendMessageRequest>) -> Result<Response<Message>, Status> {
        let mut seen = self.seen();
        seen.metadata.push(request.metadata().clone());
        let request = request.into_inner();
        seen.sent.push(request.clone());
        match request.target {
            Some(Target::Message(message)) => take(*message).map(Response::new),
            _ => Err(Status::not_found("no such message")),
        }
    }

    async fn send_batch(
        &self,
        request: Request<v1::SendMessageBatchRequest>,
    ) -> Result<Response<v1::SendMessageBatchResponse>, Status> {
        let mut seen = self.seen();
        seen.batches.push(request.get_ref().clone());
        // The first try always finds the queue full: the client has to come again.
        if seen.batches.len() == 1 {
            return Err(Status::resource_exhausted("queue full"));
        }
        let answer = |message| match take(message) {
            Ok(message) => Answer::Message(message),
            Err(status) => Answer::Status(prost::Message::decode(status.details()).unwrap()),
        };
        let results =
            request.into_inner().messages.into_iter().map(|message| Item { result: Some(answer(message)) });
        Ok(Response::new(v1::SendMessageBatchResponse { results: results.collect() }))
    }

    async fn find(
        &self,
        request: Request<v1::FindMessagesRequest>,
    ) -> Result<Response<v1::FindMessagesResponse>, Status> {
        let request = request.into_inner();
        let from: usize = request.page_token.parse().unwrap_or(0);
        let to = MESSAGES.min(from + usize::try_from(request.page_size).unwrap());
        let messages =
            (from..to).map(|id| Message { id: format!("message_{id}"), ..Message::default() }).collect();
        let next_page_token = if to == MESSAGES { String::new() } else { to.to_string() };
        self.seen().found.push(request);
        Ok(Response::new(v1::FindMessagesResponse { messages, next_page_token }))
    }

    async fn cancel(
        &self,
        _: Request<v1::CancelMessageRequest>,
    ) -> Result<Response<v1::CancelMessageResponse>, Status> {
        let outcome = v1::cancel_message_response::Outcome::TooLate.into();
        Ok(Response::new(v1::CancelMessageResponse { outcome, message: Some(Message::default()) }))
    }

    type WatchStream = Events;

    /// Breaks after the first event; ends in order when asked to go on after it.
    async fn watch(&self, request: Request<v1::WatchMessagesRequest>) -> Result<Response<Events>, Status> {
        let cursor = request.into_inner().cursor;
        let items = match cursor.as_str() {
            "1" => vec![event(2, "Delivered")],
            _ => vec![event(1, "Sent"), Err(Status::unavailable("going away"))],
        };
        self.seen().cursors.push(cursor);
        Ok(Response::new(Box::pin(stream::iter(items))))
    }
}

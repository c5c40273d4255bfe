//! The API as a client meets it, over the real store.

#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use headlessly_providers::contract::Channel;
use tokio_stream::StreamExt;
use tonic::{Code, Request, Status, transport};
use tonic_types::StatusExt;

use super::*;
use crate::{
    clock,
    model::ids::{IdGenerator, MessageId},
    pb::{
        api_key_service_client::ApiKeyServiceClient, contact_service_client::ContactServiceClient,
        message_service_client::MessageServiceClient,
    },
    service::{
        Deps,
        providers::{Directory, Probe, ProviderStatus},
    },
    store::sqlite::{Sqlite, Synchronous},
};

struct NoProviders;

#[async_trait]
impl Directory for NoProviders {
    fn list(&self) -> Vec<ProviderStatus> {
        Vec::new()
    }

    async fn probe(&self, _: &str) -> Option<Probe> {
        None
    }

    fn serves(&self, _: Channel) -> bool {
        false
    }
}

/// A server on a port of its own, stopped when dropped.
struct Api {
    addr: SocketAddr,
    shutdown: CancellationToken,
    service: Service,
    _folder: tempfile::TempDir,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Api {
    async fn start(open: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Sqlite::open(&folder.path().join("hly.db"), Synchronous::Normal).await.unwrap();
        let shutdown = CancellationToken::new();
        let service = Service::new(Deps {
            store: Arc::new(store),
            ids: Arc::new(IdGenerator::new(0)),
            clock: clock::system(),
            directory: Arc::new(NoProviders),
            metrics: Arc::default(),
            base_url: "https://headless.ly/".to_owned(),
            limits: crate::service::Limits::NONE,
            stopping: shutdown.clone(),
        });
        service.ensure_examples().await.unwrap();
        let drain = Duration::from_secs(5);
        let config = ApiConfig { listen: ([127, 0, 0, 1], 0).into(), tls: None, open, drain };
        let metrics: Metrics = Arc::new(|| "up 1\n".to_owned());
        let running = serve(config, service.clone(), metrics, shutdown.clone()).await.unwrap();
        Self { addr: running.addr, shutdown, service, _folder: folder }
    }

    async fn channel(&self) -> transport::Channel {
        transport::Endpoint::from_shared(format!("http://{}", self.addr)).unwrap().connect().await.unwrap()
    }

    async fn messages(&self) -> MessageServiceClient<transport::Channel> {
        MessageServiceClient::new(self.channel().await)
    }
}

fn hello() -> pb::Message {
    let (recipient, body) = ("ada@example.test".to_owned(), "hello".to_owned());
    pb::Message { recipient, body, ..Default::default() }
}

fn send(message: pb::Message, request_id: &str) -> pb::SendMessageRequest {
    let target = pb::send_message_request::Target::Message(Box::new(message));
    pb::SendMessageRequest { target: Some(target), request_id: request_id.to_owned(), ..Default::default() }
}

fn fields(status: &Status) -> Vec<String> {
    let details =
        status.get_details_bad_request().map(|details| details.field_violations).unwrap_or_default();
    details.into_iter().map(|violation| violation.field).collect()
}

fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

#[tokio::test]
async fn one_port_serves_grpc_and_plain_http() {
    let api = Api::start(true).await;
    let http = reqwest::Client::new();
    let get = |path: &str| http.get(format!("http://{}{path}", api.addr)).send();
    for (path, status, body) in
        [("/metrics", 200, "up 1\n"), ("/healthz", 200, "ok\n"), ("/readyz", 200, "ready\n")]
    {
        let answer = get(path).await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.text().await.unwrap().as_str()),
            (status, body),
            "{path}"
        );
    }
    assert_eq!(get("/nothing").await.unwrap().status(), 404);
    let mut health = tonic_health::pb::health_client::HealthClient::new(api.channel().await);
    for name in SERVED {
        let request = tonic_health::pb::HealthCheckRequest { service: name.to_owned() };
        assert_eq!(health.check(request).await.unwrap().into_inner().status, 1, "{name}");
    }
    // Over HTTP/1.1, as a browser does: an empty Get in a gRPC-Web frame.
    let url = format!("http://{}/headlessly.communication.v1.MessageService/Get", api.addr);
    let web = |origin: &'static str| {
        let request =
            http.post(&url).header("content-type", "application/grpc-web+proto").header("origin", origin);
        request.body(vec![0; 5]).send()
    };
    let answer = web("http://localhost:3000").await.unwrap();
    assert_eq!(answer.headers()["grpc-status"], "3");
    assert_eq!(web("https://evil.test").await.unwrap().headers()["grpc-status"], "7");
    let unknown = http.post(url.replace("Get", "Drop")).header("content-type", "application/grpc-web+proto");
    assert_eq!(unknown.body(vec![0; 5]).send().await.unwrap().headers()["grpc-status"], "12");
    let elsewhere =
        http.post(format!("http://{}/x.Y/Z", api.addr)).header("content-type", "application/grpc");
    assert_eq!(elsewhere.send().await.unwrap().headers()["grpc-status"], "12");
}

#[tokio::test]
async fn reflection_lists_the_services_to_new_and_old_clients() {
    use tonic_reflection::pb::{v1, v1alpha};
    let api = Api::start(true).await;
    let ask = v1::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(api.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.next().await.unwrap().unwrap());
    assert!(SERVED[1..].iter().all(|name| answer.contains(name)), "{answer}");
    let ask = v1alpha::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = v1alpha::ServerReflectionRequest { host: String::new(), message_request: Some(ask) };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(api.channel().await);
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    assert!(answers.next().await.unwrap().is_ok());
}

#[tokio::test]
async fn a_repeated_send_is_one_message_and_a_changed_one_is_refused() {
    let api = Api::start(true).await;
    let mut client = api.messages().await;
    let first = client.send(send(hello(), "r1")).await.unwrap().into_inner();
    assert_eq!((first.status(), first.channel()), (pb::message::Status::Queued, pb::message::Channel::Email));
    assert_eq!(first.context, "https://headless.ly/~default");
    let again = client.send(send(hello(), "r1")).await.unwrap().into_inner();
    assert_eq!(again, first);
    let other = pb::Message { body: "other".to_owned(), ..hello() };
    let refused = client.send(send(other, "r1")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused)), (Code::AlreadyExists, "REQUEST_ID_REUSED".to_owned()));
    assert_eq!(fields(&refused), ["request_id"]);
    let empty = client.send(pb::SendMessageRequest::default()).await.unwrap_err();
    assert_eq!(fields(&empty), ["message", "recipient", "body"]);
    let batch = pb::SendMessageBatchRequest {
        messages: vec![hello(), pb::Message::default()],
        request_id: "b1".to_owned(),
        ..Default::default()
    };
    let one = client.send_batch(batch.clone()).await.unwrap().into_inner();
    assert_eq!(client.send_batch(batch).await.unwrap().into_inner(), one);
    assert!(matches!(
        one.results[1].result,
        Some(pb::send_message_batch_response::result::Result::Status(_))
    ));
}

#[tokio::test]
async fn verbs_report_cancel_and_explain() {
    let api = Api::start(true).await;
    let mut client = api.messages().await;
    let id = client.send(send(hello(), "")).await.unwrap().into_inner().id;
    let cancel = pb::CancelMessageRequest { id: id.clone(), request_id: "c".to_owned() };
    for _ in 0..2 {
        let outcome = client.cancel(cancel.clone()).await.unwrap().into_inner().outcome();
        assert_eq!(outcome, pb::cancel_message_response::Outcome::Cancelled);
    }
    let again =
        client.cancel(pb::CancelMessageRequest { request_id: String::new(), ..cancel }).await.unwrap();
    assert_eq!(again.into_inner().outcome(), pb::cancel_message_response::Outcome::AlreadyCancelled);
    let late =
        client.deliver(pb::DeliverMessageRequest { id: id.clone(), ..Default::default() }).await.unwrap_err();
    assert_eq!((late.code(), reason(&late)), (Code::FailedPrecondition, "WRONG_STATUS".to_owned()));
    let told = client.explain(pb::ExplainMessageRequest { id }).await.unwrap().into_inner().decisions;
    assert!(told.iter().any(|decision| decision.summary.starts_with("Cancelled by user_local")), "{told:?}");
    let unknown = MessageId(12_345).to_string();
    for (id, code) in [("", Code::InvalidArgument), ("x", Code::InvalidArgument), (&unknown, Code::NotFound)]
    {
        let refused = client.get(pb::GetMessageRequest { id: id.to_owned(), as_of: None }).await.unwrap_err();
        assert_eq!(refused.code(), code, "{id}");
    }
}

#[tokio::test]
async fn a_draft_is_changed_and_sent() {
    let api = Api::start(true).await;
    let mut client = api.messages().await;
    let draft = pb::Message { recipient: "contact_fX9bL5nRd".to_owned(), ..hello() };
    let draft = pb::CreateMessageRequest { message: Some(draft), request_id: "d".to_owned() };
    let draft = client.create(draft).await.unwrap().into_inner();
    assert_eq!(draft.status(), pb::message::Status::Draft);
    let change =
        pb::Message { id: draft.id.clone(), subject: "Hi".to_owned(), version: 1, ..Default::default() };
    let update = pb::UpdateMessageRequest { message: Some(change), ..Default::default() };
    let changed = client.update(update.clone()).await.unwrap().into_inner();
    assert_eq!((changed.subject.as_str(), changed.body.as_str(), changed.version), ("Hi", "hello", 2));
    let stale = client.update(update).await.unwrap_err();
    assert_eq!((stale.code(), reason(&stale)), (Code::Aborted, "VERSION_MISMATCH".to_owned()));
    let target = pb::send_message_request::Target::Id(draft.id.clone());
    let request = pb::SendMessageRequest { target: Some(target), ..Default::default() };
    let sent = client.send(request.clone()).await.unwrap().into_inner();
    assert_eq!((sent.status(), sent.channel()), (pb::message::Status::Queued, pb::message::Channel::Email));
    assert_eq!(client.send(request).await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_scheduled_message_is_moved_changed_and_deleted_only_when_it_no_longer_waits() {
    let api = Api::start(true).await;
    let mut client = api.messages().await;
    let now = clock::system()().seconds();
    let at = |seconds: i64| Some(prost_types::Timestamp { seconds: now + seconds, nanos: 0 });
    let request = pb::SendMessageRequest { scheduled_at: at(3_600), ..send(hello(), "s") };
    let id = client.send(request).await.unwrap().into_inner().id;
    let moved =
        pb::RescheduleMessageRequest { id: id.clone(), scheduled_at: at(7_200), ..Default::default() };
    let moved = client.reschedule(moved).await.unwrap().into_inner();
    assert_eq!((moved.status(), moved.scheduled_at), (pb::message::Status::Scheduled, at(7_200)));
    let change = |field: &str, message: pb::Message| pb::UpdateMessageRequest {
        message: Some(pb::Message { id: id.clone(), ..message }),
        update_mask: Some(prost_types::FieldMask { paths: vec![field.to_owned()] }),
        ..Default::default()
    };
    let body = pb::Message { body: "changed".to_owned(), ..Default::default() };
    let changed = client.update(change("body", body)).await.unwrap().into_inner();
    assert_eq!((changed.body.as_str(), changed.scheduled_at), ("changed", at(7_200)));
    let early = pb::Message { expires_at: at(60), ..Default::default() };
    assert_eq!(fields(&client.update(change("expires_at", early)).await.unwrap_err()), ["expires_at"]);
    let delete = pb::DeleteMessageRequest { id: id.clone(), request_id: String::new() };
    assert_eq!(client.delete(delete.clone()).await.unwrap_err().code(), Code::FailedPrecondition);
    client.cancel(pb::CancelMessageRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    for _ in 0..2 {
        assert!(client.delete(delete.clone()).await.unwrap().into_inner().deleted_at.is_some());
    }
    let found = client.find(pb::FindMessagesRequest::default()).await.unwrap().into_inner();
    assert!(found.messages.is_empty());
}

#[tokio::test]
async fn a_watch_has_no_gap_no_repetition_and_an_end() {
    let api = Api::start(true).await;
    let mut client = api.messages().await;
    let id = client.send(send(hello(), "")).await.unwrap().into_inner().id;
    let watch = pb::WatchMessagesRequest { message: id.clone(), until_final: true, ..Default::default() };
    let mut events = client.watch(watch).await.unwrap().into_inner();
    let mut types = Vec::new();
    for _ in 0..2 {
        types.push(events.next().await.unwrap().unwrap().event.unwrap().r#type);
    }
    client.read(pb::ReadMessageRequest { id: id.clone(), ..Default::default() }).await.unwrap();
    while let Some(event) = events.next().await {
        types.push(event.unwrap().event.unwrap().r#type);
    }
    assert_eq!(types, ["Message.Created", "Message.Queued", "Message.Read"]);
    // From the beginning, across everything: every event once, then live.
    let all = pb::WatchMessagesRequest { cursor: "0".to_owned(), ..Default::default() };
    let mut all = client.watch(all).await.unwrap().into_inner();
    let count = 40;
    for _ in 0..count {
        client.send(send(hello(), "")).await.unwrap();
    }
    let mut cursors = Vec::new();
    for _ in 0..3 + 2 * count {
        cursors.push(all.next().await.unwrap().unwrap().event.unwrap().cursor);
    }
    let distinct: std::collections::HashSet<_> = cursors.iter().collect();
    assert_eq!(distinct.len(), cursors.len());
    api.shutdown.cancel();
    let end = all.next().await.unwrap().unwrap_err();
    assert_eq!((end.code(), reason(&end)), (Code::Unavailable, "STOPPING".to_owned()));
}

#[tokio::test]
async fn waiting_returns_the_message_as_it_then_is() {
    let api = Api::start(true).await;
    let mut client = api.messages().await;
    let mut other = client.clone();
    let wait = pb::send_message_request::WaitUntil::Delivered;
    let waiting = tokio::spawn(async move {
        let request = pb::SendMessageRequest { wait_until: wait.into(), ..send(hello(), "w") };
        client.send(request).await.unwrap().into_inner()
    });
    let watch = pb::WatchMessagesRequest { cursor: "0".to_owned(), ..Default::default() };
    let mut events = other.watch(watch).await.unwrap().into_inner();
    let id = events.next().await.unwrap().unwrap().event.unwrap().target;
    other.deliver(pb::DeliverMessageRequest { id, ..Default::default() }).await.unwrap();
    assert_eq!(waiting.await.unwrap().status(), pb::message::Status::Delivered);
    let mut slow = Request::new(pb::SendMessageRequest { wait_until: wait.into(), ..send(hello(), "") });
    slow.set_timeout(Duration::from_millis(300));
    assert_eq!(other.send(slow).await.unwrap().into_inner().status(), pb::message::Status::Queued);
}

fn with_key<T>(message: T, key: &str) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

#[tokio::test]
async fn keys_open_what_their_scopes_say_in_their_tenant_until_revoked() {
    let api = Api::start(false).await;
    let local = crate::service::Caller::local();
    let admin =
        crate::service::keys::NewKey { scopes: Some(crate::service::Scopes::ADMIN), ..Default::default() };
    let (_, admin) = api.service.create_key(&local, crate::service::Given::new(admin)).await.unwrap();
    let mut keys = ApiKeyServiceClient::new(api.channel().await);
    let make = |tenant: &str, scope: pb::api_key::Scope| pb::CreateApiKeyRequest {
        tenant: tenant.to_owned(),
        scopes: vec![scope.into()],
        ..Default::default()
    };
    let made = keys.create(with_key(make("", pb::api_key::Scope::Send), &admin)).await.unwrap().into_inner();
    let denied = keys.create(with_key(make("other", pb::api_key::Scope::Send), &admin)).await.unwrap_err();
    assert_eq!(denied.code(), Code::PermissionDenied);
    let mut client = api.messages().await;
    let sent = client.send(with_key(send(hello(), ""), &made.secret)).await.unwrap().into_inner();
    assert_eq!(sent.created_by, made.api_key.clone().unwrap().id);
    let get = || pb::GetMessageRequest { id: sent.id.clone(), as_of: None };
    let denied = client.get(with_key(get(), &made.secret)).await.unwrap_err();
    assert_eq!((denied.code(), reason(&denied)), (Code::PermissionDenied, "SCOPE_MISSING".to_owned()));
    // Another tenant's message is not there: the same answer as for one that never was.
    let other = crate::service::keys::NewKey { tenant: "other".to_owned(), ..Default::default() };
    let (_, other) = api.service.create_key(&local, crate::service::Given::new(other)).await.unwrap();
    let hidden = client.get(with_key(get(), &other)).await.unwrap_err();
    assert_eq!((hidden.code(), reason(&hidden)), (Code::NotFound, "NOT_FOUND".to_owned()));
    let revoke = pb::RevokeApiKeyRequest { id: made.api_key.unwrap().id };
    keys.revoke(with_key(revoke, &admin)).await.unwrap();
    let no_key = client.send(send(hello(), "")).await.unwrap_err();
    for key in [made.secret.as_str(), "hly_sk_wrong", "x"] {
        let refused = client.send(with_key(send(hello(), ""), key)).await.unwrap_err();
        assert_eq!((refused.code(), refused.message()), (Code::Unauthenticated, no_key.message()));
    }
}

#[tokio::test]
async fn contacts_and_their_devices() {
    let api = Api::start(true).await;
    let mut client = ContactServiceClient::new(api.channel().await);
    let id = "contact_fX9bL5nRd".to_owned();
    let ada = client.get(pb::GetContactRequest { id: id.clone() }).await.unwrap().into_inner();
    assert_eq!((ada.name.as_str(), ada.addresses.len(), ada.devices.len()), ("Ada Example", 3, 1));
    let device =
        pb::Device { token: "token-two".to_owned(), platform: "ios".to_owned(), ..Default::default() };
    let add = pb::AddDeviceRequest { id: id.clone(), device: Some(device), request_id: String::new() };
    let first = client.add_device(add.clone()).await.unwrap().into_inner();
    let renewed = client.add_device(add).await.unwrap().into_inner();
    assert_eq!((renewed.devices.len(), renewed.version), (2, first.version + 1));
    let newest = renewed.devices[0].clone();
    assert_eq!((newest.token.as_str(), &newest.id), ("token-two", &first.devices[0].id));
    let retire = pb::RetireDeviceRequest { id: id.clone(), device: newest.id.clone(), ..Default::default() };
    let retired = client.retire_device(retire).await.unwrap().into_inner();
    assert!(retired.devices.iter().any(|device| device.id == newest.id && device.retired_at.is_some()));
    let change = pb::Contact { id: id.clone(), name: "Ada".to_owned(), ..Default::default() };
    let update = pb::UpdateContactRequest { contact: Some(change), ..Default::default() };
    let changed = client.update(update).await.unwrap().into_inner();
    assert_eq!((changed.name.as_str(), changed.addresses.len()), ("Ada", 3));
    let taken = pb::CreateContactRequest {
        contact: Some(pb::Contact { id: id.clone(), ..Default::default() }),
        ..Default::default()
    };
    assert_eq!(client.create(taken).await.unwrap_err().code(), Code::AlreadyExists);
    let gone =
        client.delete(pb::DeleteContactRequest { id, request_id: String::new() }).await.unwrap().into_inner();
    assert!(gone.deleted_at.is_some());
}

//! Keys, scopes, and tenants that cannot see each other.

use std::time::Duration;

use headlessly_communication::pb::{
    self,
    api_key::Scope,
    message::{Channel, Status},
};
use tonic::{Code, Request};

use crate::harness::{Clients, TestApp, at, draft_to, reason, send_new, to};

const KEYS: &str = "[api]\nrequire_keys = true\n";

/// Makes a key on the server's own machine: its id and its secret.
async fn key(api: &Clients, tenant: &str, scopes: &[Scope]) -> (String, String) {
    let request = pb::CreateApiKeyRequest {
        name: "test".to_owned(),
        tenant: tenant.to_owned(),
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        expires_at: None,
    };
    let made = api.keys().create(request).await.unwrap().into_inner();
    (made.api_key.unwrap().id, made.secret)
}

fn by<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request
}

fn get(id: &str) -> pb::GetMessageRequest {
    pb::GetMessageRequest { id: id.to_owned(), ..Default::default() }
}

fn mail() -> pb::SendMessageRequest {
    send_new(to(Channel::Email, "ann@example.test"))
}

#[tokio::test]
async fn a_call_needs_a_key_with_its_scope() {
    let app = TestApp::start("").await;
    let (send, send_key) = key(&app.api, "acme", &[Scope::Send]).await;
    let (_, read_key) = key(&app.api, "acme", &[Scope::Read]).await;
    let (_, admin_key) = key(&app.api, "acme", &[Scope::Admin]).await;
    let (_, other_admin_key) = key(&app.api, "globex", &[Scope::Admin]).await;
    let app = TestApp::start_in(app.stop().await, KEYS).await;
    let mut messages = app.api.messages();
    let typo = format!("{}x", &send_key[..send_key.len() - 1]);
    for refused in [
        messages.send(mail()).await,
        messages.send(by("hly_sk_nonsense", mail())).await,
        messages.send(by(&typo, mail())).await,
        messages.send(by("", mail())).await,
    ] {
        let error = refused.unwrap_err();
        assert_eq!((error.code(), reason(&error).as_str()), (Code::Unauthenticated, "UNAUTHENTICATED"));
    }
    let message = messages.send(by(&send_key, mail())).await.unwrap().into_inner();
    assert!(message.created_by == send && message.context.ends_with("~acme"), "{}", message.context);
    let error = messages.get(by(&send_key, get(&message.id))).await.unwrap_err();
    assert_eq!((error.code(), reason(&error).as_str()), (Code::PermissionDenied, "SCOPE_MISSING"));
    messages.get(by(&read_key, get(&message.id))).await.unwrap();
    let error = messages.send(by(&read_key, mail())).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let list = pb::ListApiKeysRequest {};
    let error = app.api.keys().list(by(&read_key, list)).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    let keys = app.api.keys().list(by(&admin_key, list)).await.unwrap().into_inner().api_keys;
    assert_eq!(keys.len(), 3, "those of the tenant only");
    // A key of another tenant is not there, and one for another tenant is not made.
    let revoke = pb::RevokeApiKeyRequest { id: send.clone() };
    let error = app.api.keys().revoke(by(&other_admin_key, revoke.clone())).await.unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    let foreign = pb::CreateApiKeyRequest { tenant: "globex".to_owned(), ..Default::default() };
    let foreign = pb::CreateApiKeyRequest { name: "spy".to_owned(), ..foreign };
    let error = app.api.keys().create(by(&admin_key, foreign)).await.unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied);
    // Revoked is revoked for the very next call.
    messages.send(by(&send_key, mail())).await.unwrap();
    app.api.keys().revoke(by(&admin_key, revoke)).await.unwrap();
    let error = messages.send(by(&send_key, mail())).await.unwrap_err();
    assert_eq!(error.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn another_tenants_message_is_as_unknown_as_no_message() {
    let app = TestApp::start("").await;
    let all = [Scope::Send, Scope::Read];
    let (_, acme) = key(&app.api, "acme", &all).await;
    let (_, globex) = key(&app.api, "globex", &all).await;
    let app = TestApp::start_in(app.stop().await, KEYS).await;
    // An id of the same kind that this service never gave.
    let elsewhere = TestApp::start("").await;
    let unknown = elsewhere.api.send(to(Channel::Email, "ann@example.test")).await.id;
    let mut messages = app.api.messages();
    let scheduled =
        pb::Message { scheduled_at: at(Duration::from_secs(3600)), ..to(Channel::Email, "ann@example.test") };
    let theirs = messages.send(by(&acme, send_new(scheduled))).await.unwrap().into_inner();
    for verb in 0..VERBS {
        let (theirs, unknown) =
            (call(&app.api, &globex, verb, &theirs.id).await, call(&app.api, &globex, verb, &unknown).await);
        assert_eq!(theirs, unknown, "verb {verb}");
        assert!(theirs.starts_with("NotFound"), "verb {verb}: {theirs}");
    }
    let now = messages.get(by(&acme, get(&theirs.id))).await.unwrap().into_inner();
    assert_eq!((now.version, now.status()), (theirs.version, Status::Scheduled));
    let find = messages.find(by(&globex, pb::FindMessagesRequest::default())).await.unwrap().into_inner();
    assert!(find.messages.is_empty());
    let list = pb::ListEventsRequest::default();
    let log = app.api.events().list(by(&globex, list.clone())).await.unwrap().into_inner().events;
    assert!(log.is_empty(), "{log:?}");
    assert!(!app.api.events().list(by(&acme, list)).await.unwrap().into_inner().events.is_empty());
    // The same request id in two tenants is two requests.
    let request = pb::SendMessageRequest { request_id: "r-1".to_owned(), ..mail() };
    let one = messages.send(by(&acme, request.clone())).await.unwrap().into_inner();
    let two = messages.send(by(&globex, request)).await.unwrap().into_inner();
    assert_ne!(one.id, two.id);
}

const VERBS: usize = 13;

/// A verb on a message: the refusal with all its details, but for the id.
async fn call(api: &Clients, key: &str, verb: usize, id: &str) -> String {
    let (mut api, id) = (api.messages(), id.to_owned());
    let named = id.clone();
    let message = Some(pb::Message { id: id.clone(), body: "x".to_owned(), ..Default::default() });
    let update = pb::UpdateMessageRequest { message, ..Default::default() };
    let reply = pb::Message { in_reply_to: id.clone(), ..to(Channel::Email, "ann@example.test") };
    let (scheduled_at, watched) = (at(Duration::from_secs(60)), id.clone());
    let refused = match verb {
        0 => api.get(by(key, get(&id))).await.err(),
        1 => api.send(by(key, draft_to(&id))).await.err(),
        2 => api.update(by(key, update)).await.err(),
        3 => api.delete(by(key, pb::DeleteMessageRequest { id, ..Default::default() })).await.err(),
        4 => api.deliver(by(key, pb::DeliverMessageRequest { id, ..Default::default() })).await.err(),
        5 => api.read(by(key, pb::ReadMessageRequest { id, ..Default::default() })).await.err(),
        6 => api.fail(by(key, pb::FailMessageRequest { id, ..Default::default() })).await.err(),
        7 => api.cancel(by(key, pb::CancelMessageRequest { id, ..Default::default() })).await.err(),
        8 => {
            let request = pb::RescheduleMessageRequest { id, scheduled_at, ..Default::default() };
            api.reschedule(by(key, request)).await.err()
        }
        9 => api.retry(by(key, pb::RetryMessageRequest { id, ..Default::default() })).await.err(),
        10 => api.explain(by(key, pb::ExplainMessageRequest { id })).await.err(),
        11 => {
            let request = pb::WatchMessagesRequest { message: watched, ..Default::default() };
            api.watch(by(key, request)).await.err()
        }
        _ => api.send(by(key, send_new(reply))).await.err(),
    };
    let status = refused.unwrap_or_else(|| panic!("verb {verb} is let through"));
    let details = tonic_types::StatusExt::get_error_details(&status);
    format!("{:?} {} {details:?}", status.code(), status.message()).replace(&named, "ID")
}

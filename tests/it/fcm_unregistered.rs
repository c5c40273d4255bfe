//! Push by FCM: no delivery reports, and a device that is gone.

use aws_lc_rs::{
    encoding::{AsDer, Pkcs8V1Der},
    rsa::{KeyPair, KeySize},
};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use headlessly_communication::pb::{
    self,
    failure::Reason,
    message::{Channel, DeliveryReporting, Status},
};
use serde_json::{Value, json};

use crate::harness::{Gateway, Received, TestApp, to};

/// A key file as the vendor's console makes it, with a key that opens nothing.
fn service_account(url: &str) -> Value {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let mut pem = "-----BEGIN PRIVATE KEY-----\n".to_owned();
    for line in BASE64.encode(der.as_ref()).as_bytes().chunks(64) {
        pem += std::str::from_utf8(line).unwrap();
        pem.push('\n');
    }
    pem += "-----END PRIVATE KEY-----\n";
    json!({
        "type": "service_account",
        "project_id": "test-project",
        "private_key_id": "key-1",
        "private_key": pem,
        "client_email": "push@test-project.iam.example",
        "token_uri": format!("{url}/token"),
    })
}

/// Takes every message but those to devices that are gone.
async fn google(request: Received) -> (u16, Value) {
    if request.path == "/token" {
        return (200, json!({ "access_token": "token-1", "expires_in": 3599, "token_type": "Bearer" }));
    }
    assert_eq!(request.path, "/v1/projects/test-project/messages:send");
    assert_eq!(request.headers["authorization"], "Bearer token-1");
    if request.text("/message/token") == "old-phone" {
        let detail = json!({
            "@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError",
            "errorCode": "UNREGISTERED",
        });
        let error = json!({ "code": 404, "message": "gone", "status": "NOT_FOUND", "details": [detail] });
        return (404, json!({ "error": error }));
    }
    (200, json!({ "name": "projects/test-project/messages/1" }))
}

async fn contact_with(app: &TestApp, id: &str, token: &str) -> pb::Contact {
    let contact = pb::Contact { id: id.to_owned(), ..Default::default() };
    let request = pb::CreateContactRequest { contact: Some(contact), ..Default::default() };
    app.api.contacts().create(request).await.unwrap();
    let device = pb::Device { token: token.to_owned(), platform: "android".to_owned(), ..Default::default() };
    let request = pb::AddDeviceRequest { id: id.to_owned(), device: Some(device), ..Default::default() };
    app.api.contacts().add_device(request).await.unwrap().into_inner()
}

#[tokio::test]
async fn a_device_that_is_gone_is_used_no_more() {
    let gateway = Gateway::start(google).await;
    let folder = tempfile::tempdir().unwrap();
    let key_file = folder.path().join("account.json");
    std::fs::write(&key_file, service_account(gateway.url()).to_string()).unwrap();
    let toml = format!(
        "[[provider]]\nname = \"push\"\nkind = \"fcm\"\nservice_account = \"file:{}\"\nbase_url = \"{}\"\n",
        key_file.display(),
        gateway.url()
    );
    let app = TestApp::start(&toml).await;
    assert!(contact_with(&app, "contact_ann", "new-phone").await.devices[0].retired_at.is_none());
    contact_with(&app, "contact_bob", "old-phone").await;

    let push = |to_whom: &str| pb::Message { subject: "Bistro".to_owned(), ..to(Channel::Push, to_whom) };
    let id = app.api.send(push("contact_ann")).await.id;
    let sent = app.api.reach(&id, Status::Sent).await;
    assert_eq!(sent.delivery_reporting(), DeliveryReporting::None);
    assert_eq!(sent.provider_message_id, "projects/test-project/messages/1");
    let seen = gateway.seen();
    let request = seen.iter().find(|request| request.path != "/token").unwrap();
    assert_eq!(request.text("/message/token"), "new-phone");
    assert_eq!(request.text("/message/notification/title"), "Bistro");
    assert_eq!(request.text("/message/notification/body"), "Your table is ready.");
    assert_eq!(request.text("/message/data/hly_message_id"), id);

    let id = app.api.send(push("contact_bob")).await.id;
    let failed = app.api.reach(&id, Status::Failed).await;
    let failure = failed.failure.unwrap();
    assert_eq!((failure.reason(), failure.code.as_str()), (Reason::BadRecipient, "UNREGISTERED"));
    assert_eq!(failed.attempts, 1);
    assert_eq!(app.api.tickets(&id).await.len(), 1);
    let request = pb::GetContactRequest { id: "contact_bob".to_owned() };
    let device = app.api.contacts().get(request).await.unwrap().into_inner().devices.remove(0);
    assert!(device.retired_at.is_some());
    assert_eq!(device.retired_reason, "UNREGISTERED");

    // Nobody is asked about it again: one token, two messages.
    let refused = app.api.messages().send(crate::harness::send_new(push("contact_bob"))).await;
    let reached = match refused {
        Err(status) => crate::harness::reason(&status),
        Ok(message) => {
            let failed = app.api.reach(&message.into_inner().id, Status::Failed).await;
            failed.failure.unwrap().reason().as_str_name().to_owned()
        }
    };
    assert_eq!(reached, "NO_ADDRESS");
    assert_eq!(gateway.seen().len(), 3);
}

use headlessly_providers::{
    contract::{Channel, InboundMessage, Party, Receipt, ReceiptKind, Timestamp},
    gateway::http,
    shared::signature::{Encoding, Hash, encode, tag},
    testing::{Callback, Case},
};

use super::transcripts;

const TOKEN: &str = "canary-bearer-token";
const KEY: &str = "canary-api-key";
const WEBHOOK: &str = "canary-webhook-secret";
const NOW: &str = "1767225600";

pub(crate) fn case() -> Case {
    Case {
        descriptor: http::DESCRIPTOR,
        settings,
        required: &["url"],
        canaries: &[TOKEN, KEY, WEBHOOK],
        channel: Channel::Sms,
        recipient: "+15005550010",
        transcripts: transcripts!("gateway/http": accepted throttled server_error unauthorized bad_recipient garbage
            hostile_text error_in_success numeric_id repeated_id no_id header_injection missing_metadata
            credentials_echoed unknown_code),
        readme: include_str!("../../gateway/http/README.md"),
        references: &[("env:GATEWAY_TOKEN", TOKEN), ("env:GATEWAY_WEBHOOK_SECRET", WEBHOOK)],
        callbacks: callbacks(),
    }
}

fn settings(url: &str) -> toml::Table {
    let text = format!(
        r#"
        url = "{url}/v1/{{{{ channel }}}}/messages?key={{{{ secret.key }}}}&to={{{{ recipient.address }}}}"
        auth = {{ bearer = "{TOKEN}" }}
        secrets = {{ key = "{KEY}" }}
        headers = {{ X-Reference = "{{{{ message.id }}}}", X-Name = "{{{{ recipient.name }}}}" }}
        json = {{ to = ["{{{{ recipient.address }}}}"], text = "{{{{ body }}}}", tag = "{{{{ metadata.tag }}}}", flash = false, parts = 2 }}
        success = ["2xx", "409"]
        id = "/message/id"
        error_code = "/error/code"
        error_message = "/error/message"
        faults = {{ "bad_number" = "dead_recipient", "blocked" = "bad_recipient", "418" = "unauthorized" }}

        [webhook]
        secret = "{WEBHOOK}"
        signature_header = "X-Signature"
        prefix = "v1="
        encoding = "base64"
        timestamp_header = "X-Timestamp"
        items = "/events"
        id = "/id"
        message_id = "/reference"
        status = "/status"
        code = "/code"
        detail = "/text"
        time = "/at"
        statuses = {{ ok = "delivered", seen = "read", gone = "dead_recipient", ping = "ignore", mo = "inbound" }}
        inbound = {{ channel = "SMS", from = "/from", to = "/to", body = "/text" }}
        "#
    );
    text.parse().unwrap_or_default()
}

fn callbacks() -> Vec<Callback> {
    let delivered = Receipt {
        at: Some(Timestamp::from_seconds(1_767_225_500)),
        message_id: Some("message_k7TmPvQx".to_owned()),
        ..Receipt::new(ReceiptKind::Delivered, "g1")
    };
    let gone = Receipt {
        at: Some(Timestamp(1_767_225_500_250_000)),
        code: Some("404".to_owned()),
        detail: Some("Nobody there".to_owned()),
        ..Receipt::new(ReceiptKind::Failed { recipient_dead: true }, "g2")
    };
    let inbound = ReceiptKind::Inbound(Box::new(InboundMessage {
        channel: Channel::Sms,
        from: Party { address: "+15005550010".to_owned(), name: None },
        to: "+15005550006".to_owned(),
        subject: None,
        body: "Hi".to_owned(),
        metadata: Vec::new(),
    }));
    let inbound = Receipt { detail: Some("Hi".to_owned()), ..Receipt::new(inbound, "g3") };
    let batch = r#"{"events":[
        {"id":"g1","reference":"message_k7TmPvQx","status":"ok","at":"2025-12-31T23:58:20Z"},
        {"id":"g2","status":"gone","code":404,"text":"Nobody there","at":1767225500250},
        {"id":"g9","status":"ping"},
        {"status":"ok"}
    ]}"#;
    let unknown = Receipt::new(ReceiptKind::Unknown("teleported".to_owned()), "g1");
    vec![
        callback("a batch", batch, vec![delivered, gone]),
        callback("a new word", r#"{"events":[{"id":"g1","status":"teleported"}]}"#, vec![unknown]),
        callback("nothing", r#"{"hello":"world"}"#, Vec::new()),
        callback(
            "an inbound message",
            r#"{"events":{"id":"g3","status":"mo","from":"+15005550010","to":"+15005550006","text":"Hi"}}"#,
            vec![inbound],
        ),
    ]
}

fn callback(name: &'static str, body: &str, receipts: Vec<Receipt>) -> Callback {
    let signature = tag(Hash::Sha256, WEBHOOK.as_bytes(), &[NOW.as_bytes(), b".", body.as_bytes()]);
    let mut callback =
        Callback::post(name, "https://edge.example/webhooks/gateway", "application/json", body)
            .signed("x-signature", format!("v1={}", encode(Encoding::Base64, &signature)))
            .receipts(receipts);
    callback.headers.push(("x-timestamp".to_owned(), NOW.to_owned()));
    callback.expires = true;
    callback
}

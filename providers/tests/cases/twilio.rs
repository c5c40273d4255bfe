use headlessly_providers::{
    contract::{Channel, InboundMessage, Party, Receipt, ReceiptKind},
    shared::signature::{Encoding, Hash, encode, tag},
    sms::twilio,
    testing::{Callback, Case},
};
use url::form_urlencoded;

use super::transcripts;

const SID: &str = "SM0123456789abcdef0123456789abcdef";
const TOKEN: &str = "canary-auth-token-4711";
const URL: &str = "https://edge.example.net/webhooks/twilio-eu?hly=message_k7TmPvQx";
const INBOUND_URL: &str = "https://edge.example.net/webhooks/twilio-eu";

pub(crate) fn case() -> Case {
    Case {
        descriptor: twilio::DESCRIPTOR,
        settings,
        required: &["account_sid", "auth_token", "from"],
        canaries: &[TOKEN],
        channel: Channel::Sms,
        recipient: "+15005550010",
        transcripts: transcripts!("sms/twilio": accepted throttled server_error unauthorized bad_recipient
            garbage callback unsubscribed refused_on_acceptance redirected overloaded proxy_page),
        readme: include_str!("../../sms/twilio/README.md"),
        references: &[("env:TWILIO_AUTH_TOKEN", TOKEN)],
        callbacks: callbacks(),
    }
}

fn settings(url: &str) -> toml::Table {
    let mut table = toml::Table::new();
    table.insert("account_sid".to_owned(), "ACa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1".into());
    table.insert("auth_token".to_owned(), TOKEN.into());
    table.insert("from".to_owned(), "+15005550006".into());
    table.insert("base_url".to_owned(), url.into());
    table
}

fn callbacks() -> Vec<Callback> {
    let status = |name, status: &str, kind| {
        let body = format!("MessageSid={SID}&MessageStatus={status}&To=%2B15005550010");
        callback(name, URL, &body, vec![about_ours(kind)])
    };
    vec![
        status("queued", "queued", ReceiptKind::Accepted),
        status("sent", "sent", ReceiptKind::Sent),
        status("delivered", "delivered", ReceiptKind::Delivered),
        status("read", "read", ReceiptKind::Read),
        status("canceled", "canceled", ReceiptKind::Failed { recipient_dead: false }),
        status("a new word", "teleported", ReceiptKind::Unknown("teleported".to_owned())),
        failed("30003", vec![ReceiptKind::Failed { recipient_dead: false }]),
        failed("30005", vec![ReceiptKind::Failed { recipient_dead: true }]),
        failed("21610", vec![ReceiptKind::Failed { recipient_dead: false }, ReceiptKind::Unsubscribed]),
        callback("an event without a message", INBOUND_URL, "EventType=onHeartbeat", Vec::new()),
        inbound("an inbound message", "", vec![]),
        inbound("STOP", "&OptOutType=STOP", vec![ReceiptKind::Unsubscribed]),
        inbound("START", "&OptOutType=START", vec![ReceiptKind::Resubscribed]),
    ]
}

fn about_ours(kind: ReceiptKind) -> Receipt {
    Receipt { message_id: Some("message_k7TmPvQx".to_owned()), ..Receipt::new(kind, SID) }
}

fn failed(code: &str, kinds: Vec<ReceiptKind>) -> Callback {
    let body = format!("MessageSid={SID}&MessageStatus=undelivered&ErrorCode={code}&ErrorMessage=Sorry");
    let receipt =
        |kind| Receipt { code: Some(code.to_owned()), detail: Some("Sorry".to_owned()), ..about_ours(kind) };
    callback("a failure", URL, &body, kinds.into_iter().map(receipt).collect())
}

fn inbound(name: &'static str, extra: &str, consent: Vec<ReceiptKind>) -> Callback {
    let body = format!(
        "MessageSid={SID}&SmsStatus=received&From=%2B15005550010&To=%2B15005550006&Body=Hello+%F0%9F%91%8B\
         &NumMedia=1&MediaUrl0=https%3A%2F%2Fm.example%2F0&MediaContentType0=image%2Fpng{extra}"
    );
    let message = InboundMessage {
        channel: Channel::Sms,
        from: Party { address: "+15005550010".to_owned(), name: None },
        to: "+15005550006".to_owned(),
        subject: None,
        body: "Hello 👋".to_owned(),
        metadata: vec![
            ("MediaUrl0".to_owned(), "https://m.example/0".to_owned()),
            ("MediaContentType0".to_owned(), "image/png".to_owned()),
        ],
    };
    let kinds = consent.into_iter().chain([ReceiptKind::Inbound(Box::new(message))]);
    callback(name, INBOUND_URL, &body, kinds.map(|kind| Receipt::new(kind, SID)).collect())
}

fn callback(name: &'static str, url: &str, body: &str, receipts: Vec<Receipt>) -> Callback {
    Callback::post(name, url, "application/x-www-form-urlencoded", body)
        .signed("x-twilio-signature", sign(url, body))
        .receipts(receipts)
}

/// Written a second time, so that a mistake in the plugin is not repeated here.
fn sign(url: &str, body: &str) -> String {
    let mut pairs: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    pairs.sort();
    pairs.dedup();
    let text: String = pairs.into_iter().flat_map(|(name, value)| [name, value]).collect();
    encode(Encoding::Base64, &tag(Hash::Sha1, TOKEN.as_bytes(), &[url.as_bytes(), text.as_bytes()]))
}

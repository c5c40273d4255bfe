//! Configurations of vendors, and how they sign.

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use serde_json::{Value, json};

use super::{Gateway, Received};

/// A gateway `name` of kind http for e-mail and SMS at this URL: `{"id", "to", "text"}` in, `{"id"}` out.
pub(crate) fn http(name: &str, url: &str, more: &str) -> String {
    format!(
        r#"
[[provider]]
name = "{name}"
kind = "http"
channels = ["EMAIL", "SMS"]
url = "{url}/send"
json = {{ id = "{{{{ message.id }}}}", to = "{{{{ recipient.address }}}}", text = "{{{{ body }}}}" }}
id = "/id"
{more}
"#
    )
}

/// What makes [`http`] take callbacks, at `/webhooks/<name>`: `{"message", "status"}` with [`signed`].
pub(crate) const CALLBACKS: &str = r#"
webhook = { secret = "hush", signature_header = "x-signature", message_id = "/message", status = "/status", statuses = { delivered = "delivered", failed = "failed" } }
"#;

/// The header that [`CALLBACKS`] asks for.
pub(crate) fn signed(body: &str) -> (&'static str, String) {
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"hush");
    let tag = hmac::sign(&key, body.as_bytes());
    ("x-signature", tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The answer of a gateway that takes everything.
pub(crate) async fn taken(request: Received) -> (u16, Value) {
    (200, json!({ "id": format!("v-{}", request.text("/id")) }))
}

/// A gateway that takes everything.
pub(crate) async fn sink() -> Gateway {
    Gateway::start(taken).await
}

/// Where Twilio believes the edge to be.
pub(crate) const PUBLIC_URL: &str = "https://edge.example";
/// The token of [`twilio`].
const TWILIO_TOKEN: &str = "twilio-test-token";

/// A provider `sms` of kind twilio at this URL.
pub(crate) fn twilio(url: &str) -> String {
    format!(
        r#"
[edge]
public_url = "{PUBLIC_URL}"

[[provider]]
name = "sms"
kind = "twilio"
account_sid = "AC0123456789abcdef0123456789abcdef"
auth_token = "{TWILIO_TOKEN}"
from = "+15005550006"
base_url = "{url}"
"#
    )
}

/// A callback as Twilio sends it: the form, and its signature over the URL and the sorted parameters.
///
/// Source: <https://www.twilio.com/docs/usage/webhooks/webhooks-security>
pub(crate) fn twilio_call(path: &str, fields: &[(&str, &str)]) -> (String, String) {
    let mut form = reqwest::Url::parse("http://x/").unwrap();
    form.query_pairs_mut().extend_pairs(fields);
    let mut sorted = fields.to_vec();
    sorted.sort_unstable();
    let mut text = format!("{PUBLIC_URL}{path}");
    for (name, value) in sorted {
        text += name;
        text += value;
    }
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TWILIO_TOKEN.as_bytes());
    let signature = BASE64.encode(hmac::sign(&key, text.as_bytes()));
    (form.query().unwrap_or_default().to_owned(), signature)
}

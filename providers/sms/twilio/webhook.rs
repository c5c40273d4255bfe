use std::{borrow::Cow, collections::BTreeMap};

use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::{errors, request::REFERENCE};
use crate::{
    contract::{
        Channel, InboundMessage, Party, Receipt, ReceiptError, ReceiptKind, ReceiptSource, WebhookReply,
        WebhookRequest, WebhookResult,
    },
    shared::{
        signature::{self, Encoding, Hash},
        text::sentence,
    },
};

/// The callbacks of one account: status of messages, and messages that come in.
#[derive(Debug)]
pub(super) struct Webhook {
    auth_token: SecretString,
    shared_key: Option<SecretString>,
}

/// Names in byte order, the distinct values of a name in byte order: the order in which they are signed.
type Parameters<'a> = BTreeMap<Cow<'a, str>, Vec<Cow<'a, str>>>;

impl Webhook {
    pub(super) fn new(auth_token: SecretString, shared_key: Option<SecretString>) -> Self {
        Self { auth_token, shared_key }
    }

    /// Source: <https://www.twilio.com/docs/usage/webhooks/webhooks-security>
    ///
    /// The scheme has no time in it: an old request that is sent again is valid again. That does no harm, as a receipt
    /// changes nothing the second time.
    fn verify(&self, request: &WebhookRequest<'_>, parameters: &Parameters<'_>) -> Result<(), ReceiptError> {
        let given = request
            .header("x-twilio-signature")
            .ok_or(ReceiptError::Unverified("the header X-Twilio-Signature is missing"))?;
        let (hash, key) = self.scheme(request)?;
        let key = key.expose_secret().as_bytes();
        // A body that is no form is signed by its hash, which is in the signed query.
        let body_hash = query_value(request.url, "bodySHA256");
        let mut signed = Vec::new();
        if body_hash.is_none() {
            for (name, values) in parameters {
                for value in values {
                    signed.extend([name.as_bytes(), value.as_bytes()]);
                }
            }
        }
        let valid = url_variants(request.url).iter().any(|url| {
            let parts: Vec<&[u8]> = std::iter::once(url.as_bytes()).chain(signed.iter().copied()).collect();
            signature::matches(Encoding::Base64, &signature::tag(hash, key, &parts), given)
        });
        if !valid {
            return Err(ReceiptError::Unverified("the signature does not fit"));
        }
        match body_hash {
            Some(hash)
                if !signature::same(
                    signature::sha256_hex(request.body).as_bytes(),
                    hash.to_ascii_lowercase().as_bytes(),
                ) =>
            {
                Err(ReceiptError::Unverified("the hash of the body does not fit"))
            }
            _ => Ok(()),
        }
    }

    /// The hash and the key: HMAC-SHA1 under the auth token, unless a shared key of the account is named.
    fn scheme(&self, request: &WebhookRequest<'_>) -> Result<(Hash, &SecretString), ReceiptError> {
        let Some(settings) = request.header("x-twilio-webhooks-signature-settings") else {
            return Ok((Hash::Sha1, &self.auth_token));
        };
        let algorithm = settings.split(',').find_map(|part| part.trim().strip_prefix("algorithm="));
        let hash = match algorithm {
            Some("HMAC_SHA256") => Hash::Sha256,
            Some("HMAC_SHA1") => Hash::Sha1,
            _ => return Err(ReceiptError::Unverified("the algorithm of the signature is unknown")),
        };
        let key = self.shared_key.as_ref();
        Ok((
            hash,
            key.ok_or(ReceiptError::Unverified("signed with a shared key, and webhook_key is not set"))?,
        ))
    }
}

impl ReceiptSource for Webhook {
    fn read(&self, request: &WebhookRequest<'_>) -> Result<WebhookResult, ReceiptError> {
        let is_get = request.method.eq_ignore_ascii_case("GET");
        let source = if is_get { query(request.url).as_bytes() } else { request.body };
        let parameters = parameters(source);
        let signed = if is_get { &Parameters::new() } else { &parameters };
        self.verify(request, signed)?;
        let get = |name: &str| parameters.get(name).and_then(|values| values.first()).map(AsRef::as_ref);
        // An inbound message is "received"; a report never is.
        Ok(match get("MessageStatus").or_else(|| get("SmsStatus")) {
            Some(status) if status != "received" => WebhookResult {
                receipts: status_receipts(status, query_value(request.url, REFERENCE), get),
                reply: None,
            },
            _ => inbound(get).unwrap_or_default(),
        })
    }
}

/// Source: <https://www.twilio.com/docs/messaging/guides/outbound-message-status-in-status-callbacks>
fn status_receipts<'a>(
    status: &str,
    message_id: Option<String>,
    get: impl Fn(&str) -> Option<&'a str>,
) -> Vec<Receipt> {
    let Some(sid) = get("MessageSid").or_else(|| get("SmsSid")) else {
        return Vec::new();
    };
    let code = get("ErrorCode").filter(|code| !code.is_empty());
    let kind = match status {
        "accepted" | "queued" | "scheduled" | "sending" => ReceiptKind::Accepted,
        "sent" => ReceiptKind::Sent,
        "delivered" => ReceiptKind::Delivered,
        "read" => ReceiptKind::Read,
        "undelivered" | "failed" | "canceled" => {
            ReceiptKind::Failed { recipient_dead: errors::recipient_dead(code) }
        }
        other => ReceiptKind::Unknown(sentence(other)),
    };
    let mut receipt = Receipt::new(kind, sid);
    receipt.message_id = message_id;
    receipt.code = code.map(str::to_owned);
    receipt.detail = get("ErrorMessage").filter(|text| !text.is_empty()).map(sentence);
    let mut receipts = vec![receipt.clone()];
    if errors::unsubscribed(code) {
        receipts.push(Receipt { kind: ReceiptKind::Unsubscribed, ..receipt });
    }
    receipts
}

/// A message to us; with it, under the same id, what its keyword says about consent.
///
/// Source: <https://www.twilio.com/docs/messaging/guides/webhook-request>
fn inbound<'a>(get: impl Fn(&str) -> Option<&'a str>) -> Option<WebhookResult> {
    let sid = get("MessageSid").or_else(|| get("SmsSid"))?;
    let from = get("From")?;
    let media = get("NumMedia").and_then(|count| count.parse::<usize>().ok()).unwrap_or(0).min(10);
    let mut metadata = Vec::new();
    for index in 0..media {
        for name in ["MediaUrl", "MediaContentType"] {
            let name = format!("{name}{index}");
            if let Some(value) = get(&name) {
                metadata.push((name, value.to_owned()));
            }
        }
    }
    let message = InboundMessage {
        channel: Channel::Sms,
        from: Party { address: from.to_owned(), name: get("ProfileName").map(str::to_owned) },
        to: get("To").unwrap_or_default().to_owned(),
        subject: None,
        body: get("Body").unwrap_or_default().to_owned(),
        metadata,
    };
    let consent = match get("OptOutType") {
        Some("STOP") => Some(ReceiptKind::Unsubscribed),
        Some("START") => Some(ReceiptKind::Resubscribed),
        _ => None,
    };
    let kinds = consent.into_iter().chain([ReceiptKind::Inbound(Box::new(message))]);
    Some(WebhookResult {
        receipts: kinds.map(|kind| Receipt::new(kind, sid)).collect(),
        // TwiML that answers nothing.
        reply: Some(WebhookReply { content_type: "text/xml", body: "<Response/>".to_owned() }),
    })
}

fn parameters(form: &[u8]) -> Parameters<'_> {
    let mut parameters = Parameters::new();
    for (name, value) in form_urlencoded::parse(form) {
        parameters.entry(name).or_default().push(value);
    }
    for values in parameters.values_mut() {
        values.sort_unstable();
        values.dedup();
    }
    parameters
}

fn query(url: &str) -> &str {
    let url = url.split('#').next().unwrap_or_default();
    url.split_once('?').map_or("", |(_, query)| query)
}

fn query_value(url: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(query(url).as_bytes())
        .find(|(have, _)| have == name)
        .map(|(_, value)| value.into_owned())
}

/// The URL without its port and with it (the default one where it names none): Twilio signs either.
fn url_variants(url: &str) -> [String; 2] {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, tail) = rest.split_at(end);
    // A colon within brackets belongs to an IPv6 address, one before the @ to a password.
    let host_start = authority.rfind(['@', ']']).unwrap_or(0);
    let (host, port) = match authority[host_start..].rfind(':') {
        Some(colon) => (&authority[..host_start + colon], &authority[host_start + colon + 1..]),
        None => (authority, if scheme.eq_ignore_ascii_case("http") { "80" } else { "443" }),
    };
    [format!("{scheme}://{host}{tail}"), format!("{scheme}://{host}:{port}{tail}")]
}

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use secrecy::SecretString;
use serde_json::Value;

use super::{config::Config, request, webhook::Webhook};
use crate::{
    contract::{Channel, Dispatch, ReceiptError, ReceiptSource, Settings, Timestamp, WebhookRequest},
    shared::signature::{self, Encoding, Hash},
    testing,
};

/// Accept and reject cases made with the vendor's own library.
#[test]
fn vectors() {
    let vectors: Value = serde_json::from_str(include_str!("fixtures/vectors.json")).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 55);
    for case in cases {
        let request = &case["request"];
        let headers: Vec<(String, String)> = request["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                (pair[0].as_str().unwrap().to_ascii_lowercase(), pair[1].as_str().unwrap().to_owned())
            })
            .collect();
        let secret = SecretString::from(case["secrets"]["auth_token"].as_str().unwrap());
        let result = Webhook::new(secret.clone(), Some(secret)).read(&WebhookRequest {
            method: request["method"].as_str().unwrap(),
            url: request["url"].as_str().unwrap(),
            headers: &headers,
            body: request["body"].as_str().unwrap_or_default().as_bytes(),
            now: Timestamp::from_seconds(case["now"].as_i64().unwrap()),
        });
        match case["expect"]["accept"].as_bool().unwrap() {
            true => assert!(result.is_ok(), "{}: {result:?}", case["id"]),
            false => {
                assert!(matches!(result, Err(ReceiptError::Unverified(_))), "{}: {result:?}", case["id"])
            }
        }
    }
}

/// What we send is a CreateMessage request by the description that the vendor publishes.
#[test]
fn forms_follow_the_schema() {
    let schema: Value = serde_json::from_str(include_str!("fixtures/create_message.schema.json")).unwrap();
    for form in [plain(), full()] {
        let form: BTreeMap<_, _> = form.into_iter().collect();
        for required in schema["required"].as_array().unwrap() {
            assert!(form.contains_key(required.as_str().unwrap()), "{required}");
        }
        for (name, value) in form {
            let property = &schema["properties"][name];
            match property["type"].as_str() {
                Some("integer") => assert!(value.parse::<i64>().is_ok(), "{name}"),
                Some("string") => {
                    let length = value.len() as u64;
                    assert!(property["minLength"].as_u64().is_none_or(|least| length >= least), "{name}");
                    assert!(property["maxLength"].as_u64().is_none_or(|most| length <= most), "{name}");
                    if property["format"] == "uri" {
                        assert!(reqwest::Url::parse(&value).is_ok(), "{name}");
                    }
                }
                other => panic!("{name} is {other:?} in the schema"),
            }
        }
    }
}

fn plain() -> Vec<(&'static str, String)> {
    request::form(&config(""), &sample()).unwrap()
}

fn full() -> Vec<(&'static str, String)> {
    let mut dispatch = sample();
    dispatch.callback_url = Some("https://edge.example/webhooks/t?x=1".to_owned());
    dispatch.expires_at = Some(dispatch.now.plus(std::time::Duration::from_secs(60)));
    request::form(&config("messaging_service_sid = 'MG00000000000000000000000000000000'"), &dispatch).unwrap()
}

#[test]
fn callback_keeps_its_query() {
    let form = full();
    assert!(form.contains(&(
        "StatusCallback",
        "https://edge.example/webhooks/t?x=1&hly=message_k7TmPvQx".to_owned()
    )));
}

#[test]
fn limit_counts_characters() {
    let mut dispatch = sample();
    dispatch.body = "é".repeat(request::MAX_BODY_CHARS);
    assert!(request::form(&config(""), &dispatch).is_ok());
    dispatch.body.push('é');
    let error = request::form(&config(""), &dispatch).unwrap_err();
    assert!(error.detail.contains("1601"), "{error}");
}

#[test]
fn api_key_signs_in_when_given() {
    let config = config("api_key_sid = 'SK00000000000000000000000000000001'\napi_key_secret = 's'");
    assert_eq!(config.credentials().0, "SK00000000000000000000000000000001");
    assert_eq!(read("api_key_sid = 'SK00000000000000000000000000000001'").unwrap_err().key, "api_key_secret");
    assert_eq!(read("validity_period = 36001").unwrap_err().key, "validity_period");
    assert_eq!(read("base_url = 'http://api.example.com'").unwrap_err().key, "base_url");
}

fn sample() -> Dispatch {
    testing::dispatch(Channel::Sms, "+15005550010")
}

fn config(more: &str) -> Config {
    read(more).unwrap()
}

fn read(more: &str) -> Result<Config, crate::contract::ConfigError> {
    let account =
        "account_sid = 'ACa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1'\nauth_token = 't'\nfrom = '+15005550006'\n";
    Config::read(&Settings { table: format!("{account}{more}").parse().unwrap() })
}

/// Twilio wants TwiML as the answer to a message, and nothing as the answer to a report.
#[test]
fn only_messages_are_answered() {
    let read = |body: &str| {
        let secret = SecretString::from("t");
        let parameters = url::form_urlencoded::parse(body.as_bytes());
        let mut parts: Vec<String> = parameters.map(|(name, value)| format!("{name}{value}")).collect();
        parts.sort();
        let text = format!("https://x.example/{}", parts.concat());
        let tag = signature::tag(Hash::Sha1, b"t", &[text.as_bytes()]);
        let headers = [("x-twilio-signature".to_owned(), signature::encode(Encoding::Base64, &tag))];
        let (url, body, now) = ("https://x.example/", body.as_bytes(), Timestamp(0));
        let request = WebhookRequest { method: "POST", url, headers: &headers, body, now };
        Webhook::new(secret, None).read(&request).unwrap().reply
    };
    let reply = read("Body=hi&From=%2B1&MessageSid=SM1&SmsStatus=received").unwrap();
    assert_eq!((reply.content_type, reply.body.as_str()), ("text/xml", "<Response/>"));
    assert_eq!(read("MessageSid=SM1&MessageStatus=sent"), None);
}

proptest! {
    /// Whatever is sent: no panic, and nothing is taken that was not signed.
    #[test]
    fn nothing_unsigned_is_taken(
        method in "GET|POST|PUT",
        url in "(https?://)?[a-z0-9:@\\[\\]é.]{0,12}[/?#a-zA-Z0-9=&%:@é]{0,24}",
        signature in "[A-Za-z0-9+/=]{0,30}",
        body in proptest::collection::vec(any::<u8>(), 0..64),
    ) {
        let headers = [("x-twilio-signature".to_owned(), signature)];
        let webhook = Webhook::new(SecretString::from("t"), None);
        let request = WebhookRequest { method: &method, url: &url, headers: &headers, body: &body, now: Timestamp(0) };
        prop_assert!(webhook.read(&request).is_err());
    }
}

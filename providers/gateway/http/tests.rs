#![allow(clippy::unwrap_used)]

use reqwest::Method;

use super::{
    config::Config,
    webhook_config::{Part, Word},
};
use crate::{
    contract::{Channel, ConfigError, Dispatch, Settings},
    shared::http::Http,
    testing,
};

fn read(toml: &str) -> Result<Config, ConfigError> {
    Config::read(&Settings { table: toml.parse().unwrap() })
}

fn request(toml: &str, dispatch: &Dispatch) -> reqwest::Request {
    let config = read(toml).unwrap();
    let http = Http::new(config.request.origin()).unwrap();
    config.request.render(&http, dispatch, config.max_body_bytes).unwrap().build().unwrap()
}

fn body(request: &reqwest::Request) -> String {
    String::from_utf8(request.body().unwrap().as_bytes().unwrap().to_vec()).unwrap()
}

fn sample() -> Dispatch {
    let mut dispatch = testing::dispatch(Channel::Sms, "+15005550010");
    dispatch.body = "5 < 6 & \"7\"".to_owned();
    dispatch
}

#[test]
fn bodies_escape_for_their_type() {
    let table = [
        ("application/json", r#"{"t": {{ body }}}"#, r#"{"t": "5 < 6 & \"7\""}"#),
        ("text/xml", "<t>{{ body }}</t>", "<t>5 &lt; 6 &amp; &quot;7&quot;</t>"),
        ("application/x-www-form-urlencoded", "t={{ body }}", "t=5%20%3C%206%20%26%20%227%22"),
        ("text/plain", "{{ body }}", "5 < 6 & \"7\""),
    ];
    for (content_type, template, expected) in table {
        let toml =
            format!("url = 'https://x.example/'\ncontent_type = '{content_type}'\nbody = '{template}'");
        let request = request(&toml, &sample());
        assert_eq!(body(&request), expected);
        assert_eq!(request.headers()["content-type"], content_type);
    }
}

#[test]
fn forms_and_basic_auth() {
    let request = request(
        "url = 'https://x.example/send'\nmethod = 'put'\nauth = { username = 'u', password = 'p' }\n\
         form = { To = '{{ recipient.address }}', Text = '{{ body }}' }",
        &sample(),
    );
    assert_eq!(request.method(), Method::PUT);
    assert_eq!(body(&request), "Text=5+%3C+6+%26+%227%22&To=%2B15005550010");
    assert_eq!(request.headers()["authorization"], "Basic dTpw");
}

#[test]
fn the_url_stays_on_its_host() {
    let mut dispatch = sample();
    for address in ["@evil.example/", "//evil.example", "../../admin", "a/../..", "?x#y", "%2e%2e"] {
        dispatch.recipient.address = address.to_owned();
        let request = request("url = 'https://x.example/to/{{ recipient.address }}/send'", &dispatch);
        assert_eq!(request.url().host_str(), Some("x.example"));
        assert!(request.url().path().starts_with("/to/"), "{}", request.url());
        assert!(request.url().path().ends_with("/send"), "{}", request.url());
    }
    dispatch.recipient.address = "..".to_owned();
    let config = read("url = 'https://x.example/to/{{ recipient.address }}/send'").unwrap();
    let http = Http::new(config.request.origin()).unwrap();
    assert!(config.request.render(&http, &dispatch, 100).is_err());
}

#[test]
fn a_repetition_is_named() {
    let toml = "url = 'https://x.example/'\nidempotent = true\nheaders = { Idempotency-Key = '{{ idempotency_key }}' }";
    assert!(read(toml).unwrap().idempotent);
    assert_eq!(request_without_body(toml).headers()["idempotency-key"], "message_k7TmPvQx.1");
}

fn request_without_body(toml: &str) -> reqwest::Request {
    let request = request(toml, &sample());
    assert!(request.body().is_none());
    request
}

#[test]
fn a_template_cannot_run_for_ever() {
    let config = read(
        "url = 'https://x.example/'\ncontent_type = 'text/plain'\n\
         body = '{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}'",
    )
    .unwrap();
    let http = Http::new(config.request.origin()).unwrap();
    let error = config.request.render(&http, &sample(), 100).unwrap_err();
    assert!(error.detail.contains("`body`"), "{error}");
}

#[test]
fn mistakes_are_found_when_read() {
    let table = [
        ("json = { a = '{{ bodi }}' }", "json.a"),
        ("json = { a = '{{ recipient.adress }}' }", "json.a"),
        ("json = { a = { b = ['{{ secret.key }}'] } }", "json.a.b"),
        ("json = { a = '{{ body' }", "json.a"),
        ("json = {}\nbody = 'x'", "body"),
        ("headers = { 'a b' = 'x' }", "headers.a b"),
        ("auth = { username = 'x' }", "auth"),
        ("auth = { bearer = '' }", "auth.bearer"),
        ("auth = { bearer = 'two words' }", "auth.bearer"),
        ("idempotent = true\njson = { a = '{{ body }}' }", "idempotent"),
        ("method = 'DELETE'", "method"),
        ("id = 'message.id'", "id"),
        ("success = ['ok']", "success"),
        ("success = ['1xx']", "success"),
        ("faults = { x = 'retry' }", "faults.x"),
        ("timeout_seconds = 0", "timeout_seconds"),
        ("max_body_bytes = 0", "max_body_bytes"),
        ("[webhook]\nsignature_header = 'x'\nstatus = '/s'\nstatuses = {}", "webhook.secret"),
        ("[webhook]\nsecret = 's'\nsignature_header = 'x'\nstatus = '/s'\nstatuses = {}", "webhook.id"),
        (
            "[webhook]\nsecret = 's'\nsignature_header = 'x'\nid = '/i'\nstatus = '/s'\nstatuses = { a = 'inbound' }",
            "webhook.inbound",
        ),
        (
            "[webhook]\nsecret = 's'\nsignature_header = 'x'\nid = '/i'\nstatus = '/s'\nstatuses = {}\nsigned = '{timestamp}{body}'",
            "webhook.signed",
        ),
    ];
    for (toml, key) in table {
        let error = read(&format!("url = 'https://x.example/'\n{toml}")).unwrap_err();
        assert_eq!(error.key, key, "{toml}: {error}");
    }
    for url in ["https://{{ channel }}.example/", "http://x.example/", "x.example", "https://u:p@x.example/"]
    {
        assert_eq!(read(&format!("url = '{url}'")).unwrap_err().key, "url", "{url}");
    }
}

#[test]
fn signed_text_is_cut_into_parts() {
    let toml = "[webhook]\nsecret = 's'\nsignature_header = 'X'\nid = '/i'\nstatus = '/s'\nstatuses = { a = 'read' }\n\
                timestamp_header = 'T'\nsigned = '§{timestamp}:{body}'";
    let table: toml::Table = toml.parse().unwrap();
    let raw: super::webhook_config::RawWebhook = table["webhook"].clone().try_into().unwrap();
    let (scheme, fields) = raw.check().unwrap();
    let text = |text: &str| Part::Text(text.to_owned());
    assert_eq!(scheme.signed, [text("§"), Part::Timestamp, text(":"), Part::Body]);
    assert_eq!(fields.statuses["a"], Word::Read);
}

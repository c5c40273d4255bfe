#![allow(clippy::unwrap_used)]

use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use secrecy::SecretString;
use serde_json::Value;

use super::{request, token};
use crate::{
    contract::{Channel, Fault, Settings},
    testing::{self, Step, Wire},
};

fn vectors() -> Vec<Value> {
    let vectors: Value = serde_json::from_str(include_str!("fixtures/vectors.json")).unwrap();
    vectors["cases"].as_array().unwrap().clone()
}

/// RS256 is deterministic, so with the header and the order of claims of the vendor's library the text is the same.
#[test]
fn assertions_are_those_of_the_vendor() {
    let cases: Vec<Value> = vectors().into_iter().filter(|case| case["op"] == "build_assertion").collect();
    assert_eq!(cases.len(), 6);
    for case in cases {
        let (input, expect) = (&case["input"], &case["expect"]);
        let scopes: Vec<&str> =
            input["scopes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        let claims = token::Claims {
            iss: input["client_email"].as_str().unwrap(),
            scope: &scopes.join(" "),
            aud: input["token_uri"].as_str().unwrap(),
            iat: case["now"].as_i64().unwrap(),
            exp: case["now"].as_i64().unwrap() + 3600,
            sub: input["subject"].as_str(),
        };
        let key = SecretString::from(input["test_only_private_key_pem"].as_str().unwrap());
        let key = token::signing_key(&key).unwrap();
        let assertion = token::assertion(&claims, input["private_key_id"].as_str(), &key).unwrap();
        assert_eq!(parts(&assertion).1, expect["claims"], "{}", case["id"]);
        let header = parts(&assertion).0;
        assert_eq!(header["alg"], expect["header"]["alg"]);
        assert_eq!(header["kid"].as_str(), input["private_key_id"].as_str());
        // The vendor's is signed by the same key: one public key verifies both.
        let vendors = expect["assertion"].as_str().unwrap();
        assert_eq!(parts(vendors).1, parts(&assertion).1, "{}", case["id"]);
    }
}

fn parts(jwt: &str) -> (Value, Value) {
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let mut parts = jwt.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
    let mut next = || serde_json::from_slice(&parts.next().unwrap()).unwrap();
    (next(), next())
}

/// What a receiver such as Google checks, with the vendor library's good and bad assertions; ours among the good ones.
#[test]
fn assertions_are_verified_as_by_the_vendor() {
    let cases: Vec<Value> = vectors().into_iter().filter(|case| case["op"] == "verify_assertion").collect();
    assert_eq!(cases.len(), 16);
    let public_key = cases[0]["input"]["public_key_pem"].as_str().unwrap();
    for case in &cases {
        let input = &case["input"];
        let pem = input["public_key_pem"].as_str().unwrap();
        let good = verify(input["assertion"].as_str().unwrap(), pem, case["now"].as_i64().unwrap());
        assert_eq!(good, case["expect"]["accept"].as_bool().unwrap(), "{}", case["id"]);
    }
    let build = &vectors()[0];
    let key = SecretString::from(build["input"]["test_only_private_key_pem"].as_str().unwrap());
    let now = build["now"].as_i64().unwrap();
    let claims = token::Claims {
        iss: "c@test-project.iam.gserviceaccount.com",
        scope: token::SCOPE,
        aud: "https://oauth2.googleapis.com/token",
        iat: now,
        exp: now + 3600,
        sub: None,
    };
    let ours = token::assertion(&claims, Some("kid"), &token::signing_key(&key).unwrap()).unwrap();
    assert!(verify(&ours, public_key, now));
}

fn verify(assertion: &str, pem: &str, now: i64) -> bool {
    let mut validation = Validation::new(Algorithm::RS256);
    validation.set_audience(&["https://oauth2.googleapis.com/token"]);
    validation.validate_exp = false;
    let key = DecodingKey::from_rsa_pem(pem.as_bytes()).unwrap();
    let Ok(data) = jsonwebtoken::decode::<Value>(assertion, &key, &validation) else {
        return false;
    };
    let (iat, exp) = (data.claims["iat"].as_i64().unwrap(), data.claims["exp"].as_i64().unwrap());
    exp > now && exp - iat <= 3600
}

/// What we send is a SendMessageRequest by the discovery document that the vendor publishes.
#[test]
fn bodies_follow_the_schema() {
    let document: Value = serde_json::from_str(include_str!("fixtures/message.schema.json")).unwrap();
    let mut dispatch = testing::dispatch(Channel::Push, "token");
    dispatch.subject = Some("Title".to_owned());
    dispatch.metadata = vec![("order".to_owned(), "7".to_owned())];
    dispatch.expires_at = Some(dispatch.now.plus(std::time::Duration::from_secs(60)));
    check(&document, "SendMessageRequest", &request::body(&dispatch).unwrap());
    dispatch.recipient.address = "fid:x".to_owned();
    check(&document, "SendMessageRequest", &request::body(&dispatch).unwrap());
    check(&document, "SendMessageRequest", &request::probe());
}

fn check(document: &Value, name: &str, value: &Value) {
    let schema = &document["schemas"][name];
    for (key, value) in value.as_object().unwrap() {
        let property = &schema["properties"][key];
        if let Some(reference) = property["$ref"].as_str() {
            check(document, reference, value);
            continue;
        }
        let fits = match property["type"].as_str() {
            Some("string") => value.is_string(),
            Some("boolean") => value.is_boolean(),
            Some("object") => {
                property["additionalProperties"]["type"] != "string"
                    || value.as_object().unwrap().values().all(Value::is_string)
            }
            other => panic!("{name}.{key} is {other:?} in the document"),
        };
        assert!(fits, "{name}.{key}");
        if let Some(words) = property["enum"].as_array() {
            assert!(words.contains(value), "{name}.{key}");
        }
    }
}

#[test]
fn size_counts_everything_that_travels() {
    let mut dispatch = testing::dispatch(Channel::Push, "token");
    dispatch.body = "x".repeat(3000);
    assert!(request::body(&dispatch).is_ok());
    dispatch.metadata = vec![("k".to_owned(), "v".repeat(1100))];
    assert_eq!(request::body(&dispatch).unwrap_err().fault, Fault::Rejected);
}

/// Many first messages at once get one access token, and later ones use it again.
#[tokio::test]
async fn one_token_serves_all() {
    let token = r#"{"access_token":"ya29.t","expires_in":3599,"token_type":"Bearer"}"#;
    let sent = r#"{"name":"projects/p/messages/1"}"#;
    let steps = [token].into_iter().chain([sent; 9]).map(|body| answer(200, body)).collect();
    let wire = Wire::start(steps).await.unwrap();
    let provider = build(&wire.url());
    let dispatch = testing::dispatch(Channel::Push, "token");
    let sends = (0..8).map(|_| provider.send(&dispatch));
    for result in futures_util::future::join_all(sends).await {
        assert!(result.is_ok(), "{result:?}");
    }
    assert!(provider.send(&dispatch).await.is_ok());
    let paths: Vec<String> = wire.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(paths.iter().filter(|path| *path == "/token").count(), 1, "{paths:?}");
    assert_eq!(paths.len(), 10);
}

/// A token that ends within five minutes is used once and not kept; one that cannot be sent in a header is none.
#[tokio::test]
async fn odd_tokens() {
    let short = r#"{"access_token":"ya29.t","expires_in":299}"#;
    let sent = r#"{"name":"projects/p/messages/1"}"#;
    let broken = r#"{"access_token":"a\nb","expires_in":18446744073709551615}"#;
    let steps = [short, sent, short, sent, broken].map(|body| answer(200, body)).to_vec();
    let wire = Wire::start(steps).await.unwrap();
    let provider = build(&wire.url());
    let dispatch = testing::dispatch(Channel::Push, "token");
    assert!(provider.send(&dispatch).await.is_ok());
    assert!(provider.send(&dispatch).await.is_ok());
    assert_eq!(provider.send(&dispatch).await.unwrap_err().fault, Fault::Transient);
    assert_eq!(wire.seen().len(), 5);
}

/// The probe succeeds when nothing but its made-up registration token is wrong.
#[tokio::test]
async fn probe_looks_at_the_reason() {
    let token = r#"{"access_token":"ya29.t","expires_in":3599}"#;
    let code = |code: &str| format!(r#"{{"error":{{"details":[{{"errorCode":"{code}"}}]}}}}"#);
    let wire = Wire::start(vec![
        answer(200, token),
        answer(400, &code("INVALID_ARGUMENT")),
        answer(401, &code("THIRD_PARTY_AUTH_ERROR")),
    ])
    .await
    .unwrap();
    let provider = build(&wire.url());
    assert!(provider.probe().await.is_ok());
    assert_eq!(provider.probe().await.unwrap_err().fault, Fault::Unauthorized);
}

fn answer(status: u16, body: &str) -> Step {
    Step::Answer { status, headers: Vec::new(), body: body.as_bytes().to_vec() }
}

fn build(url: &str) -> std::sync::Arc<dyn crate::contract::ChannelProvider> {
    let account = serde_json::json!({
        "project_id": "p",
        "private_key": vectors()[0]["input"]["test_only_private_key_pem"],
        "client_email": "c@p.iam.gserviceaccount.com",
        "token_uri": format!("{url}/token"),
    });
    let mut table = toml::Table::new();
    table.insert("service_account".to_owned(), account.to_string().into());
    table.insert("base_url".to_owned(), url.into());
    (super::DESCRIPTOR.build)(&Settings { table }, testing::context()).unwrap()
}

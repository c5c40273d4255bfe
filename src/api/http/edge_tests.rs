#![allow(clippy::unwrap_used)]

use async_trait::async_trait;
use headlessly_providers::contract::WebhookReply;

use super::*;
use crate::model::Timestamp;

/// Answers by the name of the provider.
struct Fixed;

#[async_trait]
impl Intake for Fixed {
    async fn receive(&self, provider: &str, request: InboundHttp) -> IntakeAnswer {
        match provider {
            "echo" => {
                let body = format!("{} {} {}", request.method, request.path_and_query, request.body.len());
                IntakeAnswer::Stored { reply: Some(WebhookReply { content_type: "text/xml", body }) }
            }
            "quiet" => IntakeAnswer::Stored { reply: None },
            "forged" => IntakeAnswer::Unverified,
            "odd" => IntakeAnswer::Malformed("no events".to_owned()),
            "down" => IntakeAnswer::Unavailable,
            _ => IntakeAnswer::UnknownProvider,
        }
    }
}

async fn edge() -> (Running, CancellationToken) {
    let shutdown = CancellationToken::new();
    let config = EdgeConfig { listen: ([127, 0, 0, 1], 0).into(), drain: Duration::from_secs(5) };
    let clock: Clock = Arc::new(|| Timestamp(1));
    (serve(config, Arc::new(Fixed), clock, shutdown.clone()).await.unwrap(), shutdown)
}

#[tokio::test]
async fn every_answer_of_the_intake_has_its_status() {
    let (running, shutdown) = edge().await;
    let client = reqwest::Client::new();
    let cases = [("quiet", 204), ("forged", 401), ("odd", 400), ("down", 503), ("nobody", 404)];
    for (provider, status) in cases {
        let url = format!("http://{}/webhooks/{provider}", running.addr);
        let answer = client.post(url).body("x").send().await.unwrap();
        assert_eq!(answer.status(), status, "{provider}");
        assert_eq!(answer.headers().contains_key("retry-after"), provider == "down");
    }
    let url = format!("http://{}/webhooks/echo?a=b%20c", running.addr);
    let answer = client.post(url).body("hello").send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/xml");
    assert_eq!(answer.text().await.unwrap(), "POST /webhooks/echo?a=b%20c 5");
    shutdown.cancel();
    drop(client);
    running.stopped().await;
}

#[tokio::test]
async fn what_is_too_large_or_packed_or_elsewhere_is_refused() {
    let (running, shutdown) = edge().await;
    let client = reqwest::Client::new();
    let url = |path: &str| format!("http://{}{path}", running.addr);
    let large = client.post(url("/webhooks/echo")).body(vec![0; MAX_BODY + 1]).send().await.unwrap();
    assert_eq!(large.status(), 413);
    let fits = client.post(url("/webhooks/echo")).body(vec![0; MAX_BODY]).send().await.unwrap();
    assert_eq!(fits.status(), 200);
    let packed = client.post(url("/webhooks/echo")).header("content-encoding", "gzip").body("x");
    assert_eq!(packed.send().await.unwrap().status(), 415);
    for path in ["/", "/metrics", "/healthz", "/webhooks", "/webhooks/a/b"] {
        let answer = client.get(url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 404, "{path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
    }
    assert_eq!(client.get(url("/webhooks/echo")).send().await.unwrap().status(), 405);
    drop(client);
    shutdown.cancel();
    running.stopped().await;
}

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::{testing::Sink, *};
use crate::contract::{
    Receipt, ReceiptError, ReceiptKind, SinkClosed, Timestamp, WebhookRequest, WebhookResult,
};

fn dev(more: &str) -> (Arc<dyn ChannelProvider>, Arc<Sink>) {
    let sink = Arc::new(Sink::default());
    let context = BuildContext { name: "dev".to_owned(), receipts: Arc::clone(&sink) as _ };
    (build(&testing::settings(more), context).unwrap(), sink)
}

fn to(recipient: &str) -> Dispatch {
    let mut dispatch = testing::dispatch(Channel::Email, recipient);
    dispatch.message_id = format!("message_{recipient}");
    dispatch.idempotency_key = format!("{recipient}:1");
    dispatch
}

fn kinds(receipts: &[Receipt]) -> Vec<ReceiptKind> {
    receipts.iter().map(|receipt| receipt.kind.clone()).collect()
}

#[tokio::test]
async fn a_message_is_kept_and_delivered() {
    let (dev, sink) = dev("");
    let message = to("ann@example.test");
    let accepted = dev.send(&message).await.unwrap();
    assert!(accepted.receipts.is_empty());
    let receipts = sink.wait_for(1).await;
    assert_eq!(kinds(&receipts), [ReceiptKind::Delivered]);
    assert_eq!(receipts[0].provider_message_id, accepted.provider_message_id);
    assert_eq!(receipts[0].message_id.as_deref(), Some("message_ann@example.test"));
    assert!(receipts[0].at.unwrap() >= message.now);
    let kept = dev.capture().unwrap().captured(10);
    assert_eq!(kept.len(), 1);
    assert_eq!(Some(&kept[0].provider_message_id), accepted.provider_message_id.as_ref());
    assert_eq!(kept[0].dispatch.body, "Hello");
    dev.probe().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_same_key_is_taken_once() {
    let (dev, sink) = dev("");
    let first = dev.send(&to("ann@example.test")).await.unwrap();
    let mut again = to("ann@example.test");
    again.attempt = 2;
    let second = dev.send(&again).await.unwrap();
    assert_eq!(first.provider_message_id, second.provider_message_id);
    dev.send(&to("bob@example.test")).await.unwrap();
    assert_eq!(sink.wait_for(2).await.len(), 2);
    assert_eq!(dev.capture().unwrap().captured(10).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn at_once_too_the_same_key_is_taken_once() {
    let (dev, sink) = dev("");
    let message = to("slow@example.test");
    let (first, second) = tokio::join!(dev.send(&message), dev.send(&message));
    assert_eq!(first.unwrap().provider_message_id, second.unwrap().provider_message_id);
    sink.wait_for(1).await;
    assert_eq!(dev.capture().unwrap().captured(10).len(), 1);
}

#[tokio::test]
async fn what_is_refused_at_once() {
    let (dev, _sink) = dev("");
    for (word, fault, retire) in [
        ("badrecipient", Fault::BadRecipient, true),
        ("reject", Fault::Rejected, false),
        ("unauthorized", Fault::Unauthorized, false),
        ("lost", Fault::Ambiguous, false),
    ] {
        for _ in 0..3 {
            let error = dev.send(&to(&format!("{word}@example.test"))).await.unwrap_err();
            assert_eq!((error.fault, error.retire_recipient), (fault, retire), "{word}");
        }
    }
    assert!(dev.capture().unwrap().captured(10).is_empty());
}

#[tokio::test]
async fn what_is_refused_twice() {
    let (dev, sink) = dev("");
    for (word, fault, wait) in
        [("throttle", Fault::Throttled, Some(Duration::from_secs(1))), ("transient", Fault::Transient, None)]
    {
        let message = to(&format!("{word}@example.test"));
        for _ in 0..2 {
            let error = dev.send(&message).await.unwrap_err();
            assert_eq!((error.fault, error.retry_after), (fault, wait));
        }
        dev.send(&message).await.unwrap();
    }
    assert_eq!(sink.wait_for(2).await.len(), 2);
}

#[tokio::test]
async fn an_ambiguous_one_arrives_and_is_taken_once() {
    let (dev, sink) = dev("");
    let error = dev.send(&to("ambiguous@example.test")).await.unwrap_err();
    assert_eq!(error.fault, Fault::Ambiguous);
    let receipts = sink.wait_for(1).await;
    assert_eq!(kinds(&receipts), [ReceiptKind::Delivered]);
    let again = dev.send(&to("ambiguous@example.test")).await.unwrap();
    assert_eq!(again.provider_message_id, receipts[0].provider_message_id);
    assert_eq!(dev.capture().unwrap().captured(10).len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_reported() {
    use ReceiptKind::{Accepted, Delivered, Failed, Read, Sent};
    for (word, expected) in [
        ("bounce", vec![Failed { recipient_dead: true }]),
        ("duplicate", vec![Sent, Sent, Sent, Delivered, Delivered, Delivered]),
        ("outoforder", vec![Read, Delivered, Sent, Accepted]),
        ("read", vec![Delivered, Read]),
        ("delay", vec![Delivered]),
        ("slow", vec![Delivered]),
    ] {
        let (dev, sink) = dev("");
        let message = to(&format!("dev-{word}"));
        let began = Instant::now();
        dev.send(&message).await.unwrap();
        assert_eq!(began.elapsed() >= SLOW, word == "slow");
        let receipts = sink.wait_for(expected.len()).await;
        assert_eq!(kinds(&receipts), expected, "{word}");
        let times: Vec<Timestamp> = receipts.iter().map(|receipt| receipt.at.unwrap()).collect();
        assert_eq!(times.is_sorted_by(|a, b| a > b), word == "outoforder" || times.len() == 1);
        if word == "delay" {
            assert!(began.elapsed() >= Duration::from_secs(5));
            assert!(times[0] >= message.now.plus(Duration::from_secs(5)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn silence() {
    let (dev, sink) = dev("");
    dev.send(&to("silent@example.test")).await.unwrap();
    dev.send(&to("delay@example.test")).await.unwrap();
    // The other one comes 5 s later; nothing has come by then.
    let receipts = sink.wait_for(1).await;
    assert_eq!(receipts[0].message_id.as_deref(), Some("message_delay@example.test"));
    assert_eq!(receipts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn reports_wait_for_their_time_and_for_the_sink() {
    let (dev, sink) = dev("delivery_delay = '2s'");
    *sink.refusals.lock().unwrap() = 4;
    let began = Instant::now();
    for number in 0..1200 {
        dev.send(&to(&format!("ann{number}@example.test"))).await.unwrap();
    }
    let receipts = sink.wait_for(1200).await;
    assert!(began.elapsed() >= Duration::from_millis(2000 + 50 + 100 + 200 + 400));
    let pushes = sink.pushed.lock().unwrap().iter().map(Vec::len).collect::<Vec<_>>();
    assert!(pushes.iter().all(|length| *length <= 500) && pushes.len() <= 4, "{pushes:?}");
    let mut count: HashMap<_, u32> = HashMap::new();
    for receipt in receipts {
        *count.entry(receipt.message_id).or_default() += 1;
    }
    assert!(count.len() == 1200 && count.values().all(|count| *count == 1));
}

/// A store that is down.
struct Down;

#[async_trait]
impl crate::contract::ReceiptSink for Down {
    async fn push(&self, _: Vec<Receipt>) -> Result<(), SinkClosed> {
        Err(SinkClosed)
    }
}

#[tokio::test(start_paused = true)]
async fn the_task_ends_with_the_provider() {
    let sink: Arc<dyn crate::contract::ReceiptSink> = Arc::new(Down);
    let context = BuildContext { name: "dev".to_owned(), receipts: Arc::clone(&sink) };
    let dev = build(&Settings::default(), context).unwrap();
    dev.send(&to("ann@example.test")).await.unwrap();
    dev.send(&to("delay@example.test")).await.unwrap();
    drop(dev);
    let ended = async {
        while Arc::strong_count(&sink) > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), ended).await.unwrap();
}

#[tokio::test]
async fn copies_in_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("outbox");
    let (dev, _sink) = dev(&format!("dir = '{}'", dir.display()));
    let mut message = to("ann@example.test");
    message.subject = Some("Grüße".to_owned());
    let accepted = dev.send(&message).await.unwrap();
    let file = dir.join(format!("{}.json", accepted.provider_message_id.unwrap()));
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!(json["subject"], "Grüße");
    assert_eq!(json["recipient"]["address"], "ann@example.test");
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    // A folder that cannot be: the message is not taken, and goes through once it can be.
    std::fs::remove_file(file).unwrap();
    std::fs::remove_dir(&dir).unwrap();
    std::fs::write(&dir, "in the way").unwrap();
    assert_eq!(dev.send(&to("bob@example.test")).await.unwrap_err().fault, Fault::Transient);
    std::fs::remove_file(&dir).unwrap();
    dev.send(&to("bob@example.test")).await.unwrap();
}

#[test]
fn settings_are_checked() {
    for (text, key) in [
        ("keeep = 1", "keeep"),
        ("keep = 'many'", "keep"),
        ("keep = 100001", "keep"),
        ("delivery_delay = 'soon'", "delivery_delay"),
        ("delivery_delay = '25h'", "delivery_delay"),
        ("webhook_secret = ''", "webhook_secret"),
        ("webhook_secret = 'env:HLY_NO_SUCH_VARIABLE'", "webhook_secret"),
    ] {
        let error = build(&testing::settings(text), testing::context()).unwrap_err();
        assert_eq!(error.key, key, "{text}: {error}");
        assert!(!error.to_string().contains("many"), "{error}");
    }
    let built = build(&testing::example(&DESCRIPTOR), testing::context()).unwrap();
    assert_eq!(built.profile().channels, Channel::ALL);
    let (secret, _) = dev("webhook_secret = 'canary'");
    assert!(!format!("{secret:?}").contains("canary"));
}

fn call(
    dev: &Arc<dyn ChannelProvider>,
    body: &str,
    signature: Option<&str>,
) -> Result<WebhookResult, ReceiptError> {
    let headers: Vec<_> =
        signature.iter().map(|tag| ("x-dev-signature".to_owned(), (*tag).to_owned())).collect();
    let request = WebhookRequest {
        method: "POST",
        url: "http://127.0.0.1:8080/webhooks/dev",
        headers: &headers,
        body: body.as_bytes(),
        now: Timestamp::from_seconds(1_795_000_000),
    };
    dev.receipts().unwrap().read(&request)
}

#[test]
fn callbacks() {
    let (dev, _) = dev("");
    let result = call(&dev, r#"{"provider_message_id": "dev_1", "event": "Delivered"}"#, None).unwrap();
    assert_eq!(result.receipts, [Receipt::new(ReceiptKind::Delivered, "dev_1")]);
    let body = r#" [
        {"message_id": "message_1", "event": "bounced", "code": "5.1.1", "detail": "gone", "at": "2026-01-01T00:00:00Z"},
        {"message_id": "message_1", "event": "failed"},
        {"event": "inbound", "channel": "sms", "from": "+15555550123", "to": "+15555550100", "body": "STOP", "more": 1},
        {"event": "exploded", "message_id": "message_2"}
    ]"#;
    let receipts = call(&dev, body, None).unwrap().receipts;
    assert_eq!(receipts.len(), 4);
    assert_eq!(receipts[0].kind, ReceiptKind::Failed { recipient_dead: true });
    assert_eq!(receipts[0].at, Timestamp::parse("2026-01-01T00:00:00Z"));
    assert_eq!(receipts[1].kind, ReceiptKind::Failed { recipient_dead: false });
    let ReceiptKind::Inbound(inbound) = &receipts[2].kind else { panic!("{receipts:?}") };
    assert_eq!((inbound.channel, inbound.body.as_str()), (Channel::Sms, "STOP"));
    assert_eq!(receipts[3].kind, ReceiptKind::Unknown("exploded".to_owned()));
    assert!(call(&dev, "[]", None).unwrap().receipts.is_empty());
}

#[test]
fn callbacks_that_cannot_be_read() {
    let (dev, _) = dev("");
    let many = format!("[{}]", vec![r#"{"event":"x"}"#; 1001].join(","));
    for (body, what) in [
        ("", "line 1"),
        ("hello", "line 1"),
        ("{}", "line 1"),
        (r#"{"event": "delivered"}"#, "message_id"),
        (r#"{"event": "delivered", "message_id": "m", "at": "noon"}"#, "`at`"),
        (r#"{"event": "inbound", "from": "a", "to": "b", "body": ""}"#, "channel"),
        (r#"{"event": "inbound", "channel": "FAX", "from": "a", "to": "b", "body": ""}"#, "channel"),
        (r#"{"event": "inbound", "channel": "SMS", "to": "b", "body": ""}"#, "from"),
        (&many, "1000"),
    ] {
        let error = call(&dev, body, None).unwrap_err();
        assert!(matches!(&error, ReceiptError::Malformed(text) if text.contains(what)), "{body}: {error}");
    }
}

#[test]
fn signed_callbacks() {
    let (dev, _) = dev("webhook_secret = 'key'");
    let body = "The quick brown fox jumps over the lazy dog";
    let tag = "sha256=f7bc83f430538424b13298e6aa6fb143ef4d59a14946175997479dbc2d1a3cd8";
    assert!(matches!(call(&dev, body, Some(tag)), Err(ReceiptError::Malformed(_))));
    let wrong = tag.replace("f7", "f8");
    for signature in
        [None, Some(""), Some("sha256="), Some("sha256=f"), Some("sha256=zz"), Some(&tag[7..]), Some(&wrong)]
    {
        let result = call(&dev, body, signature);
        assert!(matches!(result, Err(ReceiptError::Unverified(_))), "{signature:?}: {result:?}");
    }
    assert!(matches!(call(&dev, "The quick", Some(tag)), Err(ReceiptError::Unverified(_))));
}

//! A sender that may send only so fast makes nobody else wait.

use std::{collections::HashMap, time::Duration};

use headlessly_communication::pb::{
    self,
    message::{Channel, Status},
};

use crate::harness::{
    TestApp, at, to,
    vendors::{http, sink},
};

/// A message of this sender, whose name is also its text: the gateway is told texts.
fn of(sender: &str, scheduled_at: Option<prost_types::Timestamp>) -> pb::Message {
    pb::Message {
        sender: sender.to_owned(),
        body: sender.to_owned(),
        scheduled_at,
        ..to(Channel::Sms, "+15005550010")
    }
}

async fn times(rest: &str, messages: Vec<pb::Message>) -> (HashMap<String, Vec<Duration>>, Vec<i32>) {
    let gateway = sink().await;
    let toml = http("gateway", gateway.url(), &format!("sender_rate = \"5/s\"\n{rest}"));
    let app = TestApp::start(&toml).await;
    let count = messages.len();
    let request = pb::SendMessageBatchRequest { messages, ..Default::default() };
    app.api.messages().send_batch(request).await.unwrap();
    let seen = gateway.wait_for(count).await;
    let first = seen[0].time;
    let mut by_sender: HashMap<String, Vec<Duration>> = HashMap::new();
    for one in &seen {
        by_sender.entry(one.text("/text")).or_default().push(one.time.duration_since(first).unwrap());
    }
    let mut attempts = Vec::new();
    for one in &seen {
        attempts.push(app.api.reach(&one.text("/id"), Status::Sent).await.attempts);
    }
    (by_sender, attempts)
}

#[tokio::test]
async fn a_slow_sender_waits_and_others_do_not() {
    let slow = (0..6).map(|_| of("+15005550001", None));
    let others = (2..8).map(|number| of(&format!("+1500555000{number}"), None));
    // Two places: those that wait must not sit on them.
    let (times, attempts) = times("max_in_flight = 2\n", slow.chain(others).collect()).await;
    assert_eq!(attempts, [1; 12], "waiting costs no try");
    let slow = &times["+15005550001"];
    let last = slow[5] - slow[0];
    assert!(last >= Duration::from_millis(950), "5 of them wait for 200 ms each: {slow:?}");
    for sender in 2..8 {
        let other = times[&format!("+1500555000{sender}")][0];
        assert!(other < slow[5], "{sender} waited for another: {other:?} of {slow:?}");
    }
}

#[tokio::test]
async fn what_was_scheduled_together_does_not_go_together() {
    let time = at(Duration::from_millis(700));
    let messages = (0..4).map(|_| of("+15005550001", time)).collect();
    let (times, _) = times("", messages).await;
    let gone = &times["+15005550001"];
    assert!(gone[3] - gone[0] >= Duration::from_millis(550), "{gone:?}");
}

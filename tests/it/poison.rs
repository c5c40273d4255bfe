//! A message that ends the process each time it is handed off is taken out, and what is behind it moves on.

use headlessly_communication::pb::{
    failure::Reason,
    message::{Channel, Status},
};
use serde_json::Value;

use crate::harness::{
    Gateway, Received, TestProcess, to,
    vendors::{http, taken},
};

/// Takes everything but for what is written to this one, which is never answered.
async fn gateway() -> Gateway {
    Gateway::start(|request: Received| async move {
        if request.text("/to") == "poison@example.test" {
            std::future::pending::<(u16, Value)>().await
        } else {
            taken(request).await
        }
    })
    .await
}

fn times(gateway: &Gateway, to: &str) -> usize {
    gateway.seen().iter().filter(|request| request.text("/to") == to).count()
}

#[tokio::test]
async fn a_message_that_ends_its_process_is_taken_out_after_a_few_times() {
    let gateway = gateway().await;
    let folder = tempfile::tempdir().unwrap();
    let more = "[dispatch]\nretry_first = \"50ms\"\npoison_after = 3\n";
    let toml = format!("{more}{}", http("gateway", gateway.url(), "max_in_flight = 1\n"));
    let mut process = TestProcess::start(folder.path(), &toml).await;
    let poison = process.api.send(to(Channel::Email, "poison@example.test")).await.id;
    // Behind it: there is one place, and it is taken.
    let behind = process.api.send(to(Channel::Email, "ann@example.test")).await.id;
    for time in 1..=3 {
        let mut seen = gateway.seen().len();
        while times(&gateway, "poison@example.test") < time {
            seen = gateway.wait_for(seen + 1).await.len();
        }
        process.kill();
        process = TestProcess::start(folder.path(), &toml).await;
    }
    let failed = process.api.reach(&poison, Status::Failed).await;
    let failure = failed.failure.unwrap();
    assert_eq!(failure.reason(), Reason::Poison, "{failure:?}");
    assert_eq!(times(&gateway, "poison@example.test"), 3);
    process.api.reach(&behind, Status::Sent).await;
    assert_eq!(times(&gateway, "ann@example.test"), 1);
    assert_eq!(process.api.tickets(&poison).await.len(), 1);
}

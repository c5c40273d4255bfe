//! The contract of the store, tried on each database.

#![allow(clippy::unwrap_used)]

#[path = "../support/postgres.rs"]
mod postgres;

use std::{sync::Arc, time::Duration};

use headlessly_communication::{
    model::{
        Channel, Timestamp,
        crm::{Activity, activity_on_sent},
        event::kind,
        ids::{ActivityId, IdGenerator, MessageId, Tenant, time_of},
        limits::Limits,
        message::{Draft, Message},
        status::{Fact, Status},
        verbs::{Outcome, Refusal, Step, Verdict, Wait, accepted},
    },
    store::{
        Accept, Ack, Change, Changed, Claim, Claimed, Clash, Effects, EventQuery, NewAttempt, NewMessage,
        NewReceipt, Record, RequestKey, Store, StoreError,
        postgres::{Postgres, Settings},
        sqlite::{OpenError, Sqlite, Synchronous},
    },
};
use headlessly_providers::contract::Reporting;

/// A store of its own for one test.
struct Bench {
    store: Arc<dyn Store>,
    ids: IdGenerator,
    /// Of SQLite.
    folder: Option<tempfile::TempDir>,
}

async fn open_sqlite() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let store = Sqlite::open(&folder.path().join("hly.db"), Synchronous::Full).await.unwrap();
    Bench { store: Arc::new(store), ids: IdGenerator::new(0), folder: Some(folder) }
}

async fn open_postgres() -> Option<Bench> {
    let database = postgres::Database::new().await?;
    let store = Postgres::open(&database.url, Settings::default()).await.unwrap();
    let ids = IdGenerator::new(store.node());
    Some(Bench { store: Arc::new(store), ids, folder: None })
}

macro_rules! on_every_database {
    ($($(#[$doc:meta])* $name:ident;)+) => {
        $(mod $name {
            $(#[$doc])*
            #[tokio::test]
            async fn sqlite() {
                super::cases::$name(super::open_sqlite().await).await;
            }

            $(#[$doc])*
            #[tokio::test]
            async fn postgres() {
                if let Some(bench) = super::open_postgres().await {
                    super::cases::$name(bench).await;
                }
            }
        })+
    };
}

on_every_database! {
    accepted_is_there_with_its_place_and_events;
    a_repeated_request_is_answered_and_changes_nothing;
    a_refused_request_uses_no_id_up;
    claims_are_exclusive_and_in_the_order_of_the_lanes;
    a_stale_result_is_kept_apart;
    a_receipt_waits_for_its_message;
    effects_move_with_their_place_in_the_log;
    one_that_fails_takes_no_other_with_it;
    what_was_claimed_is_found_again;
    what_waits_too_long_expires;
    tenants_take_turns;
    the_log_is_read_in_order_while_it_grows;
}

const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

impl Bench {
    fn message(&self, draft: Draft) -> NewMessage {
        self.message_of(Tenant::default(), draft)
    }

    fn message_of(&self, tenant: Tenant, draft: Draft) -> NewMessage {
        let id = self.ids.next(NOW);
        let mut message = Message::new(draft, MessageId(id), tenant, time_of(id), "user_test");
        let (queued, events) = accepted(&mut message.state, time_of(id), "user_test", None, &Limits::DEFAULT);
        NewMessage { message: Arc::new(message), queued: Some(queued), events }
    }

    async fn accept(&self, draft: Draft) -> MessageId {
        let new = self.message(draft);
        let id = new.message.state.id;
        assert_eq!(
            self.store.accept(Accept { messages: vec![new], request: None }).await.unwrap(),
            Ack::Done
        );
        id
    }

    async fn claim(&self, limit: i64, now: Timestamp) -> Vec<Claimed> {
        let lease_until = now.plus(Duration::from_secs(60));
        self.store.claim(Claim { channel: Channel::Sms, limit, now, lease_until }).await.unwrap()
    }

    fn outcome(&self, claimed: &Claimed, verdict: Verdict, provider_id: Option<&str>) -> Change {
        let id = claimed.message.state.id;
        let epoch = claimed.queued.epoch;
        let step = Step::Outcome(Outcome { epoch, provider: Some("sms".to_owned()), verdict });
        let mut change = Change::internal(id, step, "provider_sms".into(), NOW);
        change.attempt = Some(NewAttempt {
            id: self.ids.next(NOW),
            provider: "sms".to_owned(),
            epoch,
            started_at: NOW,
            outcome: "ACCEPTED",
            provider_message_id: provider_id.map(str::to_owned),
            code: None,
            detail: None,
            retry_at: None,
        });
        change
    }

    fn delivered(&self, provider_id: &str) -> NewReceipt {
        NewReceipt {
            id: self.ids.next(NOW),
            provider: "sms".into(),
            received_at: NOW,
            kind: "DELIVERED",
            message: None,
            provider_message_id: Some(provider_id.to_owned()),
            at: NOW,
            code: None,
            detail: None,
            data: None,
        }
    }

    async fn kinds(&self, id: MessageId) -> Vec<String> {
        let query = EventQuery { tenant: None, after: 0, limit: 100, target: Some(id.to_string()) };
        self.store.events(query).await.unwrap().into_iter().map(|event| event.kind).collect()
    }

    async fn status(&self, id: MessageId) -> Status {
        self.store.row(id).await.unwrap().unwrap().state.status()
    }
}

fn sms() -> Draft {
    Draft {
        channel: Some(Channel::Sms),
        recipient: Some("+15005550010".to_owned()),
        body: "hello".to_owned(),
        ..Draft::default()
    }
}

fn taken() -> Verdict {
    Verdict::Accepted { provider_message_id: None, reporting: Reporting::Delivery, facts: Vec::new() }
}

fn key(request_id: &str, hash: u8) -> RequestKey {
    RequestKey {
        tenant: Tenant::default(),
        method: "Message.Test",
        request_id: request_id.to_owned(),
        hash: [hash; 32],
        result: format!("\"{hash}\""),
        now: NOW,
    }
}

mod cases;

/// Two nodes over one database, writing at the same time: neither loses, doubles or overlooks anything of the other's.
#[tokio::test]
async fn two_nodes_share_a_database() {
    let Some(database) = postgres::Database::new().await else { return };
    let mut nodes = Vec::new();
    for _ in 0..2 {
        let store = Postgres::open(&database.url, Settings::default()).await.unwrap();
        let ids = IdGenerator::new(store.node());
        nodes.push(Arc::new(Bench { store: Arc::new(store), ids, folder: None }));
    }
    assert_ne!(nodes[0].store.node(), nodes[1].store.node());
    let work = |node: Arc<Bench>| async move {
        let (mut made, mut taken) = (Vec::new(), Vec::new());
        for _ in 0..60 {
            for _ in 0..3 {
                made.push(node.accept(sms()).await);
            }
            for claimed in node.claim(4, NOW.plus(Duration::from_secs(1))).await {
                let provider_id = claimed.message.state.id.to_string();
                // The report comes by the other node, at the same moment.
                let (change, told) = tokio::join!(
                    node.store.change(node.outcome(&claimed, taken_as(&provider_id), Some(&provider_id))),
                    node.store.put_receipts(vec![node.delivered(&provider_id)])
                );
                change.unwrap();
                told.unwrap();
                taken.push(claimed.message.state.id);
            }
        }
        (made, taken)
    };
    let (one, two) = tokio::join!(tokio::spawn(work(nodes[0].clone())), tokio::spawn(work(nodes[1].clone())));
    let (one, two) = (one.unwrap(), two.unwrap());
    let mut taken = [one.1, two.1].concat();
    loop {
        let claimed = nodes[0].claim(100, NOW.plus(Duration::from_secs(1))).await;
        if claimed.is_empty() {
            break;
        }
        taken.extend(claimed.iter().map(|one| one.message.state.id));
    }
    let mut made = [one.0, two.0].concat();
    made.sort_unstable();
    taken.sort_unstable();
    assert_eq!(made, taken, "each message is claimed once, by one of the two");
    for node in &nodes {
        let (mut after, mut queued) = (0, 0);
        loop {
            let query = EventQuery { tenant: None, after, limit: 500, target: None };
            let events = node.store.events(query).await.unwrap();
            let Some(last) = events.last() else { break };
            after = last.id.0;
            queued += events.iter().filter(|event| event.kind == kind::MESSAGE_QUEUED).count();
        }
        assert_eq!(queued, made.len(), "both read the whole log");
    }
}

fn taken_as(provider_id: &str) -> Verdict {
    Verdict::Accepted {
        provider_message_id: Some(provider_id.to_owned()),
        reporting: Reporting::Delivery,
        facts: Vec::new(),
    }
}

#[tokio::test]
async fn one_file_has_one_process() {
    let bench = open_sqlite().await;
    let path = bench.folder.as_ref().unwrap().path().join("hly.db");
    let second = Sqlite::open(&path, Synchronous::Full).await;
    assert!(matches!(second, Err(OpenError::Locked(locked)) if locked == path));
}

#[tokio::test]
async fn what_is_no_store_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "these are my notes, not a database".repeat(100)).unwrap();
    assert!(matches!(Sqlite::open(&path, Synchronous::Full).await, Err(OpenError::Database(..))));
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("these are my notes"));
}

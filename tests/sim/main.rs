//! Whole lives under faults and crashes, on a paused clock: the real service, dispatcher, receipts and hooks over the model of the
//! store, with vendors, networks and processes that fail as a seed says. The same seed is the same run.
//!
//! `SIM_SEEDS=0..10000 cargo test --release --test sim` tries a range, `SIM_SEEDS=42 SIM_TELL=1` tells what happens in one run.

#![allow(clippy::unwrap_used)]

mod chance;
mod check;
mod client;
mod faulty;
mod gate;
mod node;
#[path = "../model/store/mod.rs"]
mod store;
mod vendor;
mod world;

use std::{collections::BTreeMap, ops::Range, sync::Arc, time::Duration};

use headlessly_communication::{
    model::{
        Channel,
        contact::{Address, Contact},
        event::{EventData, NewEvent, kind},
        ids::{Tenant, entity_of},
    },
    store::{ContactWrite, Writes as _},
};
use node::Node;
use store::ModelStore;
use world::{Notes, World, pause};

/// Seeds of an ordinary test run.
const SEEDS: Range<u64> = 0..200;
/// Once the trouble is over, everything ends within this time.
const REST: Duration = Duration::from_secs(1_800);

/// What every ordinary test run has to meet: without it the rest would prove little.
const MET: [&str; 29] = [
    "crash",
    "stop",
    "freeze",
    "cancelled",
    "copy",
    "orphan",
    "parked",
    "several",
    "alone",
    "ACCEPTED",
    "TRANSIENT",
    "THROTTLED",
    "AMBIGUOUS",
    "REJECTED",
    "BAD_RECIPIENT",
    "UNAUTHORIZED",
    "SENT",
    "DELIVERED",
    "READ",
    "FAILED",
    "CANCELLED",
    "EXPIRED",
    "generation",
    "killed",
    "POISON",
    "paced",
    "found",
    "not there",
    "not known",
];

/// What a run came to: its notes, and what must not be.
type Run = (Notes, Vec<String>);

fn run(seed: u64, tell: bool) -> Run {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, tell);
        live(&world).await;
        let found = check::all(&world);
        check::met(&world);
        (world.notes(), found)
    })
}

async fn live(world: &Arc<World>) {
    people(world).await;
    let count = if world.per_mille(500) { 1 } else { world.number(2..4) };
    let several = count > 1;
    world.note(if several { "several" } else { "alone" }, count as i64, 0);
    let fates: Vec<_> =
        (0..count).map(|number| tokio::spawn(lives(world.clone(), number as u16, several))).collect();
    for number in 0..world.number(5..40) {
        world.tasks.spawn(client::Client::new(world.clone(), number).run());
    }
    pause(world.millis(40_000..100_000)).await;
    world.trouble.store(false, std::sync::atomic::Ordering::Relaxed);
    world.note("calm", 0, 0);
    for fate in fates {
        fate.await.unwrap();
    }
    let end = tokio::time::Instant::now() + REST;
    world.tasks.close();
    if tokio::time::timeout_at(end, world.tasks.wait()).await.is_err() {
        world.violated("callers or vendors still wait for an answer".to_owned());
    }
    while !check::at_rest(world) {
        if tokio::time::Instant::now() > end {
            return world.violated(check::unrest(world));
        }
        pause(Duration::from_secs(1)).await;
    }
}

/// The lives of one node, one after another, until the trouble is over; the last one goes on.
async fn lives(world: Arc<World>, number: u16, several: bool) {
    let calm = || !world.trouble.load(std::sync::atomic::Ordering::Relaxed);
    for life in 0.. {
        let node = Node::start(&world, number, u64::from(number) * 1_000 + life, several).await;
        world.note("node", number.into(), life as i64);
        world.join(node.clone());
        loop {
            pause(world.millis(1_000..20_000)).await;
            if node.gate.is_dead() {
                // A message ended it.
                world.note("killed", number.into(), 0);
                node.crash().await;
                break;
            }
            if calm() {
                node.gate.thaw();
                return;
            }
            match world.number(0..10) {
                0..=3 => {
                    world.note("crash", number.into(), 0);
                    node.crash().await;
                }
                4 => {
                    world.note("stop", number.into(), 0);
                    node.stop().await;
                }
                5..=6 => {
                    world.note("freeze", number.into(), 0);
                    node.gate.freeze(world.millis(500..60_000));
                }
                _ => {}
            }
            if node.gate.is_dead() {
                break;
            }
        }
        pause(world.millis(500..15_000)).await;
    }
}

/// Somebody with an address on every channel.
async fn people(world: &Arc<World>) {
    let address = |channel, value: &str| Address { channel, value: value.to_owned(), label: None };
    for name in ["acme", "globex"] {
        let tenant = Tenant::new(name).unwrap();
        let (id, now) = ("contact_ann".to_owned(), world.now());
        let contact = Contact {
            id: id.clone(),
            tenant: tenant.clone(),
            version: 1,
            created_at: now,
            updated_at: now,
            created_by: "user_sim".to_owned(),
            name: None,
            addresses: vec![
                address(Channel::Email, "ann@example.test"),
                address(Channel::Sms, "+15005550010"),
            ],
            preferred_channel: None,
            locale: None,
            time_zone: None,
            metadata: None,
            devices: Vec::new(),
            deleted_at: None,
        };
        let event = NewEvent {
            kind: kind::CONTACT_CREATED,
            tenant,
            target: id.clone(),
            entity: entity_of(&id),
            actor: "user_sim".to_owned(),
            at: now,
            version: 1,
            data: EventData::default(),
        };
        let write = ContactWrite { contact, event, request: None };
        ModelStore::over(world.shared.clone()).put_contact(write).await.unwrap();
    }
}

/// The seeds that were asked for.
#[expect(clippy::disallowed_methods, reason = "the one input of this program")]
fn asked() -> (Range<u64>, bool) {
    let seeds = std::env::var("SIM_SEEDS").ok().map(|text| match text.split_once("..") {
        Some((from, to)) => from.parse().unwrap()..to.parse().unwrap(),
        None => text.parse::<u64>().map(|seed| seed..seed + 1).unwrap(),
    });
    (seeds.unwrap_or(SEEDS), std::env::var("SIM_TELL").is_ok())
}

/// Runs the seeds on all processors.
fn runs(seeds: &Range<u64>, tell: bool) -> Vec<(u64, Run)> {
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                let mine = seeds.clone().filter(move |seed| seed % threads == worker);
                scope.spawn(move || mine.map(|seed| (seed, run(seed, tell))).collect::<Vec<_>>())
            })
            .collect();
        workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
    })
}

#[test]
fn whatever_fails_nothing_is_lost_doubled_or_early() {
    let (seeds, tell) = asked();
    let begin = std::time::Instant::now();
    let runs = runs(&seeds, tell);
    let (count, took) = (runs.len(), begin.elapsed().as_secs_f64());
    let mut met: BTreeMap<&str, u64> = BTreeMap::new();
    for (kind, times) in runs.iter().flat_map(|(_, (notes, _))| &notes.kinds) {
        *met.entry(kind).or_default() += times;
    }
    let failed: Vec<_> = runs.iter().filter(|(_, (_, found))| !found.is_empty()).collect();
    eprintln!("{count} seeds in {took:.1} s, {:.0} a second; {} failed", count as f64 / took, failed.len());
    eprintln!("met: {met:?}");
    let first: Vec<_> =
        failed.iter().take(10).map(|(seed, (_, found))| format!("SIM_SEEDS={seed}: {found:#?}")).collect();
    assert!(failed.is_empty(), "{} of {count} seeds failed\n{}", failed.len(), first.join("\n"));
    if seeds == SEEDS {
        let missing: Vec<_> = MET.iter().filter(|kind| !met.contains_key(**kind)).collect();
        assert!(missing.is_empty(), "no run met {missing:?}");
    }
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..10 {
        assert_eq!(run(seed, false), run(seed, false), "seed {seed}");
    }
}

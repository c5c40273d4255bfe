//! Two tenants at one vendor: what the backlog of the one costs the urgent messages of the other.

use std::{sync::Arc, time::Instant};

use super::super::{
    Exit, Failure,
    client::{Client, Target},
    v1::{
        CreateApiKeyRequest,
        message::{Channel, Priority},
    },
};
use super::{
    cases::until_last,
    figures::{Figures, percentile, ratio},
    ground::{Ground, SLOW_PLACES, Server},
    load::{BATCH, Load},
};

/// Urgent messages a second.
const PACE: f64 = 50.0;

/// Seconds of backlog beyond the measured time.
const MORE: u64 = 4;

pub(super) async fn run(ground: &Ground<'_>, server: &Server) -> Result<Vec<Figures>, Failure> {
    let (busy, calm) = (tenant(server, "bench-a").await?, tenant(server, "bench-b").await?);
    let seconds = ground.args.secs;
    let urgent = || {
        let load = Load::new(ground, server, Channel::Push, (PACE * f64::from(seconds)) as usize);
        Arc::new(load.by(calm.clone()).priority(Priority::Transactional))
    };
    let alone = paced("tenants, B alone", &urgent()).await?;

    // As much as the vendor takes in the whole time, and some more; a slower machine only keeps it longer.
    let per_second = SLOW_PLACES * 1_000 / ground.args.slow_ms().max(1);
    let backlog = usize::try_from(per_second * (u64::from(seconds) + MORE)).unwrap_or(usize::MAX);
    let backlog = Load::new(ground, server, Channel::Push, backlog.next_multiple_of(BATCH));
    let backlog = Arc::new(backlog.by(busy).priority(Priority::Bulk));
    let begin = Instant::now();
    backlog.batches().await?;
    let beside = paced("tenants, B beside A", &urgent()).await?;
    let left = backlog.lot.len() - backlog.lot.distinct();
    backlog.lot.settle().await;

    let of = |part| ratio(beside.percentile(part) as f64, alone.percentile(part) as f64);
    let (half, most) = (of(50), of(99));
    Ok(vec![
        alone,
        beside.with("p50_ratio", half).with("p99_ratio", most).with("a_waiting_at_end", left),
        Figures::of_lot("tenants, A's backlog", &backlog.lot, until_last(&backlog.lot, begin)),
    ])
}

async fn paced(name: &str, load: &Arc<Load>) -> Result<Figures, Failure> {
    let begin = Instant::now();
    let mut calls = load.paced(PACE).await?;
    load.lot.settle().await;
    calls.times.sort_unstable();
    Ok(Figures::of_lot(name, &load.lot, until_last(&load.lot, begin))
        .with("call_p50_us", percentile(&calls.times, 50))
        .with("call_p99_us", percentile(&calls.times, 99)))
}

/// Connections that act for a tenant.
async fn tenant(server: &Server, name: &str) -> Result<Vec<Client>, Failure> {
    let local = &server.clients[0];
    let request =
        CreateApiKeyRequest { name: "bench".to_owned(), tenant: name.to_owned(), ..Default::default() };
    let secret = local.keys().create(local.request(request)).await?.into_inner().secret;
    if secret.is_empty() {
        return Err(Failure::new(Exit::Internal, "the server made a key without a secret"));
    }
    let target = Target { api_key: Some(secret), ..server.target.clone() };
    let mut clients = Vec::new();
    for _ in 0..2 {
        clients.push(Client::connect(&target).await?);
    }
    Ok(clients)
}

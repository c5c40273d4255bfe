//! The cases that are one load on one server.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio_stream::StreamExt as _;

use super::super::{
    Exit, Failure,
    v1::{WatchEventsRequest, message::Channel},
};
use super::{
    Case,
    figures::{Figures, percentile, ratio},
    ground::{Ground, Server},
    load::{BATCH, Calls, Load, later, now},
    token::{Lot, micros},
};

/// Unary calls at once.
const AT_ONCE: usize = 64;

/// Messages that warm a server up.
const WARM: usize = 200;

/// How long the slowest machine takes to accept the messages of `drain`, for each of them; and at least so long in all.
const AHEAD: (Duration, Duration) = (Duration::from_micros(400), Duration::from_secs(3));

/// It is quiet when no event came for so long; on a server that others use it never is.
const QUIET: Duration = Duration::from_millis(400);
const PATIENCE: Duration = Duration::from_secs(20);

/// Everything once, unmeasured: statements are prepared, connections are open, memory is there.
pub(super) async fn warm_up(ground: &Ground<'_>, server: &Server, case: Case) -> Result<(), Failure> {
    let live = match case {
        Case::Http | Case::Drain | Case::Rate | Case::Depth => Some(Channel::Sms),
        Case::Smtp => Some(Channel::Email),
        Case::Tenants => Some(Channel::Push),
        _ => None,
    };
    let load = Arc::new(Load::new(ground, server, Channel::Chat, WARM));
    load.sends(8).await?;
    if let Some(channel) = live {
        let load = Arc::new(Load::new(ground, server, channel, WARM));
        load.sends(AT_ONCE).await?;
        load.lot.settle().await;
    }
    quiet(server).await
}

/// Waits until nothing follows any more from what was sent before.
async fn quiet(server: &Server) -> Result<(), Failure> {
    let types = vec!["Message.*".to_owned(), "Activity.*".to_owned()];
    let request = WatchEventsRequest { types, ..WatchEventsRequest::default() };
    let mut events = server.clients[0].events().watch(request).await?.into_inner();
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE
        && let Ok(Some(event)) = tokio::time::timeout(QUIET, events.next()).await
    {
        event?;
    }
    Ok(())
}

pub(super) async fn latency(ground: &Ground<'_>, server: &Server) -> Result<Figures, Failure> {
    let count = ground.args.count.min(2_000) as usize;
    let load = Arc::new(Load::new(ground, server, Channel::Chat, count).at(later()));
    Ok(Figures::of_calls("latency, 1 in flight", load.sends(1).await?))
}

pub(super) async fn accept(ground: &Ground<'_>, server: &Server) -> Result<Figures, Failure> {
    let load = Arc::new(Load::new(ground, server, Channel::Chat, ground.args.count as usize).at(later()));
    Ok(Figures::of_calls("accept, unary, 64 in flight", load.sends(AT_ONCE).await?))
}

pub(super) async fn batch(ground: &Ground<'_>, server: &Server) -> Result<Figures, Failure> {
    let count = (ground.args.count as usize).next_multiple_of(BATCH);
    let load = Arc::new(Load::new(ground, server, Channel::Chat, count).at(later()));
    Ok(Figures::of_calls("accept, batches of 500", load.batches().await?))
}

pub(super) async fn send(ground: &Ground<'_>, server: &Server) -> Result<Figures, Failure> {
    let load = Arc::new(Load::new(ground, server, Channel::Chat, ground.args.count as usize));
    Ok(Figures::of_calls("send, unary, 64 in flight", load.sends(AT_ONCE).await?))
}

/// Sends in batches and follows the log until every message is delivered and has its activity.
pub(super) async fn chat(ground: &Ground<'_>, server: &Server, count: usize) -> Result<Figures, Failure> {
    let load = Arc::new(Load::new(ground, server, Channel::Chat, count.next_multiple_of(BATCH)));
    let wanted = load.lot.len();
    let types = vec!["Message.Delivered".to_owned(), "Activity.Created".to_owned()];
    let request = WatchEventsRequest { types, ..WatchEventsRequest::default() };
    // A stream outlives any single call's deadline.
    let mut events = server.clients[0].events().watch(request).await?.into_inner();
    let begin = Instant::now();
    let sending = tokio::spawn({
        let load = load.clone();
        async move { load.batches().await }
    });
    let (mut delivered, mut activities) = (Vec::with_capacity(wanted), 0);
    while delivered.len() < wanted || activities < wanted {
        let patience = tokio::time::timeout(Duration::from_secs(60), events.next());
        let Ok(event) = patience.await else { break };
        let event = event.ok_or_else(|| Failure::new(Exit::Unavailable, "the server ended the stream"))??;
        match event.r#type.as_str() {
            "Message.Delivered" => delivered.push(event.target),
            _ => activities += 1,
        }
    }
    let took = begin.elapsed();
    let accepted = sending.await.map_err(|error| Failure::new(Exit::Internal, error.to_string()))??;
    let distinct = delivered.iter().collect::<HashSet<_>>().len();
    let calls = Calls { took, ..accepted };
    Ok(Figures::of_calls("chat, accepted to delivered", calls)
        .told(distinct, delivered.len() - distinct)
        .with("activities", activities))
}

/// Unary sends, each handed to the gateway; ends when the gateway has all of them.
pub(super) async fn http(ground: &Ground<'_>, server: &Server, count: usize) -> Result<Figures, Failure> {
    let load = Arc::new(Load::new(ground, server, Channel::Sms, count));
    let begin = Instant::now();
    let mut calls = load.sends(AT_ONCE).await?;
    load.lot.settle().await;
    calls.times.sort_unstable();
    Ok(Figures::of_lot("http, unary to the gateway", &load.lot, until_last(&load.lot, begin))
        .with("call_p50_us", percentile(&calls.times, 50))
        .with("call_p99_us", percentile(&calls.times, 99)))
}

/// Messages that are due at one moment; from then until the gateway has them all.
pub(super) async fn drain(ground: &Ground<'_>, server: &Server) -> Result<Figures, Failure> {
    let count = (ground.args.count as usize).next_multiple_of(BATCH);
    let mut ahead = AHEAD.1.max(AHEAD.0 * u32::try_from(count).unwrap_or(u32::MAX));
    loop {
        let (wall, due) = (now(), Instant::now() + ahead);
        let load = Arc::new(Load::new(ground, server, Channel::Sms, count).at(wall + ahead));
        let accepted = load.batches().await?;
        let ready = Instant::now() < due;
        load.lot.settle().await;
        if !ready {
            // They were due before all of them were there, which is not what is to be measured. Again, with more time.
            ahead = accepted.took * 3;
            continue;
        }
        let at = load.lot.arrivals().at;
        let early = at.iter().filter(|at| **at < due).count();
        let times = at.iter().map(|at| micros(at.saturating_duration_since(due))).collect();
        return Ok(Figures::of_lot(
            "drain, due at once to the gateway",
            &load.lot,
            until_last(&load.lot, due),
        )
        .timed(times)
        .with("early", early));
    }
}

/// Batches of mails to the relay; ends when it has all of them.
pub(super) async fn smtp(ground: &Ground<'_>, server: &Server) -> Result<Figures, Failure> {
    let load = Arc::new(Load::new(ground, server, Channel::Email, ground.args.count as usize));
    let begin = Instant::now();
    let accepted = load.batches().await?;
    load.lot.settle().await;
    Ok(Figures::of_lot("smtp, batches to the relay", &load.lot, until_last(&load.lot, begin))
        .with("accepted_per_s", (accepted.count as f64 / accepted.took.as_secs_f64()).round()))
}

/// At an even pace: the one that was asked for, and half of what is possible.
pub(super) async fn rate(ground: &Ground<'_>, server: &Server) -> Result<Vec<Figures>, Failure> {
    let full = http(ground, server, ground.args.count.min(10_000) as usize).await?;
    let half = (full.rate() / 2.0).max(1.0);
    let asked = f64::from(ground.args.rate);
    Ok(vec![
        paced(ground, server, asked).await?.with("of_full", ratio(asked, full.rate())),
        paced(ground, server, half).await?.with("of_full", ratio(half, full.rate())),
    ])
}

async fn paced(ground: &Ground<'_>, server: &Server, rate: f64) -> Result<Figures, Failure> {
    let count = (rate * f64::from(ground.args.secs)).ceil() as usize;
    let load = Arc::new(Load::new(ground, server, Channel::Sms, count.max(1)));
    let begin = Instant::now();
    let mut calls = load.paced(rate).await?;
    load.lot.settle().await;
    calls.times.sort_unstable();
    let name = format!("rate, {rate:.0}/s to the gateway");
    Ok(Figures::of_lot(name, &load.lot, until_last(&load.lot, begin))
        .with("call_p50_us", percentile(&calls.times, 50))
        .with("call_p99_us", percentile(&calls.times, 99))
        .with("late_p99_us", percentile(&calls.late, 99)))
}

/// How long it took until the last of them came.
pub(super) fn until_last(lot: &Lot, begin: Instant) -> Duration {
    lot.arrivals().at.last().map_or_else(|| begin.elapsed(), |last| last.saturating_duration_since(begin))
}

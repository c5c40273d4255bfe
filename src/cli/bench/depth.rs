//! What a store that is full costs.

use std::sync::Arc;

use super::super::{Exit, Failure, v1::message::Channel};
use super::{
    cases,
    figures::{Figures, ratio},
    ground::{Ground, Server},
    load::{BATCH, Load, later},
};

/// Of the messages that are stored, one of so many waits far ahead; the others have been delivered.
const WAITING: usize = 10;

/// Messages of one step of filling, so that it can be told how far it is.
const STEP: usize = 100_000;

pub(super) async fn run(ground: &Ground<'_>, server: &Server) -> Result<Vec<Figures>, Failure> {
    let count = ground.args.count as usize;
    let empty = (cases::accept(ground, server).await?, cases::http(ground, server, count).await?);

    let stored = ground.args.stored as usize;
    let waiting = stored / WAITING;
    let load =
        Arc::new(Load::new(ground, server, Channel::Chat, waiting.next_multiple_of(BATCH)).at(later()));
    load.batches().await?;
    let mut done = 0;
    while done < stored - waiting {
        let step = STEP.min(stored - waiting - done);
        if let Some(wrong) = cases::chat(ground, server, step).await?.wrong() {
            return Err(Failure::new(Exit::NotOk, wrong));
        }
        done += step;
        if stored > STEP {
            super::super::note(&format!("{} of {stored} messages stored", done + waiting));
        }
    }

    let full = (cases::accept(ground, server).await?, cases::http(ground, server, count).await?);
    let (accept, http) = (ratio(full.0.rate(), empty.0.rate()), ratio(full.1.rate(), empty.1.rate()));
    Ok(vec![
        empty.0.named("depth, accept, empty"),
        empty.1.named("depth, http, empty"),
        full.0.named(format!("depth, accept, {stored} stored")).with("ratio", accept),
        full.1.named(format!("depth, http, {stored} stored")).with("ratio", http),
    ])
}

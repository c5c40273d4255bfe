//! Compares what was promised with what happened. Pure: a history in, figures out.

use std::collections::{HashMap, HashSet};

use headlessly_communication::model::{
    Channel, Timestamp,
    status::{Fact, Facts, Failure, Reason, Status, status},
};

use crate::{
    book::{Handed, Reply},
    ledger::{Account, Asked},
};

/// What a vendor reported about a message, however often and in whatever order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reported {
    /// It arrived.
    pub(crate) delivered: bool,
    /// It was opened.
    pub(crate) read: bool,
    /// It will not arrive.
    pub(crate) failed: bool,
}

/// What the service says about a message in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Its status.
    pub(crate) status: Status,
    /// The hand-off is known.
    pub(crate) sent: bool,
    /// A failure is known.
    pub(crate) failed: bool,
    /// Its reason is that nobody knows.
    pub(crate) ambiguous: bool,
}

/// Everything that is known after a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    /// What clients know.
    pub(crate) account: Account,
    /// What vendors accepted, in order.
    pub(crate) handed: Vec<Handed>,
    /// Acceptances without an id of ours, or of what was refused.
    pub(crate) strange: u64,
    /// What vendors reported, once the service had answered for it.
    pub(crate) reported: HashMap<i64, Reported>,
    /// What the service says.
    pub(crate) found: HashMap<i64, Found>,
    /// Activities by message.
    pub(crate) activities: HashMap<i64, u32>,
    /// Tickets by message.
    pub(crate) tickets: HashMap<i64, u32>,
    /// Events of a message that stand in the log before an earlier one.
    pub(crate) order_inversions: u64,
}

/// How many hand-offs may be repeated although the vendor answered: the answer may have met a dead process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Repeats {
    /// So many for each life that was ended.
    PerLife(usize),
    /// So many in all.
    InAll(usize),
}

/// What holds in a run.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// The bound of I5.
    pub(crate) repeats: Repeats,
    /// Channels on which nothing may be accepted twice, whatever happens.
    pub(crate) once: Vec<Channel>,
    /// Vendors refuse too: a message may fail for other reasons than that nobody knows.
    pub(crate) refusals: bool,
    /// The number of the life that was not ended.
    pub(crate) last_life: u32,
}

/// The figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings {
    /// Acknowledged messages.
    pub(crate) acked: u64,
    /// Acknowledged, and neither handed off nor ended otherwise.
    pub(crate) lost: u64,
    /// Handed off or stored, and never asked for.
    pub(crate) phantom: u64,
    /// Acceptances beyond the first of a message.
    pub(crate) dup: u64,
    /// Of these, those that no lost answer explains.
    pub(crate) dup_unexplained: u64,
    /// Handed off before their time.
    pub(crate) early: u64,
    /// Events in the wrong order.
    pub(crate) order_inv: u64,
    /// The status is not what the facts make.
    pub(crate) status_mismatch: u64,
    /// Not ended.
    pub(crate) stuck: u64,
    /// Effects that are missing.
    pub(crate) effect_lost: u64,
    /// Effects that are there too often.
    pub(crate) effect_dup: u64,
    /// Withdrawn by promise, and handed off all the same.
    pub(crate) cancel_broken: u64,
    /// A repeated request was answered otherwise.
    pub(crate) replay_mismatch: u64,
    /// Ended as FAILED because nobody knows. Honest, so no fault; told.
    pub(crate) ambiguous: u64,
    /// The first few faults, for who looks for them.
    pub(crate) examples: Vec<String>,
}

impl Findings {
    /// Every promise was kept.
    pub(crate) fn ok(&self) -> bool {
        let broken = self.lost
            + self.phantom
            + self.dup_unexplained
            + self.early
            + self.order_inv
            + self.status_mismatch
            + self.stuck
            + self.effect_lost
            + self.effect_dup
            + self.cancel_broken
            + self.replay_mismatch;
        broken == 0
    }

    /// Adds those of another round.
    pub(crate) fn add(&mut self, other: Self) {
        self.acked += other.acked;
        self.lost += other.lost;
        self.phantom += other.phantom;
        self.dup += other.dup;
        self.dup_unexplained += other.dup_unexplained;
        self.early += other.early;
        self.order_inv += other.order_inv;
        self.status_mismatch += other.status_mismatch;
        self.stuck += other.stuck;
        self.effect_lost += other.effect_lost;
        self.effect_dup += other.effect_dup;
        self.cancel_broken += other.cancel_broken;
        self.replay_mismatch += other.replay_mismatch;
        self.ambiguous += other.ambiguous;
        self.examples.extend(other.examples);
        self.examples.truncate(EXAMPLES);
    }

    fn note(&mut self, what: &str, id: i64, detail: impl std::fmt::Debug) {
        if self.examples.len() < EXAMPLES {
            self.examples.push(format!("{what}: message {id}: {detail:?}"));
        }
    }
}

const EXAMPLES: usize = 10;

/// Compares.
pub(crate) fn check(history: &History, terms: &Terms) -> Findings {
    let mut findings = Findings {
        acked: history.account.asked.len() as u64,
        phantom: history.strange,
        order_inv: history.order_inversions,
        replay_mismatch: history.account.replay_mismatches,
        ..Findings::default()
    };
    let mut handed: HashMap<i64, Vec<Handed>> = HashMap::new();
    for one in &history.handed {
        handed.entry(one.id).or_default().push(*one);
    }
    let known: HashSet<i64> = handed.keys().chain(history.found.keys()).copied().collect();
    for id in known.into_iter().filter(|id| !history.account.asked.contains_key(id)) {
        findings.phantom += 1;
        findings.note("phantom", id, history.found.get(&id));
    }
    let mut in_flight: HashMap<u32, usize> = HashMap::new();
    for (id, asked) in &history.account.asked {
        let acceptances = handed.get(id).map(Vec::as_slice).unwrap_or_default();
        repeats(&mut findings, *id, asked, acceptances, terms, &mut in_flight);
        for one in acceptances.iter().filter(|one| one.at < asked.due) {
            findings.early += 1;
            findings.note("early", *id, (one, asked.due));
        }
        if asked.withdrawn_at.is_some() && !acceptances.is_empty() {
            findings.cancel_broken += 1;
            findings.note("withdrawn and handed off", *id, acceptances);
        }
        end(&mut findings, *id, asked, acceptances, history, terms);
    }
    bound(&mut findings, &in_flight, terms.repeats);
    for id in history.activities.keys().chain(history.tickets.keys()) {
        if !history.account.asked.contains_key(id) {
            findings.effect_dup += 1;
            findings.note("effect of nothing", *id, ());
        }
    }
    findings
}

/// Acceptances beyond the first, and what explains them.
fn repeats(
    findings: &mut Findings,
    id: i64,
    asked: &Asked,
    acceptances: &[Handed],
    terms: &Terms,
    in_flight: &mut HashMap<u32, usize>,
) {
    for pair in acceptances.windows(2) {
        let [first, second] = pair else { continue };
        findings.dup += 1;
        let of_another_life = first.life < second.life || matches!(terms.repeats, Repeats::InAll(_));
        if terms.once.contains(&asked.channel) || (first.reply == Reply::Given && !of_another_life) {
            findings.dup_unexplained += 1;
            findings.note("twice", id, pair);
        } else if first.reply == Reply::Given {
            *in_flight.entry(first.life).or_default() += 1;
        }
    }
}

/// Holds the repetitions that a kill explains to what can have been in flight.
fn bound(findings: &mut Findings, in_flight: &HashMap<u32, usize>, repeats: Repeats) {
    let over: usize = match repeats {
        Repeats::PerLife(most) => in_flight.values().map(|count| count.saturating_sub(most)).sum(),
        Repeats::InAll(most) => in_flight.values().sum::<usize>().saturating_sub(most),
    };
    findings.dup_unexplained += over as u64;
}

/// How a message ended.
fn end(
    findings: &mut Findings,
    id: i64,
    asked: &Asked,
    acceptances: &[Handed],
    history: &History,
    terms: &Terms,
) {
    let Some(found) = history.found.get(&id) else {
        findings.lost += 1;
        findings.note("lost: not stored", id, asked);
        return;
    };
    let arrived = matches!(found.status, Status::Sent | Status::Delivered | Status::Read);
    let effects = (
        u64::from(history.activities.get(&id).copied().unwrap_or(0)),
        u64::from(history.tickets.get(&id).copied().unwrap_or(0)),
    );
    let wanted = (u64::from(arrived || found.sent), u64::from(found.failed));
    let (lost, dup) = (
        wanted.0.saturating_sub(effects.0) + wanted.1.saturating_sub(effects.1),
        effects.0.saturating_sub(wanted.0) + effects.1.saturating_sub(wanted.1),
    );
    if lost + dup > 0 {
        findings.effect_lost += lost;
        findings.effect_dup += dup;
        findings.note("effects", id, (effects, wanted, found));
    }
    if matches!(found.status, Status::Draft | Status::Scheduled | Status::Queued) {
        findings.stuck += 1;
        findings.note("stuck", id, (found, acceptances));
        return;
    }
    if arrived && acceptances.is_empty() && asked.channel != Channel::Chat {
        findings.lost += 1;
        findings.note("lost: said to be sent, seen by no vendor", id, found);
        return;
    }
    findings.ambiguous += u64::from(found.status == Status::Failed && found.ambiguous);
    let reported = history.reported.get(&id).copied().unwrap_or_default();
    if !admissible(asked, acceptances, reported, found, terms).contains(&found.status) {
        findings.status_mismatch += 1;
        findings.note("status", id, (found, asked, acceptances, reported));
    }
}

/// The statuses that the facts can make. More than one only where the service cannot know whether the vendor accepted.
fn admissible(
    asked: &Asked,
    acceptances: &[Handed],
    reported: Reported,
    found: &Found,
    terms: &Terms,
) -> Vec<Status> {
    if asked.withdrawn_at.is_some() {
        return vec![Status::Cancelled];
    }
    if asked.channel == Channel::Chat {
        return vec![Status::Delivered];
    }
    let killed = terms.last_life > 0 || matches!(terms.repeats, Repeats::InAll(_));
    let of_ended_life =
        |one: &Handed| one.life < terms.last_life || matches!(terms.repeats, Repeats::InAll(_));
    let unsure = match acceptances.last() {
        Some(last) => last.reply == Reply::Lost || of_ended_life(last),
        None => killed,
    };
    let at = Timestamp(1);
    let mut facts = Facts { accepted: Some(at), queued: Some(at), ..Facts::default() };
    if reported.delivered {
        facts.learn(Fact::Delivered(at));
    }
    if reported.read {
        facts.learn(Fact::Read(at));
    }
    let failure = Failure { at, reason: Reason::Ambiguous, code: None, detail: None };
    if reported.failed {
        facts.learn(Fact::Failed(failure.clone()));
    }
    let mut statuses = Vec::new();
    if !acceptances.is_empty() {
        let mut facts = facts.clone();
        facts.learn(Fact::HandedOff(at));
        statuses.push(status(&facts, asked.channel));
    }
    if (unsure && found.ambiguous) || terms.refusals && (unsure || acceptances.is_empty()) {
        facts.learn(Fact::Failed(failure));
        statuses.push(status(&facts, asked.channel));
    }
    statuses
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;

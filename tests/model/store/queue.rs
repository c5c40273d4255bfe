//! The queue: claims, leases, and what happens when they run out.

use std::sync::Arc;

use headlessly_communication::{
    model::{
        Channel, Timestamp,
        ids::MessageId,
        verbs::{Queued, Step, Wait, lane},
    },
    store::{Claim, Claimed, QueueDepth, Swept},
};

use super::{After, data::Data};

/// Rows that one sweep looks at, of each kind.
const SWEEP: usize = 1_000;

impl Data {
    fn channel_of(&self, id: MessageId) -> Option<Channel> {
        self.messages.get(&id).and_then(|message| message.state.channel)
    }

    /// What may be claimed: lane, due time, id.
    pub(crate) fn candidates(&self, channel: Channel, now: Timestamp) -> Vec<(i16, Timestamp, MessageId)> {
        let due = self.queue.iter().filter(|(id, queued)| {
            queued.wait == Wait::Ready && queued.due_at <= now && self.channel_of(**id) == Some(channel)
        });
        let mut due: Vec<_> =
            due.map(|(id, queued)| (lane(self.messages[id].state.priority), queued.due_at, *id)).collect();
        due.sort_unstable();
        due
    }

    /// The lanes in their order, in each what has been due longest.
    pub(crate) fn claim(&mut self, claim: &Claim, after: &mut After) -> Vec<Claimed> {
        let limit = usize::try_from(claim.limit).unwrap_or(0);
        let chosen: Vec<MessageId> =
            self.candidates(claim.channel, claim.now).into_iter().take(limit).map(|(_, _, id)| id).collect();
        self.claim_these(claim, &chosen, after)
    }

    /// Claims these and no others. One whose time has passed is not among what comes back.
    pub(crate) fn claim_these(
        &mut self,
        claim: &Claim,
        chosen: &[MessageId],
        after: &mut After,
    ) -> Vec<Claimed> {
        let step = Step::Claim { lease_until: claim.lease_until };
        let mut claimed = Vec::new();
        for id in chosen {
            let row = self.step(*id, &step, (claim.now, "system"), after);
            let Some(queued) = row.and_then(|row| row.queued) else { continue };
            if queued.wait == Wait::Leased {
                claimed.push(Claimed { message: Arc::new(self.messages[id].clone()), queued });
            }
        }
        claimed
    }

    pub(crate) fn renew(&mut self, leases: &[(MessageId, i64)], until: Timestamp) {
        for (id, epoch) in leases {
            let held = |wait, current| wait == Wait::Leased && current == *epoch;
            if let Some(queued) = self.queue.get_mut(id).filter(|it| held(it.wait, it.epoch)) {
                queued.due_at = until;
            }
        }
    }

    /// Gives back those that are still held under their epoch.
    pub(crate) fn release(
        &mut self,
        leases: &[(MessageId, i64)],
        now: Timestamp,
        after: &mut After,
    ) -> usize {
        let mut released = 0;
        for (id, epoch) in leases {
            let held = |it: &&Queued| it.wait == Wait::Leased && it.epoch == *epoch;
            if self.queue.get(id).filter(held).is_some() {
                self.step(*id, &Step::Release, (now, "system"), after);
                released += 1;
            }
        }
        released
    }

    pub(crate) fn sweep(&mut self, now: Timestamp, all: bool, after: &mut After) -> Swept {
        let horizon = if all { Timestamp(i64::MAX) } else { now };
        let over = |wait, end: Timestamp| -> Vec<MessageId> {
            let found = self.queue.iter().filter(|(_, queued)| queued.wait == wait && queued.due_at <= end);
            found.map(|(id, _)| *id).take(SWEEP).collect()
        };
        let (lost, held) = (over(Wait::Leased, horizon), over(Wait::Held, now));
        let late = self.queue.iter().filter(|(_, it)| it.wait == Wait::Ready && it.expires_at <= now);
        let mut expired: Vec<_> = late.map(|(id, queued)| (queued.expires_at, *id)).collect();
        expired.sort_unstable();
        let expired: Vec<MessageId> = expired.into_iter().map(|(_, id)| id).take(SWEEP).collect();
        self.look_again(now, after);
        for (ids, step) in [(&lost, Step::Release), (&held, Step::GiveUp), (&expired, Step::GiveUp)] {
            for id in ids {
                self.step(*id, &step, (now, "system"), after);
            }
        }
        Swept { released: lost.len(), ended: held.len() + expired.len() }
    }

    pub(crate) fn depth(&self, channel: Channel) -> QueueDepth {
        let ready = self.queue.iter().filter(|(_, queued)| queued.wait == Wait::Ready);
        let theirs = ready.filter(|(id, _)| self.channel_of(**id) == Some(channel));
        QueueDepth { next_due: theirs.map(|(_, queued)| queued.due_at).min() }
    }
}

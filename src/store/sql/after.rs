//! What a transaction leaves to be done once it is committed.

use std::collections::HashMap;

use crate::{
    model::{Channel, ids::Tenant, limits::Limits, verbs::Queued},
    store::load::Weight,
};

/// What follows once a transaction is committed.
#[derive(Default)]
pub(in super::super) struct After {
    /// Claimed at the door.
    pub(in super::super) slots: Vec<(crate::store::Slot, crate::store::Claimed)>,
    /// Something became ready on these channels.
    pub(in super::super) wakes: Vec<Channel>,
    /// The log grew.
    pub(in super::super) log: bool,
    /// There are receipts to apply.
    pub(in super::super) receipts: bool,
    /// Receipts may be parked: look for those of a message whose provider id becomes known.
    pub(in super::super) parked: bool,
    /// By how much more waits in the queue, of whom.
    pub(in super::super) load: HashMap<Tenant, Weight>,
    /// What holds for every message.
    pub(in super::super) limits: Limits,
    /// Contacts that changed.
    pub(in super::super) contacts: bool,
    /// Places in the queue that were set aside.
    pub(in super::super) quarantined: u64,
    /// Something was written for the sake of writing.
    pub(in super::super) probed: bool,
}

impl After {
    /// So much more waits of a tenant.
    pub(in super::super) fn joins(&mut self, tenant: &Tenant, queued: &Queued) {
        let load = self.load.entry(tenant.clone()).or_default();
        *load = load.plus(weight(queued));
    }

    /// So much less waits of a tenant.
    pub(in super::super) fn leaves(&mut self, tenant: &Tenant, queued: &Queued) {
        let load = self.load.entry(tenant.clone()).or_default();
        *load = load.minus(weight(queued));
    }

    pub(in super::super) fn wake(&mut self, channel: Channel) {
        if !self.wakes.contains(&channel) {
            self.wakes.push(channel);
        }
    }
}

fn weight(queued: &Queued) -> Weight {
    Weight { messages: 1, bytes: queued.bytes }
}

//! Contacts that were read lately.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use crate::model::{contact::Contact, ids::Tenant};

/// Contacts kept in memory at most.
const CONTACTS: usize = 10_000;

/// Contacts that were read lately. Dropped as a whole when one changes: writes are rare beside reads.
#[derive(Default)]
pub(super) struct ContactCache {
    known: Mutex<Known>,
}

/// What is known as of a generation of the contacts.
#[derive(Default)]
struct Known {
    generation: u64,
    contacts: HashMap<(Tenant, String), Arc<Contact>>,
}

impl ContactCache {
    /// Those that are known as of this generation, and the ids of the others.
    pub(super) fn get<'i>(
        &self,
        generation: u64,
        tenant: &Tenant,
        ids: &[&'i str],
    ) -> (Vec<Arc<Contact>>, Vec<&'i str>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.generation != generation {
            *known = Known { generation, contacts: HashMap::new() };
        }
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for id in ids {
            match known.contacts.get(&(tenant.clone(), (*id).to_owned())) {
                Some(contact) => found.push(contact.clone()),
                None => missing.push(*id),
            }
        }
        (found, missing)
    }

    /// Keeps what was read between two looks at the generation, unless a write came in between.
    pub(super) fn put(&self, before: u64, after: u64, contacts: &[Arc<Contact>]) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if before != after || known.generation != after {
            return;
        }
        if known.contacts.len() + contacts.len() > CONTACTS {
            known.contacts.clear();
        }
        for contact in contacts {
            known.contacts.insert((contact.tenant.clone(), contact.id.clone()), contact.clone());
        }
    }
}

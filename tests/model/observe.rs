//! Everything that can be read of a store, compared.

use std::{collections::BTreeSet, fmt::Debug};

use headlessly_communication::{
    model::{Channel, event::Event, ids::Tenant},
    store::{EventQuery, Reads, StoreError},
};

use crate::{
    replay::{CONSUMER, Pair, words},
    world::{contact, tenant},
};

fn same<T: Debug>(
    what: impl Debug,
    model: &Result<T, StoreError>,
    store: &Result<T, StoreError>,
) -> Result<(), String> {
    let (model, store) = (words(model), words(store));
    if model == store { Ok(()) } else { Err(format!("{what:?} differs\n model: {model}\n store: {store}")) }
}

/// Compares the whole of two stores.
///
/// # Errors
/// The first difference, in words.
pub(crate) async fn compare(pair: &Pair) -> Result<(), String> {
    messages(pair).await?;
    contacts(pair).await?;
    let (model, store) = (&pair.model, &pair.store);
    for (id, tenant) in &pair.world.activities {
        same(id, &model.activity(tenant, *id).await, &store.activity(tenant, *id).await)?;
        log(pair, &id.to_string()).await?;
    }
    for (id, tenant) in &pair.world.tickets {
        same(id, &model.ticket(tenant, *id).await, &store.ticket(tenant, *id).await)?;
        log(pair, &id.to_string()).await?;
    }
    for key in &pair.world.keys {
        same(key, &model.request(key).await, &store.request(key).await)?;
    }
    for channel in Channel::ALL {
        same(channel, &model.depth(channel).await, &store.depth(channel).await)?;
    }
    same(CONSUMER, &model.consumer(CONSUMER).await, &store.consumer(CONSUMER).await)
}

async fn messages(pair: &Pair) -> Result<(), String> {
    let (model, store) = (&pair.model, &pair.store);
    let known: BTreeSet<_> = pair.world.messages.iter().collect();
    for (id, tenant) in known {
        same(id, &model.row(*id).await, &store.row(*id).await)?;
        same(id, &model.message(tenant, *id).await, &store.message(tenant, *id).await)?;
        let other = Tenant::new("other").ok_or("a tenant")?;
        same(id, &model.message(&other, *id).await, &store.message(&other, *id).await)?;
        same(("attempts", id), &model.attempts(*id).await, &store.attempts(*id).await)?;
        same(("receipts", id), &model.receipts(*id).await, &store.receipts(*id).await)?;
        log(pair, &id.to_string()).await?;
    }
    Ok(())
}

/// Compares the contacts and their devices.
pub(crate) async fn contacts(pair: &Pair) -> Result<(), String> {
    let ids: Vec<String> = (0..2).map(contact).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    for tenant in [tenant(0), tenant(1)] {
        let sorted = |store: Result<Vec<_>, StoreError>| {
            store.map(
                |mut contacts: Vec<std::sync::Arc<headlessly_communication::model::contact::Contact>>| {
                    contacts.sort_by(|one, other| one.id.cmp(&other.id));
                    contacts
                },
            )
        };
        let model = sorted(pair.model.contacts(&tenant, &ids).await);
        same(&tenant, &model, &sorted(pair.store.contacts(&tenant, &ids).await))?;
        for id in &ids {
            log(pair, id).await?;
        }
    }
    Ok(())
}

/// The events of one entity, in their order. Their places in the log are the store's own affair.
async fn log(pair: &Pair, target: &str) -> Result<(), String> {
    let (model, store) = (events(&pair.model, target).await, events(&*pair.store, target).await);
    same(("events", target), &model, &store)
}

async fn events(store: &dyn Reads, target: &str) -> Result<Vec<Event>, StoreError> {
    let query = EventQuery { tenant: None, after: 0, limit: 1_000, target: Some(target.to_owned()) };
    let mut events = store.events(query).await?;
    events.iter_mut().for_each(|event| event.id.0 = 0);
    Ok(events)
}

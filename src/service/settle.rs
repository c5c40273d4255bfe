//! Who a message goes to, and by which channel, before it is accepted.

use std::{collections::HashMap, sync::Arc};

use super::{Caller, Error, Given, Service, Violations, validate};
use crate::{
    model::{
        Timestamp,
        contact::Contact,
        ids::{MessageId, is_contact},
        message::Draft,
    },
    service::validate::Mode,
};

/// Contacts asked for in one read.
const LOOKUP: usize = 500;

/// The contacts that some messages name.
#[derive(Default)]
pub(super) struct People(HashMap<String, Arc<Contact>>);

impl Service {
    /// Reads the contacts that these drafts name. No read when they name none.
    pub(super) async fn people<'a>(
        &self,
        caller: &Caller,
        drafts: impl Iterator<Item = &'a Draft>,
    ) -> Result<People, Error> {
        let parties = drafts.flat_map(|draft| [draft.recipient.as_deref(), draft.sender.as_deref()]);
        let mut ids: Vec<&str> = parties.flatten().filter(|party| is_contact(party)).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut people = People::default();
        for chunk in ids.chunks(LOOKUP) {
            let found = self.store().contacts(&caller.tenant, chunk).await?;
            people.0.extend(found.into_iter().map(|contact| (contact.id.clone(), contact)));
        }
        Ok(people)
    }

    /// Refuses an answer to a message that is not there. Another tenant's is not there.
    pub(super) async fn check_reply(&self, caller: &Caller, draft: &Draft) -> Result<(), Error> {
        let Some(text) = draft.in_reply_to.as_deref() else { return Ok(()) };
        // A malformed one is a violation that was noted before.
        let Ok(id) = text.parse::<MessageId>() else { return Ok(()) };
        let row = self.store().row(id).await?;
        if row.is_some_and(|row| row.state.tenant == caller.tenant) {
            return Ok(());
        }
        Err(Error::not_found("Message", text))
    }
}

/// Checks a message that is to be sent and settles its channel: `channel` and `recipient` are set in what comes out.
pub(super) fn settle(given: Given<Draft>, people: &People, now: Timestamp) -> Result<Draft, Error> {
    let Given { value: mut draft, mut violations } = given;
    validate::message(&mut violations, &mut draft, Mode::Send, now);
    if !violations.names("recipient") {
        choose_channel(&mut draft, people, &mut violations);
    }
    let known = |party: &str| !is_contact(party) || people.0.contains_key(party);
    if let Some(sender) = draft.sender.as_deref().filter(|sender| !known(sender)) {
        violations.add("sender", unknown(sender));
    }
    violations.done()?;
    Ok(draft)
}

fn unknown(contact: &str) -> String {
    format!("there is no contact {contact}: create it with ContactService.Create, or give an address")
}

fn choose_channel(draft: &mut Draft, people: &People, violations: &mut Violations) {
    let Some(recipient) = draft.recipient.as_deref() else { return };
    let undecided = draft.channel.is_none() && !violations.names("channel");
    let channel = if is_contact(recipient) {
        let Some(contact) = people.0.get(recipient) else {
            return violations.add("recipient", unknown(recipient));
        };
        if !undecided {
            return;
        }
        contact
            .channel()
            .ok_or("the contact has neither an address nor a preferred channel: name the channel, or add one")
    } else if undecided {
        validate::infer(recipient).ok_or("cannot be told from the recipient: name EMAIL, SMS, CHAT or PUSH")
    } else {
        return;
    };
    match channel {
        Ok(channel) => {
            draft.channel = Some(channel);
            validate::only_email(violations, draft, channel);
            validate::sender(violations, draft);
        }
        Err(problem) => violations.add("channel", problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Channel, contact::Address, ids::Tenant};

    const NOW: Timestamp = Timestamp(1_800_000_000_000_000);

    fn people(addresses: Vec<Address>) -> People {
        let contact = Contact {
            id: "contact_a".to_owned(),
            tenant: Tenant::default(),
            version: 1,
            created_at: NOW,
            updated_at: NOW,
            created_by: String::new(),
            name: None,
            addresses,
            preferred_channel: None,
            locale: None,
            time_zone: None,
            metadata: None,
            devices: Vec::new(),
            deleted_at: None,
        };
        People([(contact.id.clone(), Arc::new(contact))].into())
    }

    fn sms() -> Vec<Address> {
        vec![Address { channel: Channel::Sms, value: "+15005550010".to_owned(), label: None }]
    }

    fn draft(recipient: &str) -> Draft {
        Draft { recipient: Some(recipient.to_owned()), body: "x".to_owned(), ..Draft::default() }
    }

    fn channel(draft: Draft, people: &People) -> Result<Option<Channel>, Vec<String>> {
        let fields = |error: Error| error.violations.into_iter().map(|violation| violation.field).collect();
        settle(Given::new(draft), people, NOW).map(|draft| draft.channel).map_err(fields)
    }

    #[test]
    fn the_channel_is_the_named_one_or_the_contacts_or_the_one_the_address_tells() {
        let none = People::default();
        assert_eq!(channel(draft("contact_a"), &people(sms())), Ok(Some(Channel::Sms)));
        assert_eq!(channel(draft("a@b.c"), &none), Ok(Some(Channel::Email)));
        assert_eq!(channel(draft("+15005550010"), &none), Ok(Some(Channel::Sms)));
        let named = Draft { channel: Some(Channel::Chat), ..draft("contact_a") };
        assert_eq!(channel(named, &people(sms())), Ok(Some(Channel::Chat)));
        assert_eq!(channel(draft("ada"), &none), Err(vec!["channel".to_owned()]));
        assert_eq!(channel(draft("contact_a"), &people(Vec::new())), Err(vec!["channel".to_owned()]));
    }

    #[test]
    fn unknown_contacts_are_refused() {
        let none = People::default();
        assert_eq!(channel(draft("contact_b"), &none), Err(vec!["recipient".to_owned()]));
        let sender = Draft { sender: Some("contact_b".to_owned()), ..draft("a@b.c") };
        assert_eq!(channel(sender, &none), Err(vec!["sender".to_owned()]));
    }

    #[test]
    fn what_the_chosen_channel_cannot_carry_is_refused() {
        let html = Draft { html_body: Some("<p>".to_owned()), ..draft("+15005550010") };
        assert_eq!(channel(html, &People::default()), Err(vec!["html_body".to_owned()]));
        let sender = Draft { sender: Some("Acme".to_owned()), ..draft("a@b.c") };
        assert_eq!(channel(sender, &People::default()), Err(vec!["sender".to_owned()]));
    }
}

//! People: created, changed, deleted, found.

use std::sync::Arc;

use super::{
    Caller, Error, Given, RequestId, Service, Violations, is_version_clash,
    query::{Search, query},
    request::recall,
    update::RACES,
    validate,
};
use crate::{
    model::{
        Channel, Timestamp,
        contact::{Address, Contact},
        event::{EventData, NewEvent, kind},
        ids::{self, entity_of, is_contact},
        message::Metadata,
    },
    store::{Ack, ContactWrite, Page},
};

/// The fields that a caller may change, in the order of the API.
pub const FIELDS: [&str; 6] = ["name", "addresses", "preferred_channel", "locale", "time_zone", "metadata"];

/// What a caller may give of a contact.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Contact` in proto/, under their names")]
pub struct Person {
    pub name: Option<String>,
    pub addresses: Vec<Address>,
    pub preferred_channel: Option<Channel>,
    pub locale: Option<String>,
    pub time_zone: Option<String>,
    pub metadata: Option<Metadata>,
}

/// New values for some fields.
#[derive(Clone, Debug, Default)]
pub struct PersonPatch {
    /// The values.
    pub person: Person,
    /// The fields to take from it: some of [`FIELDS`].
    pub fields: Vec<&'static str>,
    /// The version it was made from; any when 0.
    pub version: i64,
}

impl Service {
    /// Stores a contact, under the id that is given or a new one.
    ///
    /// # Errors
    /// Everything that is wrong with it; the id is taken; the request id was used for another content.
    pub async fn create_contact(
        &self,
        caller: &Caller,
        id: &str,
        given: Given<Person>,
        request: Option<RequestId>,
    ) -> Result<Arc<Contact>, Error> {
        let Given { value: person, mut violations } = given;
        if !id.is_empty() && !is_contact(id) {
            violations.add(
                "id",
                "must be `contact_` and 1 to 64 letters, digits, `-` or `_`; leave it out for a new one",
            );
        }
        check(&mut violations, &person);
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let (number, now) = self.next_id();
        let id = if id.is_empty() { format!("contact_{}", ids::encode(number)) } else { id.to_owned() };
        let contact = person.into_contact(caller, id, now);
        let event = event(caller, &contact, kind::CONTACT_CREATED, now);
        let request = self.key(caller, "Contact.Create", request, contact.id.clone())?;
        let id = contact.id.clone();
        let write = ContactWrite { contact, event, request };
        let ack =
            self.store().put_contact(write).await.map_err(|error| Error::of_store(error, "Contact", &id))?;
        match ack {
            Ack::Done => self.contact(caller, &id).await,
            Ack::Replayed(result) => self.contact(caller, &recall::<String>(&result)?).await,
        }
    }

    /// A contact, also a deleted one.
    ///
    /// # Errors
    /// There is no such contact.
    pub async fn contact(&self, caller: &Caller, id: &str) -> Result<Arc<Contact>, Error> {
        if !is_contact(id) {
            let problem = if id.is_empty() {
                "is required"
            } else {
                "must be `contact_` and letters, digits, `-` or `_`"
            };
            return Err(Error::invalid("id", problem));
        }
        let found = self.store().contacts(&caller.tenant, &[id]).await?;
        found.into_iter().next().ok_or_else(|| Error::not_found("Contact", id))
    }

    /// Contacts by filter.
    ///
    /// # Errors
    /// The filter, the order or the page token is not of the language.
    pub async fn find_contacts(
        &self,
        caller: &Caller,
        search: Given<Search>,
    ) -> Result<Page<Contact>, Error> {
        Ok(self.store().find_contacts(query(caller, search)?).await?)
    }

    /// Changes some fields.
    ///
    /// # Errors
    /// There is no such contact; its version is another one; something in the result is wrong.
    pub async fn update_contact(
        &self,
        caller: &Caller,
        id: &str,
        patch: Given<PersonPatch>,
        request: Option<RequestId>,
    ) -> Result<Arc<Contact>, Error> {
        let Given { value: patch, mut violations } = patch;
        check(&mut violations, &patch.person);
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let apply = |contact: &mut Contact, _: Timestamp| patch.person.take_into(contact, &patch.fields);
        self.rewrite_contact(
            caller,
            id,
            "Contact.Update",
            kind::CONTACT_UPDATED,
            patch.version,
            apply,
            request,
        )
        .await
    }

    /// Deletes softly. Deleting again changes nothing.
    ///
    /// # Errors
    /// There is no such contact.
    pub async fn delete_contact(
        &self,
        caller: &Caller,
        id: &str,
        request: Option<RequestId>,
    ) -> Result<Arc<Contact>, Error> {
        let mut violations = Violations::default();
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let contact = self.contact(caller, id).await?;
        if contact.deleted_at.is_some() {
            return Ok(contact);
        }
        let apply = |contact: &mut Contact, now| contact.deleted_at = Some(now);
        self.rewrite_contact(caller, id, "Contact.Delete", kind::CONTACT_DELETED, 0, apply, request).await
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one write, each named once")]
    async fn rewrite_contact(
        &self,
        caller: &Caller,
        id: &str,
        method: &'static str,
        kind: &'static str,
        version: i64,
        apply: impl Fn(&mut Contact, Timestamp),
        request: Option<RequestId>,
    ) -> Result<Arc<Contact>, Error> {
        for race in 0.. {
            let stored = self.contact(caller, id).await?;
            let now = self.now();
            let mut contact = Contact::clone(&stored);
            apply(&mut contact, now);
            contact.version = if version == 0 { stored.version } else { version } + 1;
            contact.updated_at = now.max(stored.updated_at);
            let event = event(caller, &contact, kind, now);
            let request = self.key(caller, method, request.clone(), id)?;
            match self.store().put_contact(ContactWrite { contact, event, request }).await {
                Err(error) if version == 0 && is_version_clash(&error) && race < RACES => {}
                Err(error) => return Err(Error::of_store(error, "Contact", id)),
                Ok(Ack::Done | Ack::Replayed(_)) => break,
            }
        }
        self.contact(caller, id).await
    }
}

impl Person {
    fn into_contact(self, caller: &Caller, id: String, now: Timestamp) -> Contact {
        Contact {
            id,
            tenant: caller.tenant.clone(),
            version: 1,
            created_at: now,
            updated_at: now,
            created_by: caller.actor.to_string(),
            name: self.name,
            addresses: self.addresses,
            preferred_channel: self.preferred_channel,
            locale: self.locale,
            time_zone: self.time_zone,
            metadata: self.metadata,
            devices: Vec::new(),
            deleted_at: None,
        }
    }

    fn take_into(&self, contact: &mut Contact, fields: &[&'static str]) {
        for field in fields {
            match *field {
                "name" => contact.name.clone_from(&self.name),
                "addresses" => contact.addresses.clone_from(&self.addresses),
                "preferred_channel" => contact.preferred_channel = self.preferred_channel,
                "locale" => contact.locale.clone_from(&self.locale),
                "time_zone" => contact.time_zone.clone_from(&self.time_zone),
                "metadata" => contact.metadata.clone_from(&self.metadata),
                _ => {}
            }
        }
    }
}

fn check(violations: &mut Violations, person: &Person) {
    validate::name(violations, "name", person.name.as_deref(), 256);
    if person.addresses.len() > 50 {
        violations.add("addresses", format!("must be at most 50; there are {}", person.addresses.len()));
    }
    for (index, address) in person.addresses.iter().enumerate().take(50) {
        let field = validate::nth("addresses", index);
        if address.channel == Channel::Push {
            violations.add(
                format!("{field}.channel"),
                "must be EMAIL, SMS or CHAT; AddDevice registers where push goes",
            );
        } else {
            violations.note(&format!("{field}.value"), validate::address(address.channel, &address.value));
        }
        validate::line(violations, &format!("{field}.label"), address.label.as_deref(), 64);
    }
    let word = |text: &Option<String>, more: &str, max: usize| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte);
        text.as_ref().is_none_or(|text| (1..=max).contains(&text.len()) && text.bytes().all(fits))
    };
    if !word(&person.locale, "-", 35) {
        violations.add("locale", "must be a BCP 47 tag such as `fr-CA`");
    }
    if !word(&person.time_zone, "_+-/", 64) {
        violations.add("time_zone", "must be an IANA name such as `Europe/Paris`");
    }
    validate::metadata(violations, person.metadata.as_ref());
}

pub(super) fn event(caller: &Caller, contact: &Contact, kind: &'static str, at: Timestamp) -> NewEvent {
    NewEvent {
        kind,
        tenant: caller.tenant.clone(),
        target: contact.id.clone(),
        entity: entity_of(&contact.id),
        actor: caller.actor.to_string(),
        at,
        version: contact.version,
        data: EventData::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(person: &Person) -> Vec<String> {
        let mut violations = Violations::default();
        check(&mut violations, person);
        violations.0.into_iter().map(|violation| violation.field).collect()
    }

    #[test]
    fn people_have_their_limits() {
        let address = |channel, value: &str| Address { channel, value: value.to_owned(), label: None };
        let good = Person {
            name: Some("Ada \u{645}".to_owned()),
            addresses: vec![address(Channel::Email, "a@b.c"), address(Channel::Sms, "+15005550010")],
            locale: Some("fr-CA".to_owned()),
            time_zone: Some("America/Argentina/Buenos_Aires".to_owned()),
            ..Person::default()
        };
        assert!(fields(&good).is_empty());
        let bad = Person {
            name: Some("Bank \u{202e}moc".to_owned()),
            addresses: vec![address(Channel::Push, "token"), address(Channel::Sms, "12345")],
            locale: Some("fr_CA".to_owned()),
            time_zone: Some("Paris time".to_owned()),
            ..Person::default()
        };
        assert_eq!(
            fields(&bad),
            ["name", "addresses[0].channel", "addresses[1].value", "locale", "time_zone"]
        );
        let many = Person { addresses: vec![address(Channel::Chat, "a"); 51], ..Person::default() };
        assert_eq!(fields(&many), ["addresses"]);
    }
}

//! People: created, changed, deleted, found; the devices that show them push messages; the examples of a fresh server.

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
        contact::{Address, Contact, Device},
        event::{EventData, NewEvent, kind},
        ids::{self, DeviceId, is_contact},
        message::Metadata,
    },
    store::{Ack, ContactWrite, DeviceWrite, Page, StoreError},
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

/// What a caller may give of a device.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Device` in proto/, under their names")]
pub struct NewDevice {
    pub token: String,
    pub platform: Option<String>,
    pub provider: Option<String>,
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

    /// Registers a device, or renews it when the token is known already.
    ///
    /// # Errors
    /// There is no such contact, or it was deleted; the token is out of bounds.
    pub async fn add_device(
        &self,
        caller: &Caller,
        id: &str,
        device: NewDevice,
        request: Option<RequestId>,
    ) -> Result<Arc<Contact>, Error> {
        let mut violations = Violations::default();
        violations.note("device.token", validate::address(Channel::Push, &device.token));
        validate::line(&mut violations, "device.platform", device.platform.as_deref(), 64);
        validate::line(&mut violations, "device.provider", device.provider.as_deref(), 64);
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let contact = self.contact(caller, id).await?;
        if contact.deleted_at.is_some() {
            return Err(StoreError::NotFound).map_err(|error| Error::of_store(error, "Contact", id));
        }
        let (number, now) = self.next_id();
        let known = contact.devices.iter().find(|known| known.token == device.token);
        let device = Device {
            id: known.map_or(DeviceId(number), |known| known.id),
            token: device.token,
            platform: device.platform,
            provider: device.provider,
            registered_at: now,
            retired_at: None,
            retired_reason: None,
        };
        self.write_device(caller, &contact, device, "Contact.AddDevice", request, now).await
    }

    /// Stops using a device. Doing so again changes nothing.
    ///
    /// # Errors
    /// There is no such contact, or no such device of it.
    pub async fn retire_device(
        &self,
        caller: &Caller,
        id: &str,
        device: &str,
        reason: Option<String>,
        request: Option<RequestId>,
    ) -> Result<Arc<Contact>, Error> {
        let mut violations = Violations::default();
        let key = device.parse::<DeviceId>().map_err(|bad| bad.to_string());
        violations.note("device", key.as_ref().map(drop).map_err(Clone::clone));
        validate::line(&mut violations, "reason", reason.as_deref(), 256);
        RequestId::check(request.as_ref(), &mut violations);
        violations.done()?;
        let contact = self.contact(caller, id).await?;
        let found = contact.devices.iter().find(|known| Ok(known.id) == key);
        let found = found.ok_or_else(|| Error::not_found("Device", device))?;
        let now = self.now();
        let retired_at = found.retired_at.or(Some(now));
        let retired_reason = if found.retired_at.is_some() { found.retired_reason.clone() } else { reason };
        let retired = Device { retired_at, retired_reason, ..found.clone() };
        self.write_device(caller, &contact, retired, "Contact.RetireDevice", request, now).await
    }

    async fn write_device(
        &self,
        caller: &Caller,
        contact: &Contact,
        device: Device,
        method: &'static str,
        request: Option<RequestId>,
        now: Timestamp,
    ) -> Result<Arc<Contact>, Error> {
        let write = DeviceWrite {
            tenant: caller.tenant.clone(),
            contact: contact.id.clone(),
            device,
            event: event(caller, contact, kind::CONTACT_UPDATED, now),
            request: self.key(caller, method, request, contact.id.as_str())?,
        };
        self.store()
            .put_device(write)
            .await
            .map_err(|error| Error::of_store(error, "Contact", &contact.id))?;
        self.contact(caller, &contact.id).await
    }

    /// Creates the contacts of the specification's example in the default tenant where they are missing.
    ///
    /// # Errors
    /// The store cannot be used.
    pub async fn ensure_examples(&self) -> Result<(), Error> {
        let caller = Caller { actor: "system".into(), ..Caller::local() };
        for (id, name, email, phone) in EXAMPLES {
            if !self.store().contacts(&caller.tenant, &[id]).await?.is_empty() {
                continue;
            }
            let address = |channel, value: &str| Address { channel, value: value.to_owned(), label: None };
            let person = Person {
                name: Some(name.to_owned()),
                addresses: vec![
                    address(Channel::Email, email),
                    address(Channel::Sms, phone),
                    address(Channel::Chat, id),
                ],
                ..Person::default()
            };
            self.create_contact(&caller, id, Given::new(person), None).await?;
            if id == EXAMPLE_WITH_DEVICE {
                let device = NewDevice { token: "dev-device-ada".to_owned(), ..NewDevice::default() };
                self.add_device(&caller, id, device, None).await?;
            }
        }
        Ok(())
    }
}

/// Id, name, e-mail address and number. The numbers are those that one vendor keeps for tests: they reach nobody.
const EXAMPLES: [(&str, &str, &str, &str); 2] = [
    ("contact_k7TmPvQx", "Acme", "no-reply@acme.test", "+15005550006"),
    (EXAMPLE_WITH_DEVICE, "Ada Example", "ada@example.test", "+15005550010"),
];
const EXAMPLE_WITH_DEVICE: &str = "contact_fX9bL5nRd";

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

fn event(caller: &Caller, contact: &Contact, kind: &'static str, at: Timestamp) -> NewEvent {
    NewEvent {
        kind,
        tenant: caller.tenant.clone(),
        target: contact.id.clone(),
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

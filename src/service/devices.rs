//! The devices that show people push messages, and the people of a fresh server.

use std::sync::Arc;

use super::{
    Caller, Error, Given, RequestId, Service, Violations,
    contacts::{Person, event},
    validate,
};
use crate::{
    model::{
        Channel, Timestamp,
        contact::{Address, Contact, Device},
        event::{NewEvent, kind},
        ids::DeviceId,
    },
    store::DeviceWrite,
};

/// What a caller may give of a device.
#[derive(Clone, Debug, Default, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Device` in proto/, under their names")]
pub struct NewDevice {
    pub token: String,
    pub platform: Option<String>,
    pub provider: Option<String>,
}

impl Service {
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
            return Err(Error::not_found("Contact", id));
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
            // The store counts the contact's version up.
            event: NewEvent {
                version: contact.version + 1,
                ..event(caller, contact, kind::CONTACT_UPDATED, now)
            },
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

//! Contacts.

use super::{
    channel, channel_out,
    json::{object, object_out},
    mask, stamp, text,
};
use crate::{
    model::contact::{Address, Contact, Device},
    pb,
    service::{
        Given, Violations,
        contacts::{self, Person, PersonPatch},
        devices::NewDevice,
    },
};

/// What a caller gives of a contact.
pub(in crate::api::grpc) fn person(contact: pb::Contact) -> Given<Person> {
    let mut violations = Violations::default();
    let mut addresses = Vec::with_capacity(contact.addresses.len().min(64));
    for (index, address) in contact.addresses.into_iter().enumerate() {
        let field = format!("addresses[{index}].channel");
        match channel(&mut violations, &field, address.channel) {
            Some(channel) => {
                addresses.push(Address { channel, value: address.value, label: text(address.label) });
            }
            None if violations.names(&field) => {}
            None => violations.add(field, "is required: EMAIL, SMS or CHAT"),
        }
    }
    let value = Person {
        name: text(contact.name),
        addresses,
        preferred_channel: channel(&mut violations, "preferred_channel", contact.preferred_channel),
        locale: text(contact.locale),
        time_zone: text(contact.time_zone),
        metadata: object(&mut violations, "metadata", contact.metadata)
            .filter(|metadata| !metadata.is_empty()),
    };
    Given { value, violations }
}

/// New values for some fields.
pub(in crate::api::grpc) fn patch(
    contact: pb::Contact,
    update_mask: Option<prost_types::FieldMask>,
) -> Given<PersonPatch> {
    let mut violations = Violations::default();
    let fields = mask(&mut violations, update_mask, &contacts::FIELDS, |field| is_set(&contact, field));
    let version = contact.version;
    if version < 0 {
        violations.add("version", "must be the stored version, or 0 for any");
    }
    let given = person(contact);
    violations.0.extend(given.violations.0);
    Given { value: PersonPatch { person: given.value, fields, version }, violations }
}

fn is_set(contact: &pb::Contact, field: &str) -> bool {
    match field {
        "name" => !contact.name.is_empty(),
        "addresses" => !contact.addresses.is_empty(),
        "preferred_channel" => contact.preferred_channel != 0,
        "locale" => !contact.locale.is_empty(),
        "time_zone" => !contact.time_zone.is_empty(),
        "metadata" => contact.metadata.is_some(),
        _ => false,
    }
}

/// What a caller gives of a device.
pub(in crate::api::grpc) fn new_device(device: Option<pb::Device>) -> NewDevice {
    let device = device.unwrap_or_default();
    NewDevice { token: device.token, platform: text(device.platform), provider: text(device.provider) }
}

/// A contact as it is on the wire. Tokens are secrets of a kind: only those who administer see them whole.
pub(in crate::api::grpc) fn contact(contact: &Contact, context: &str, whole_tokens: bool) -> pb::Contact {
    let open = |text: &Option<String>| text.clone().unwrap_or_default();
    pb::Contact {
        id: contact.id.clone(),
        context: context.to_owned(),
        version: contact.version,
        created_at: Some(stamp(contact.created_at)),
        updated_at: Some(stamp(contact.updated_at)),
        created_by: contact.created_by.clone(),
        name: open(&contact.name),
        addresses: contact.addresses.iter().map(address).collect(),
        preferred_channel: contact.preferred_channel.map(channel_out).unwrap_or_default(),
        locale: open(&contact.locale),
        time_zone: open(&contact.time_zone),
        metadata: contact.metadata.as_ref().map(object_out),
        devices: contact.devices.iter().map(|one| device(one, whole_tokens)).collect(),
        deleted_at: contact.deleted_at.map(stamp),
    }
}

fn address(address: &Address) -> pb::Address {
    pb::Address {
        channel: channel_out(address.channel),
        value: address.value.clone(),
        label: address.label.clone().unwrap_or_default(),
    }
}

fn device(device: &Device, whole_token: bool) -> pb::Device {
    let open = |text: &Option<String>| text.clone().unwrap_or_default();
    pb::Device {
        id: device.id.to_string(),
        token: if whole_token { device.token.clone() } else { shortened(&device.token) },
        platform: open(&device.platform),
        provider: open(&device.provider),
        registered_at: Some(stamp(device.registered_at)),
        retired_at: device.retired_at.map(stamp),
        retired_reason: open(&device.retired_reason),
    }
}

/// Enough to recognise a token by, not enough to use it.
fn shortened(token: &str) -> String {
    let shown = (token.chars().count() / 4).min(8);
    token.chars().take(shown).chain("...".chars()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Channel;

    #[test]
    fn what_a_caller_gives_is_read() {
        let address =
            |channel: i32| pb::Address { channel, value: "a@b.c".to_owned(), label: "work".to_owned() };
        let given = person(pb::Contact {
            addresses: vec![address(1), address(0), address(77)],
            ..Default::default()
        });
        assert_eq!(given.value.addresses.len(), 1);
        assert_eq!(given.value.addresses[0].channel, Channel::Email);
        let fields: Vec<_> = given.violations.0.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(fields, ["addresses[1].channel", "addresses[2].channel"]);
    }

    #[test]
    fn tokens_are_shortened() {
        assert_eq!(shortened("dev-device-ada"), "dev...");
        assert_eq!(shortened("a"), "...");
        assert_eq!(shortened(&"é".repeat(100)), format!("{}...", "é".repeat(8)));
    }
}

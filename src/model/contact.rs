//! People of the CRM, and how they are reached.

use super::{
    Channel, Timestamp,
    ids::{DeviceId, Tenant},
    message::Metadata,
};

/// Where a person is reached on one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Any but push.
    pub channel: Channel,
    /// E-mail address, E.164 number, chat handle.
    pub value: String,
    /// For people.
    pub label: Option<String>,
}

/// Something that shows push messages.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of `Device` in proto/, under their names")]
pub struct Device {
    pub id: DeviceId,
    pub token: String,
    pub platform: Option<String>,
    pub provider: Option<String>,
    pub registered_at: Timestamp,
    pub retired_at: Option<Timestamp>,
    pub retired_reason: Option<String>,
}

/// A person.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields of `Contact` in proto/, under their names")]
pub struct Contact {
    /// `contact_...`
    pub id: String,
    pub tenant: Tenant,
    pub version: i64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub created_by: String,
    pub name: Option<String>,
    pub addresses: Vec<Address>,
    pub preferred_channel: Option<Channel>,
    pub locale: Option<String>,
    pub time_zone: Option<String>,
    pub metadata: Option<Metadata>,
    /// Newest registration first.
    pub devices: Vec<Device>,
    pub deleted_at: Option<Timestamp>,
}

impl Contact {
    /// The channel of a message that names none: the preferred one, else that of the first address, else push when there is a
    /// device.
    pub fn channel(&self) -> Option<Channel> {
        self.preferred_channel.or_else(|| self.addresses.first().map(|address| address.channel)).or_else(
            || self.devices.iter().any(|device| device.retired_at.is_none()).then_some(Channel::Push),
        )
    }

    /// Where to reach the person on a channel: the first address, or the device that was registered last and is alive. On the
    /// internal chat a person without a handle is reached by id.
    pub fn address(&self, channel: Channel) -> Option<&str> {
        if self.deleted_at.is_some() {
            return None;
        }
        if channel == Channel::Push {
            let alive = self.devices.iter().filter(|device| device.retired_at.is_none());
            return alive.max_by_key(|device| device.registered_at).map(|device| device.token.as_str());
        }
        let listed = self.addresses.iter().find(|address| address.channel == channel);
        listed
            .map(|address| address.value.as_str())
            .or_else(|| (channel == Channel::Chat).then_some(self.id.as_str()))
    }
}

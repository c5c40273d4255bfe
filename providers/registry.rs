//! The list of plugins.

use crate::contract::Descriptor;

/// Every plugin in this build, in the order in which lists show them.
pub const PLUGINS: &[Descriptor] = &[
    crate::email::smtp::DESCRIPTOR,
    crate::sms::twilio::DESCRIPTOR,
    crate::push::fcm::DESCRIPTOR,
    crate::chat::internal::DESCRIPTOR,
    crate::gateway::http::DESCRIPTOR,
    crate::dev::DESCRIPTOR,
];

/// The plugin of this kind.
pub fn find(kind: &str) -> Option<&'static Descriptor> {
    PLUGINS.iter().find(|plugin| plugin.kind == kind)
}

//! The roads on which messages leave: the plugin contract, the plugins, and the suite that tells whether one is right.
//!
//! One folder is one plugin. Adding one means: its folder, a line here, a line in [`registry`].

pub mod chat;
pub mod contract;
pub mod dev;
pub mod email;
pub mod gateway;
pub mod push;
pub mod registry;
pub mod shared;
pub mod sms;
#[cfg(feature = "testing")]
pub mod testing;

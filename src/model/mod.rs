//! The rules, pure: no I/O, no clock, no randomness. Times and ids come in as arguments.

pub mod contact;
pub mod crm;
pub mod event;
pub mod filter;
pub mod ids;
pub mod limits;
pub mod message;
pub mod retry;
pub mod status;
pub mod verbs;

pub use headlessly_providers::contract::{Channel, Priority, Reporting, Timestamp};

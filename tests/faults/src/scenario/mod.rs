//! The faults, one file each.

pub(crate) mod kill;
pub(crate) mod powercut;
pub(crate) mod receipts;
pub(crate) mod sinks;
mod stage;

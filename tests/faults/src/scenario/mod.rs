//! The faults, one file each.

pub(crate) mod kill;
pub(crate) mod nodes;
pub(crate) mod powercut;
pub(crate) mod receipts;
pub(crate) mod short;
pub(crate) mod sinks;
mod stage;

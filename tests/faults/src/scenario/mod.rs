//! The faults, one file each.

pub(crate) mod kill;

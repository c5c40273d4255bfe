//! The queries, compiled once for each database: `super::Db` is the database, `super::dialect` what differs.

pub(super) mod after;
pub(super) mod bulk;
pub(super) mod cache;
pub(super) mod change;
pub(super) mod entities;
pub(super) mod facade;
pub(super) mod insert;
pub(super) mod load;
pub(super) mod parked;
pub(super) mod quarantine;
pub(super) mod queue;
pub(super) mod read;
pub(super) mod receipts;
pub(super) mod rewrite;
pub(super) mod rows;
pub(super) mod signals;
pub(super) mod transaction;
pub(super) mod value;
pub(super) mod writer;

//! Vendors that have no plugin of their own.

pub mod http;

//! Chat.

pub mod internal;

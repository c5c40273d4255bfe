//! What is kept.

pub mod find;

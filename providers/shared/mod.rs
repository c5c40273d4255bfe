//! What several plugins need.

pub mod duration;

//! What several plugins need: one way to speak HTTP, one table for statuses, one way to check a signature.

pub mod answer;
pub mod duration;
pub mod endpoint;
pub mod http;
pub mod signature;
pub mod text;

//! All of a business's conversations (email, SMS, chat, push) through one typed `Message` over gRPC.
//!
//! The modules stand in the order of a message's life; data runs one way through them and stages meet only in the store.
//! ARCHITECTURE.md is the map.

/// The API as it is on the wire, generated from `proto/`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines, clippy::unwrap_used)]
pub mod pb {
    mod generated {
        include!(concat!(env!("OUT_DIR"), "/protos.rs"));
    }
    pub use generated::headlessly::communication::v1::*;
    /// The compiled descriptor set, for reflection.
    pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
}

pub mod api;
pub mod clock;
pub mod dispatch;
pub mod hooks;
pub mod metrics;
pub mod model;
pub mod receipts;
pub mod service;
pub mod store;

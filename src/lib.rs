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

// The way of a message, and who may know whom: each may name those above the blank line and itself, as tests/tidy.rs says.

pub mod model;

pub mod store;

pub mod service;

pub mod dispatch;

pub mod receipts;

pub mod hooks;

pub mod api;

// What everybody uses.

pub mod clock;
pub mod metrics;

// The program.

pub mod app;
pub mod cli;
pub mod config;
pub mod telemetry;

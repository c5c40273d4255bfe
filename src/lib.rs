//! All of a business's conversations through one typed `Message`.

pub mod cli;
pub mod config;
pub mod telemetry;

/// The API as generated from `proto/`.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::too_many_lines)]
pub mod pb {
    include!(concat!(env!("OUT_DIR"), "/protos.rs"));
}

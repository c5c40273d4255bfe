//! The ways in: gRPC with everything beside it on one port, and the edge, which alone may face the internet.

pub mod grpc;
pub mod http;
mod listener;
mod server;

pub use listener::{Running, ServeError};
pub use server::{ApiConfig, Metrics, Tls, serve};

//! What a plugin promises and what it gets: the whole surface between the service and a provider.
//!
//! A plugin sees one [`Dispatch`] at a time and answers with an outcome. It cannot name the store, the queue, a gRPC type or
//! another plugin; retrying, pausing and failing over are decided by the service from the [`Fault`] it returns.

mod config;
mod dispatch;
mod error;
mod profile;
mod provider;
mod receipt;
mod time;

pub use config::{Build, BuildContext, ConfigError, Descriptor, Secret, Settings};
pub use dispatch::{Accepted, Attachment, Channel, Dispatch, Party, Priority, Tag};
pub use error::{Fault, SendError};
pub use profile::{Profile, Reporting};
pub use provider::{
    Capture, Captured, ChannelProvider, Lookup, ReceiptSink, ReceiptSource, Reconcile, SinkClosed,
};
pub use receipt::{
    InboundMessage, Receipt, ReceiptError, ReceiptKind, WebhookReply, WebhookRequest, WebhookResult,
};
pub use time::Timestamp;

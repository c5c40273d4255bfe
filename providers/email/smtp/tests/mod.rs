#![allow(clippy::unwrap_used)]

mod composing;
mod faults;
mod sending;
mod server;
mod setup;
mod tls;

use std::sync::Arc;

use super::build;
use crate::{
    contract::{Channel, ChannelProvider, Dispatch, Fault, SendError},
    dev::testing::{context, dispatch, settings},
};

/// A provider that talks to this port, with further settings.
fn provider(port: u16, more: &str) -> Arc<dyn ChannelProvider> {
    let text = format!(
        "host = '127.0.0.1'\nport = {port}\nfrom = 'Acme <no-reply@acme.test>'\nhello_name = 'acme.test'\n{more}"
    );
    build(&settings(&text), context()).unwrap()
}

fn mail() -> Dispatch {
    dispatch(Channel::Email, "ann@example.test")
}

/// The fault of a result that must be an error.
fn fault<T: std::fmt::Debug>(result: &Result<T, SendError>) -> Fault {
    result.as_ref().unwrap_err().fault
}

//! The whole service as its users meet it: one scenario a file, over the wire, with vendors on the loopback interface.

#![allow(clippy::unwrap_used)]

mod harness;

mod chat_stream;
mod failed_ticket;
mod fcm_unregistered;
mod first_send;
mod idempotency;
mod kill9;
mod second_process;
mod smtp_content;
mod twilio_callbacks;

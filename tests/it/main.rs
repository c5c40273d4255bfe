//! The whole service as its users meet it: one scenario a file, over the wire, with vendors on the loopback interface.

#![allow(clippy::unwrap_used)]
// These tests stand outside the service and look at the clock of the world.
#![allow(clippy::disallowed_methods)]

mod harness;

mod bad_input;
mod bench;
mod cancel_race;
mod chat_stream;
mod crash_ambiguous;
mod explain_find;
mod failed_ticket;
mod fcm_unregistered;
mod first_send;
mod idempotency;
mod kill9;
mod out_of_order;
mod retry_backoff;
mod second_process;
mod smtp_content;
mod tenancy_keys;
mod twilio_callbacks;
mod verbs;
mod watch_resume;

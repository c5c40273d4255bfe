//! The whole service as its users meet it: one scenario a file, over the wire, with vendors on the loopback interface.

#![allow(clippy::unwrap_used)]
// These tests stand outside the service and look at the clock of the world.
#![allow(clippy::disallowed_methods)]

mod harness;

mod back_pressure;
mod bad_input;
mod bench;
mod breaker_failover;
mod cancel_race;
mod chat_stream;
mod crash_ambiguous;
mod dead_letters;
mod doctor;
mod explain_find;
mod failed_ticket;
mod fcm_unregistered;
mod first_send;
mod idempotency;
mod kill9;
mod nodes;
mod out_of_order;
mod poison;
mod retry_backoff;
mod rolling_restart;
mod second_process;
mod sender_lanes;
mod smtp_content;
mod storage;
mod tenancy_keys;
mod twilio_callbacks;
mod verbs;
mod watch_resume;

//! Text messages to phone numbers.

pub mod twilio;

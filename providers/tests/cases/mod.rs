#![allow(clippy::unwrap_used)]

pub(crate) mod fcm;
pub(crate) mod http;
pub(crate) mod twilio;

/// Names and texts of the transcripts in a plugin's folder.
macro_rules! transcripts {
    ($folder:literal: $($name:ident)*) => {
        &[$((stringify!($name), include_str!(concat!("../../", $folder, "/fixtures/", stringify!($name), ".json")))),*]
    };
}
pub(crate) use transcripts;

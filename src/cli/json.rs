//! Protos as JSON and back: the proto3 mapping with the field names of the proto files, as grpcurl shows them. Fields that are not
//! set are left out; enums are names, times RFC 3339, bytes base64, 64-bit integers text.
//!
//! The descriptors of the API, which are part of the program, drive it: a new field needs no code here.

use std::{
    io::{self, Write},
    sync::LazyLock,
};

use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, SerializeOptions,
};
use serde_json::ser::{CompactFormatter, Formatter};

use super::v1;

static POOL: LazyLock<Option<DescriptorPool>> =
    LazyLock::new(|| DescriptorPool::decode(crate::pb::DESCRIPTORS).ok());

/// A generated type that knows its name in the API.
pub(super) trait Named: prost::Message + Default {
    /// The name within the package.
    const NAME: &'static str;
}

macro_rules! named {
    ($($name:ident),+ $(,)?) => {
        $(impl Named for v1::$name { const NAME: &'static str = stringify!($name); })+
    };
}

named!(
    Activity,
    ApiKey,
    CancelMessageResponse,
    Contact,
    CreateApiKeyResponse,
    Decision,
    Event,
    Message,
    ProbeProviderResponse,
    Provider,
    Ticket,
    WatchMessagesResponse,
);

fn descriptor<T: Named>() -> Option<MessageDescriptor> {
    POOL.as_ref()?.get_message_by_name(&format!("headlessly.communication.v1.{}", T::NAME))
}

/// One line of JSON. Empty only if the build carries no descriptors, which a test rules out.
pub(super) fn write<T: Named>(message: &T) -> String {
    let options = SerializeOptions::new().use_proto_field_name(true).skip_default_fields(true);
    let bytes = message.encode_to_vec();
    let mut line = Vec::new();
    let written = descriptor::<T>()
        .and_then(|descriptor| DynamicMessage::decode(descriptor, &bytes[..]).ok())
        .and_then(|dynamic| {
            let mut serializer = serde_json::Serializer::with_formatter(&mut line, Numbers);
            dynamic.serialize_with_options(&mut serializer, &options).ok()
        });
    written.and_then(|()| String::from_utf8(line).ok()).unwrap_or_default()
}

/// Writes whole numbers without a fraction: every number of a Struct is a double, and `7` came as `7`.
struct Numbers;

impl Formatter for Numbers {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        const EXACT: f64 = 9_007_199_254_740_992.0; // 2^53
        if value.fract() == 0.0 && value.abs() <= EXACT {
            write!(writer, "{value:.0}")
        } else {
            CompactFormatter.write_f64(writer, value)
        }
    }
}

/// Reads one JSON object. Field names may be those of the proto or camelCase; unknown ones are refused.
///
/// # Errors
/// What is wrong and where, as a sentence.
pub(super) fn read<T: Named>(text: &str) -> Result<T, String> {
    let descriptor = descriptor::<T>().ok_or_else(|| format!("this build does not know {}", T::NAME))?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let options = DeserializeOptions::new().deny_unknown_fields(true);
    let dynamic = DynamicMessage::deserialize_with_options(descriptor, &mut deserializer, &options)
        .map_err(|error| error.to_string())?;
    deserializer.end().map_err(|error| error.to_string())?;
    dynamic.transcode_to::<T>().map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use prost_types::{Struct, Timestamp, Value, value::Kind};

    use super::*;

    fn message() -> v1::Message {
        let number = Value { kind: Some(Kind::NumberValue(7.0)) };
        v1::Message {
            id: "message_1".to_owned(),
            version: 3,
            channel: v1::message::Channel::Email.into(),
            status: v1::message::Status::Delivered.into(),
            body: "Grüße \"x\"\n".to_owned(),
            created_at: Some(Timestamp { seconds: 1_767_225_600, nanos: 500_000_000 }),
            attachments: vec![v1::Attachment { content: vec![0xff, 0xfe].into(), ..Default::default() }],
            metadata: Some(Struct { fields: [("order".to_owned(), number)].into() }),
            ..Default::default()
        }
    }

    #[test]
    fn messages_become_one_line_with_the_names_of_the_proto() {
        expect_test::expect![[r#"{"id":"message_1","version":"3","created_at":"2026-01-01T00:00:00.500Z","channel":"EMAIL","body":"Grüße \"x\"\n","attachments":[{"content":"//4="}],"metadata":{"order":7},"status":"DELIVERED"}"#]]
        .assert_eq(&write(&message()));
    }

    #[test]
    fn what_is_written_reads_back() {
        assert_eq!(read::<v1::Message>(&write(&message())).unwrap(), message());
    }

    #[test]
    fn every_named_type_is_in_the_descriptors() {
        assert_eq!(write(&v1::Activity::default()), "{}");
        assert_eq!(write(&v1::ApiKey::default()), "{}");
        assert_eq!(write(&v1::CancelMessageResponse::default()), "{}");
        assert_eq!(write(&v1::Contact::default()), "{}");
        assert_eq!(write(&v1::CreateApiKeyResponse::default()), "{}");
        assert_eq!(write(&v1::Decision::default()), "{}");
        assert_eq!(write(&v1::Event::default()), "{}");
        assert_eq!(write(&v1::ProbeProviderResponse::default()), "{}");
        assert_eq!(write(&v1::Provider::default()), "{}");
        assert_eq!(write(&v1::Ticket::default()), "{}");
        assert_eq!(write(&v1::WatchMessagesResponse::default()), "{}");
    }

    #[test]
    fn refusals_say_what_and_where() {
        for (text, part) in [
            ("", "EOF"),
            ("[]", "expected"),
            ("{\"bdoy\":\"x\"}", "bdoy"),
            ("{\"channel\":\"PIGEON\"}", "PIGEON"),
            ("{} {}", "trailing"),
            ("{\"created_at\":\"yesterday\"}", "timestamp"),
        ] {
            let error = read::<v1::Message>(text).unwrap_err();
            assert!(error.to_lowercase().contains(&part.to_lowercase()), "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,60}") {
            let _ = read::<v1::Message>(&text);
        }
    }
}

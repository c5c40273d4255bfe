//! Values on the command line.

use std::{fs::File, io::Read, path::Path};

use anstream::ColorChoice;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use prost_types::{Struct, Value, value::Kind};

use super::{
    Exit, Failure,
    v1::{self, message},
};

/// `--color`
pub(super) fn colour() -> impl TypedValueParser<Value = ColorChoice> {
    PossibleValuesParser::new(["auto", "always", "never"]).map(|word| match word.as_str() {
        "always" => ColorChoice::Always,
        "never" => ColorChoice::Never,
        _ => ColorChoice::Auto,
    })
}

/// A channel by its name.
pub(super) fn channel() -> impl TypedValueParser<Value = message::Channel> {
    PossibleValuesParser::new(["email", "sms", "chat", "push"])
        .map(|word| message::Channel::from_str_name(&word.to_uppercase()).unwrap_or_default())
}

/// A status by its name.
pub(super) fn status() -> impl TypedValueParser<Value = message::Status> {
    let words =
        ["draft", "scheduled", "queued", "sent", "delivered", "read", "failed", "cancelled", "expired"];
    PossibleValuesParser::new(words)
        .map(|word| message::Status::from_str_name(&word.to_uppercase()).unwrap_or_default())
}

/// `key=value`. The value is JSON where it reads as JSON, else text.
///
/// # Errors
/// When there is no `=` or nothing before it.
pub(super) fn pair(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("write key=value")?;
    if key.is_empty() {
        return Err("write key=value".to_owned());
    }
    let value = serde_json::from_str(value).unwrap_or_else(|_| serde_json::Value::String(value.to_owned()));
    Ok((key.to_owned(), to_value(value)))
}

/// Pairs as a struct; nothing when there are none.
pub(super) fn to_struct(pairs: Vec<(String, Value)>) -> Option<Struct> {
    (!pairs.is_empty()).then(|| Struct { fields: pairs.into_iter().collect() })
}

fn to_value(value: serde_json::Value) -> Value {
    use serde_json::Value as Json;
    let kind = match value {
        Json::Null => Kind::NullValue(0),
        Json::Bool(value) => Kind::BoolValue(value),
        Json::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Json::String(value) => Kind::StringValue(value),
        Json::Array(items) => {
            Kind::ListValue(prost_types::ListValue { values: items.into_iter().map(to_value).collect() })
        }
        Json::Object(fields) => Kind::StructValue(Struct {
            fields: fields.into_iter().map(|(key, value)| (key, to_value(value))).collect(),
        }),
    };
    Value { kind: Some(kind) }
}

/// A filter of conditions `field = text` and of JSON text, which must all hold. Nothing when there is no condition.
pub(super) fn filter(json: Option<String>, equal: &[(&str, Option<&str>)]) -> Option<v1::Filter> {
    let condition = |(field, text): &(&str, Option<&str>)| {
        let eq = Some(Value { kind: Some(Kind::StringValue((*text)?.to_owned())) });
        Some(((*field).to_owned(), v1::Condition { eq, ..Default::default() }))
    };
    let filter = v1::Filter {
        r#where: equal.iter().filter_map(condition).collect(),
        json: json.unwrap_or_default(),
        ..Default::default()
    };
    (filter != v1::Filter::default()).then_some(filter)
}

/// Reads a file that the command line names; `-` is standard input.
pub(super) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    let wrong = |text: String| Failure::new(Exit::Usage, format!("{}: {text}", path.display()));
    let mut bytes = Vec::new();
    let result = if path == Path::new("-") {
        std::io::stdin().lock().take(limit + 1).read_to_end(&mut bytes)
    } else {
        File::open(path).and_then(|file| file.take(limit + 1).read_to_end(&mut bytes))
    };
    result.map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Err(wrong(format!("is larger than {limit} bytes")));
    }
    Ok(bytes)
}

/// [`read`] for text.
pub(super) fn read_text(path: &Path, limit: u64) -> Result<String, Failure> {
    String::from_utf8(read(path, limit)?)
        .map_err(|_| Failure::new(Exit::Usage, format!("{}: is not UTF-8", path.display())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn pairs_are_json_where_they_read_as_json() {
        let kind = |text| pair(text).unwrap().1.kind.unwrap();
        assert_eq!(kind("a=7"), Kind::NumberValue(7.0));
        assert_eq!(kind("a=true"), Kind::BoolValue(true));
        assert_eq!(kind("a=x=y"), Kind::StringValue("x=y".to_owned()));
        assert_eq!(kind("a="), Kind::StringValue(String::new()));
        assert_eq!(kind("a=\"7\""), Kind::StringValue("7".to_owned()));
        assert!(matches!(kind("a=[1,{\"b\":null}]"), Kind::ListValue(_)));
        assert!(pair("a").is_err() && pair("=a").is_err());
    }

    #[test]
    fn filters_hold_what_was_given() {
        assert_eq!(filter(None, &[("channel", None)]), None);
        let made = filter(Some("{}".to_owned()), &[("channel", Some("SMS")), ("status", None)]).unwrap();
        assert_eq!((made.json.as_str(), made.r#where.len()), ("{}", 1));
    }

    #[test]
    fn files_have_a_limit() {
        assert!(read(Path::new("/dev/zero"), 10).unwrap_err().to_string().contains("larger than 10 bytes"));
        assert_eq!(read(Path::new("/nowhere"), 10).unwrap_err().exit, Exit::Usage);
    }
}

//! What a filter compares with, read as the type of the field.

use super::{Bind, fields::Kind};
use crate::model::{
    Timestamp,
    filter::{FilterError, Value, unknown},
};

/// Parts of a key path in metadata at most.
const MAX_KEY_PARTS: usize = 16;
/// Bytes of a key path in metadata at most.
const MAX_KEY_BYTES: usize = 256;

/// The value as the column holds it.
pub(super) fn stored(path: &str, kind: Kind, value: &Value) -> Result<Bind, FilterError> {
    match kind {
        Kind::Name(names) | Kind::Parts(_, names @ [_, ..]) => {
            Ok(Bind::Text(names[name(path, names, value)?].to_owned()))
        }
        _ => rank(path, kind, value),
    }
}

/// The value as the field is sorted by.
pub(super) fn rank(path: &str, kind: Kind, value: &Value) -> Result<Bind, FilterError> {
    match (kind, value) {
        (Kind::Name(names) | Kind::Rank(names), value) => Ok(Bind::Int(name(path, names, value)? as i64)),
        (Kind::Text | Kind::LongText | Kind::List | Kind::Parts(..) | Kind::Json, value) => text(path, value),
        (Kind::Time, Value::Text(text)) => Timestamp::parse(text)
            .map(|time| Bind::Int(time.0))
            .ok_or_else(|| FilterError::new(path, "is not a time such as `2026-01-01T00:00:00Z`")),
        (Kind::Time, value) => Err(mismatch(path, "a time such as \"2026-01-01T00:00:00Z\"", value)),
        (Kind::Int, value) => whole(path, value),
        (Kind::Bool, Value::Bool(value)) => Ok(Bind::Int(i64::from(*value))),
        (Kind::Bool, value) => Err(mismatch(path, "true or false", value)),
        (Kind::Id(read), Value::Text(word)) => {
            read(word).map(Bind::Int).map_err(|error| FilterError::new(path, error.to_string()))
        }
        (Kind::Id(_), value) => Err(mismatch(path, "an id", value)),
    }
}

/// The place of a name in its list; in any case of letters.
fn name(path: &str, names: &[&str], value: &Value) -> Result<usize, FilterError> {
    let Value::Text(word) = value else {
        return Err(mismatch(path, &format!("one of {}", names.join(" ")), value));
    };
    let found = names.iter().position(|name| name.eq_ignore_ascii_case(word));
    found.ok_or_else(|| unknown(path, "one of its names", word, names.iter().copied()))
}

fn whole(path: &str, value: &Value) -> Result<Bind, FilterError> {
    match value {
        // Beyond 2^53 a double does not hold every integer.
        Value::Number(number) if number.fract() == 0.0 && number.abs() <= 9_007_199_254_740_992.0 => {
            Ok(Bind::Int(*number as i64))
        }
        Value::Number(_) => Err(FilterError::new(path, "takes a whole number between -2^53 and 2^53")),
        value => Err(mismatch(path, "a whole number", value)),
    }
}

/// Text of the caller's. PostgreSQL holds no NUL in text, and no message does.
pub(super) fn text(path: &str, value: &Value) -> Result<Bind, FilterError> {
    match value {
        Value::Text(text) if text.contains('\0') => {
            Err(FilterError::new(path, "holds a NUL character, which no text here does"))
        }
        Value::Text(text) => Ok(Bind::Text(text.clone())),
        value => Err(mismatch(path, "text", value)),
    }
}

pub(super) fn number(path: &str, value: &Value) -> Result<Bind, FilterError> {
    match value {
        Value::Number(number) if number.is_finite() => Ok(Bind::Real(*number)),
        Value::Number(_) => Err(FilterError::new(path, "takes a finite number")),
        value => Err(mismatch(path, "a number", value)),
    }
}

/// Those of the values that are text.
pub(super) fn texts(path: &str, values: &[Value]) -> Result<Vec<Bind>, FilterError> {
    values.iter().filter(|value| matches!(value, Value::Text(_))).map(|value| text(path, value)).collect()
}

/// Those of the values that are numbers.
pub(super) fn numbers(path: &str, values: &[Value]) -> Result<Vec<Bind>, FilterError> {
    values.iter().filter(|value| matches!(value, Value::Number(_))).map(|value| number(path, value)).collect()
}

/// Those of the values that are true or false.
pub(super) fn bools(values: &[Value]) -> Vec<Bind> {
    let bools = values.iter().filter_map(|value| match value {
        Value::Bool(value) => Some(Bind::Int(i64::from(*value))),
        _ => None,
    });
    bools.collect()
}

/// The parts of `metadata.<key>`, of characters that need no escaping in any path language.
pub(super) fn key<'a>(path: &str, name: &'a str) -> Result<Vec<&'a str>, FilterError> {
    let key = name.strip_prefix("metadata.").unwrap_or_default();
    let is_part = |part: &&str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        !part.is_empty() && part.bytes().all(plain)
    };
    let parts: Vec<&str> = key.split('.').collect();
    if key.len() > MAX_KEY_BYTES || parts.len() > MAX_KEY_PARTS || !parts.iter().all(is_part) {
        let problem = format!(
            "names no key: write `metadata.order.id`, letters, digits, `_` and `-`, at most {MAX_KEY_PARTS} parts and {MAX_KEY_BYTES} bytes"
        );
        return Err(FilterError::new(path, problem));
    }
    Ok(parts)
}

fn mismatch(path: &str, wanted: &str, given: &Value) -> FilterError {
    let given = match given {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::Text(_) => "text",
    };
    FilterError::new(path, format!("takes {wanted}, not {given}"))
}

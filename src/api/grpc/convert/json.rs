//! `google.protobuf.Struct` and JSON.

use prost_types::{Struct, value::Kind};
use serde_json::{Map, Number, Value};

use crate::service::Violations;

/// The largest whole number that a double holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Reads an object; a number that is none (NaN, infinity) is noted.
pub(super) fn object(
    violations: &mut Violations,
    field: &str,
    object: Option<Struct>,
) -> Option<Map<String, Value>> {
    let read: Option<Map<String, Value>> =
        object?.fields.into_iter().map(|(key, value)| Some((key, json(value)?))).collect();
    if read.is_none() {
        violations.add(field, "holds a number that JSON cannot hold (NaN or infinity)");
    }
    read
}

pub(super) fn json(value: prost_types::Value) -> Option<Value> {
    Some(match value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::BoolValue(value)) => Value::Bool(value),
        Some(Kind::NumberValue(value)) => Value::Number(number(value)?),
        Some(Kind::StringValue(value)) => Value::String(value),
        Some(Kind::ListValue(list)) => {
            Value::Array(list.values.into_iter().map(json).collect::<Option<_>>()?)
        }
        Some(Kind::StructValue(object)) => {
            let fields = object.fields.into_iter().map(|(key, value)| Some((key, json(value)?)));
            Value::Object(fields.collect::<Option<_>>()?)
        }
    })
}

/// Whole numbers stay whole: what was written as 5 is stored as 5, not as 5.0.
fn number(value: f64) -> Option<Number> {
    if value.fract() == 0.0 && value.abs() < EXACT {
        #[allow(clippy::cast_possible_truncation, reason = "whole, and small enough to be exact")]
        return Some(Number::from(value as i64));
    }
    Number::from_f64(value)
}

pub(super) fn object_out(object: &Map<String, Value>) -> Struct {
    Struct { fields: object.iter().map(|(key, value)| (key.clone(), value_out(value))).collect() }
}

fn value_out(value: &Value) -> prost_types::Value {
    let kind = match value {
        Value::Null => Kind::NullValue(0),
        Value::Bool(value) => Kind::BoolValue(*value),
        Value::Number(value) => Kind::NumberValue(value.as_f64().unwrap_or_default()),
        Value::String(value) => Kind::StringValue(value.clone()),
        Value::Array(values) => {
            Kind::ListValue(prost_types::ListValue { values: values.iter().map(value_out).collect() })
        }
        Value::Object(object) => Kind::StructValue(object_out(object)),
    };
    prost_types::Value { kind: Some(kind) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_survives_the_wire() {
        let text = r#"{"a":null,"b":true,"c":5,"d":-1.5,"e":"x","f":[1,{"g":"h"}],"i":1e300}"#;
        let map: Map<String, Value> = serde_json::from_str(text).unwrap_or_default();
        let mut violations = Violations::default();
        let back = object(&mut violations, "metadata", Some(object_out(&map)));
        assert_eq!(back.as_ref(), Some(&map));
        assert_eq!(back.map(|map| map["c"].to_string()).as_deref(), Some("5"));
        assert_eq!(violations, Violations::default());
    }

    #[test]
    fn what_json_cannot_hold_is_noted() {
        let mut violations = Violations::default();
        let nan = prost_types::Value { kind: Some(Kind::NumberValue(f64::NAN)) };
        let fields = [("a".to_owned(), nan)].into();
        assert_eq!(object(&mut violations, "metadata", Some(Struct { fields })), None);
        assert!(violations.names("metadata"));
    }
}

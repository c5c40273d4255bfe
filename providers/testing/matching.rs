use std::collections::BTreeMap;

use serde_json::Value;
use url::form_urlencoded;

use super::{Expected, Failure, Seen, Verdict};

/// Any value.
const ANY: &str = "*";

/// Checks a request against what was expected.
///
/// # Errors
/// Tells the first difference.
pub fn difference(expected: &Expected, seen: &Seen) -> Verdict {
    let line = (seen.method.as_str(), seen.target.as_str());
    if line != (expected.method.as_str(), expected.path.as_str()) {
        return Err(format!("expected {} {}, got {} {}", expected.method, expected.path, line.0, line.1));
    }
    for (name, value) in &expected.headers {
        let got = seen.header(name);
        if got.is_none() || (value != ANY && got != Some(value)) {
            return Err(format!("header {name}: expected {value:?}, got {got:?}"));
        }
    }
    if let Some(form) = &expected.form {
        compare_form(form, &seen.body)?;
    }
    if let Some(json) = &expected.json {
        let got: Value = serde_json::from_slice(&seen.body).map_err(|error| format!("the body: {error}"))?;
        compare_json("", json, &got)?;
    }
    match &expected.body {
        Some(body) if body.as_bytes() != seen.body => {
            Err(format!("the body: expected {body:?}, got {:?}", String::from_utf8_lossy(&seen.body)))
        }
        _ => Ok(()),
    }
}

fn compare_form(expected: &BTreeMap<String, String>, body: &[u8]) -> Result<(), Failure> {
    let got: BTreeMap<String, String> = form_urlencoded::parse(body).into_owned().collect();
    for name in expected.keys().chain(got.keys()) {
        match (expected.get(name).map(String::as_str), got.get(name)) {
            (Some(ANY), Some(_)) => {}
            (Some(value), Some(have)) if value == have => {}
            (value, have) => return Err(format!("form field {name}: expected {value:?}, got {have:?}")),
        }
    }
    Ok(())
}

fn compare_json(place: &str, expected: &Value, got: &Value) -> Result<(), Failure> {
    match (expected, got) {
        (Value::String(any), _) if any == ANY => Ok(()),
        (Value::Object(expected), Value::Object(got)) => {
            for name in expected.keys().chain(got.keys()) {
                let place = format!("{place}/{name}");
                match (expected.get(name), got.get(name)) {
                    (Some(expected), Some(got)) => compare_json(&place, expected, got)?,
                    (Some(_), None) => return Err(format!("{place} is missing")),
                    (None, _) => return Err(format!("{place} was not expected")),
                }
            }
            Ok(())
        }
        (Value::Array(expected), Value::Array(got)) if expected.len() == got.len() => {
            expected.iter().zip(got).enumerate().try_for_each(|(index, (expected, got))| {
                compare_json(&format!("{place}/{index}"), expected, got)
            })
        }
        _ if expected == got => Ok(()),
        _ => Err(format!("{place}: expected {expected}, got {got}")),
    }
}

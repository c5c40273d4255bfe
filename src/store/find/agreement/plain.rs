//! The filter language read plainly, row by row.

use std::cmp::Ordering;

use serde_json::Value as Json;

use crate::model::{
    Timestamp,
    filter::{Filter, Op, Test, Value},
    ids::{MessageId, time_of},
};

pub(super) const CHANNELS: [&str; 4] = ["EMAIL", "SMS", "CHAT", "PUSH"];
pub(super) const LANES: [&str; 3] = ["TRANSACTIONAL", "NORMAL", "BULK"];
pub(super) const REPORTS: [&str; 3] = ["NONE", "DELIVERY", "DELIVERY_AND_READ"];

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) version: i64,
    pub(super) subject: Option<String>,
    pub(super) sent_at: Option<i64>,
    pub(super) channel: Option<usize>,
    pub(super) priority: usize,
    pub(super) reporting: Option<usize>,
    pub(super) sensitive: bool,
    pub(super) code: Option<String>,
    pub(super) tags: Vec<String>,
    pub(super) metadata: Option<Json>,
    pub(super) deleted: bool,
}

/// A value as the plain reading compares it.
#[derive(Clone, Debug, PartialEq, PartialOrd)]
enum Scalar {
    Int(i64),
    Real(f64),
    Bool(bool),
    Text(String),
    /// A list or an object: set, and equal to nothing.
    Other,
}

impl Row {
    /// The values of a field: none when unset, several of a list.
    fn values(&self, name: &str) -> Vec<Scalar> {
        let text = |text: &Option<String>| text.iter().cloned().map(Scalar::Text).collect();
        let rank = |rank: Option<usize>| rank.iter().map(|rank| Scalar::Int(*rank as i64)).collect();
        match name {
            "id" => vec![Scalar::Int(self.id)],
            "version" => vec![Scalar::Int(self.version)],
            "created_at" => vec![Scalar::Int(time_of(self.id).0)],
            "subject" => text(&self.subject),
            "failure.code" => text(&self.code),
            "sent_at" => self.sent_at.into_iter().map(Scalar::Int).collect(),
            "channel" => rank(self.channel),
            "priority" => rank(Some(self.priority)),
            "delivery_reporting" => rank(self.reporting),
            "sensitive" => vec![Scalar::Bool(self.sensitive)],
            "tags" => self.tags.iter().cloned().map(Scalar::Text).collect(),
            key => {
                let start = self.metadata.as_ref();
                let found = key.split('.').skip(1).fold(start, |at, part| at?.as_object()?.get(part));
                found.into_iter().filter(|value| !value.is_null()).map(json_scalar).collect()
            }
        }
    }

    pub(super) fn passes(&self, filter: &Filter) -> bool {
        match filter {
            Filter::All(inner) => inner.iter().all(|each| self.passes(each)),
            Filter::Any(inner) => inner.iter().any(|each| self.passes(each)),
            Filter::Not(inner) => !self.passes(inner),
            Filter::Field(name, test) => self.satisfies(name, test),
        }
    }

    fn satisfies(&self, name: &str, test: &Test) -> bool {
        let values = self.values(name);
        let equals = |wanted: &Value| match read(name, wanted) {
            None => values.is_empty(),
            Some(wanted) => values.contains(&wanted),
        };
        match test {
            Test::Compare(Op::Eq, wanted) => equals(wanted),
            Test::Compare(Op::Ne, wanted) => !equals(wanted),
            Test::Compare(op, wanted) => {
                let wanted = read(name, wanted).unwrap();
                let same_type =
                    |value: &&Scalar| std::mem::discriminant(*value) == std::mem::discriminant(&wanted);
                values.iter().filter(same_type).any(|value| match op {
                    Op::Gt => *value > wanted,
                    Op::Gte => *value >= wanted,
                    Op::Lt => *value < wanted,
                    _ => *value <= wanted,
                })
            }
            Test::In(is, wanted) => wanted.iter().any(equals) == *is,
            Test::Exists(exists) => values.is_empty() != *exists,
            Test::Regex(pattern) => {
                let regex = regex::Regex::new(pattern).unwrap();
                values.iter().any(|value| matches!(value, Scalar::Text(text) if regex.is_match(text)))
            }
        }
    }
}

fn json_scalar(value: &Json) -> Scalar {
    match value {
        Json::String(text) => Scalar::Text(text.clone()),
        Json::Bool(value) => Scalar::Bool(*value),
        value => value.as_f64().map_or(Scalar::Other, Scalar::Real),
    }
}

fn read(name: &str, value: &Value) -> Option<Scalar> {
    let place = |names: &[&str], word: &str| names.iter().position(|name| *name == word).unwrap() as i64;
    Some(match (name, value) {
        (_, Value::Null) => return None,
        ("id", Value::Text(word)) => Scalar::Int(word.parse::<MessageId>().unwrap().0),
        ("created_at" | "sent_at", Value::Text(text)) => Scalar::Int(Timestamp::parse(text).unwrap().0),
        ("channel", Value::Text(word)) => Scalar::Int(place(&CHANNELS, word)),
        ("priority", Value::Text(word)) => Scalar::Int(place(&LANES, word)),
        ("delivery_reporting", Value::Text(word)) => Scalar::Int(place(&REPORTS, word)),
        ("version", Value::Number(number)) => Scalar::Int(*number as i64),
        (_, Value::Text(text)) => Scalar::Text(text.clone()),
        (_, Value::Number(number)) => Scalar::Real(*number),
        (_, Value::Bool(value)) => Scalar::Bool(*value),
    })
}

/// The order as its documentation has it: unset last, the newest first among equals.
pub(super) fn compare(order: &[(String, bool)], a: &Row, b: &Row) -> Ordering {
    let turned = |ordering: Ordering, turn: bool| if turn { ordering.reverse() } else { ordering };
    for (name, descending) in order {
        let (a, b) = (a.values(name).pop(), b.values(name).pop());
        let ordering = match (&a, &b) {
            (Some(a), Some(b)) => turned(a.partial_cmp(b).unwrap(), *descending),
            _ => b.is_some().cmp(&a.is_some()),
        };
        if ordering.is_ne() {
            return ordering;
        }
    }
    // Ids of the same millisecond go the way of the time when it is what decides last.
    let by_time = order.last().filter(|(name, _)| name == "created_at");
    turned(a.id.cmp(&b.id), by_time.is_none_or(|(_, descending)| *descending))
}

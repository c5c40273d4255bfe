//! The filter language of every Find.

use std::collections::BTreeMap;

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the operators of the language, by name")]
pub enum Op {
    Eq,
    Ne,
    Gt,
    Gte,
    Lt,
    Lte,
}

/// What a field is compared with. Times come as RFC 3339 text and enums by name; the field's type decides how it is read.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the JSON scalars, by name")]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
}

/// A condition on an entity.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All hold. Empty: always true.
    All(Vec<Filter>),
    /// One holds at least. Empty: never true.
    Any(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// A field, named as in the API (`metadata.key` for metadata), satisfies a test.
    Field(String, Test),
}

/// What one field must satisfy.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// A comparison.
    Compare(Op, Value),
    /// It is (or is not, for `false`) one of these.
    In(bool, Vec<Value>),
    /// It is set, or is not.
    Exists(bool),
    /// The text matches a regular expression somewhere.
    Regex(String),
}

/// The order of a list: field and whether descending, the first decides.
pub type Order = Vec<(String, bool)>;

/// Something in a filter that is not of the language.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct FilterError {
    /// Where: `filter.channel.$foo`.
    pub path: String,
    /// What is wrong and what is known instead.
    pub problem: String,
}

/// Keeps the map type in one place for callers that build filters by hand.
pub type Fields = BTreeMap<String, Test>;

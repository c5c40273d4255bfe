//! The filter language of every Find: what it can say, its JSON form, and its limits.
//!
//! Which fields there are and what they take is the store's knowledge; here a field is just a name.

use regex::RegexBuilder;

mod json;

pub use json::{parse_json, parse_value};

/// Levels of a filter within each other at most.
pub const MAX_DEPTH: usize = 16;
/// Tests of fields in one filter at most.
pub const MAX_CONDITIONS: usize = 200;
/// Values of one `$in` or `$nin` at most.
pub const MAX_VALUES: usize = 1_000;
/// Bytes of a filter as JSON text at most.
pub const MAX_JSON_BYTES: usize = 64 * 1_024;
/// Bytes of a regular expression at most.
pub const MAX_REGEX_BYTES: usize = 512;
/// Fields of an order at most.
pub const MAX_ORDER: usize = 3;
/// Bytes a regular expression may compile to: `\w{500}` is short to write and long to run.
const MAX_REGEX_PROGRAM: usize = 1 << 20;

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

impl Op {
    /// The operator as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "$eq",
            Self::Ne => "$ne",
            Self::Gt => "$gt",
            Self::Gte => "$gte",
            Self::Lt => "$lt",
            Self::Lte => "$lte",
        }
    }
}

impl Test {
    /// The operator as it is written.
    pub const fn operator(&self) -> &'static str {
        match self {
            Self::Compare(op, _) => op.as_str(),
            Self::In(true, _) => "$in",
            Self::In(false, _) => "$nin",
            Self::Exists(_) => "$exists",
            Self::Regex(_) => "$regex",
        }
    }
}

impl FilterError {
    /// About this place.
    pub fn new(path: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { path: path.into(), problem: problem.into() }
    }
}

impl Filter {
    /// The filter that everything passes.
    pub const fn everything() -> Self {
        Self::All(Vec::new())
    }

    /// All of these, without groups that say nothing.
    pub fn all(filters: Vec<Self>) -> Self {
        let mut flat = Vec::with_capacity(filters.len());
        for filter in filters {
            match filter {
                Self::All(inner) => flat.extend(inner),
                other => flat.push(other),
            }
        }
        match flat.len() {
            1 => flat.swap_remove(0),
            _ => Self::All(flat),
        }
    }
}

/// Holds a filter that was built by hand to the limits of the language.
///
/// # Errors
/// The first limit it exceeds. The place is the field and operator: the way there is not known.
pub fn check(filter: &Filter) -> Result<(), FilterError> {
    fn visit(filter: &Filter, depth: usize, conditions: &mut usize) -> Result<(), FilterError> {
        check_depth("filter", depth)?;
        match filter {
            // One level of the JSON form is an object (all of its fields) in a list, so the object itself costs nothing.
            Filter::All(inner) => inner.iter().try_for_each(|each| {
                visit(each, depth + usize::from(matches!(each, Filter::All(_))), conditions)
            }),
            Filter::Any(inner) => inner.iter().try_for_each(|each| visit(each, depth + 1, conditions)),
            Filter::Not(inner) => visit(inner, depth + 1, conditions),
            Filter::Field(name, test) => {
                *conditions += 1;
                check_conditions(*conditions)?;
                check_test(&format!("filter.{}.{}", shown(name), test.operator()), test)
            }
        }
    }
    visit(filter, 1, &mut 0)
}

/// Reads `-created_at, status`: fields with a comma between, `-` before one for descending. Blank text is no order.
///
/// # Errors
/// More than [`MAX_ORDER`] fields, a field given twice, or something else than a name.
pub fn parse_order(text: &str) -> Result<Order, FilterError> {
    let refused = |problem: String| Err(FilterError::new("order_by", problem));
    let mut order = Order::new();
    if text.trim().is_empty() {
        return Ok(order);
    }
    for part in text.split(',') {
        let part = part.trim();
        let (name, descending) = part.strip_prefix('-').map_or((part, false), |name| (name, true));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if name.is_empty() || name.starts_with('-') || !name.bytes().all(is_name) {
            let part = shown(part);
            return refused(format!(
                "`{part}` is not a field: write `-created_at, status`, with `-` before a field for descending"
            ));
        }
        if order.iter().any(|(known, _)| known == name) {
            return refused(format!("`{}` is given twice", shown(name)));
        }
        order.push((name.to_owned(), descending));
        if order.len() > MAX_ORDER {
            return refused(format!("has more than {MAX_ORDER} fields"));
        }
    }
    Ok(order)
}

fn check_depth(path: &str, depth: usize) -> Result<(), FilterError> {
    if depth <= MAX_DEPTH {
        return Ok(());
    }
    Err(FilterError::new(path, format!("lies deeper than {MAX_DEPTH} levels")))
}

fn check_conditions(conditions: usize) -> Result<(), FilterError> {
    if conditions <= MAX_CONDITIONS {
        return Ok(());
    }
    Err(FilterError::new("filter", format!("has more than {MAX_CONDITIONS} conditions")))
}

fn check_values(path: &str, values: usize) -> Result<(), FilterError> {
    if values <= MAX_VALUES {
        return Ok(());
    }
    Err(FilterError::new(path, format!("has more than {MAX_VALUES} values")))
}

fn check_test(path: &str, test: &Test) -> Result<(), FilterError> {
    match test {
        Test::In(_, values) => check_values(path, values.len()),
        Test::Regex(pattern) => check_regex(path, pattern),
        Test::Compare(..) | Test::Exists(_) => Ok(()),
    }
}

fn check_regex(path: &str, pattern: &str) -> Result<(), FilterError> {
    if pattern.len() > MAX_REGEX_BYTES {
        return Err(FilterError::new(path, format!("is longer than {MAX_REGEX_BYTES} bytes")));
    }
    let problem = match RegexBuilder::new(pattern).size_limit(MAX_REGEX_PROGRAM).build() {
        Ok(_) => return Ok(()),
        Err(regex::Error::CompiledTooBig(_)) => "is too costly: repeat less".to_owned(),
        // The last line of the report is the reason, those before show the pattern.
        Err(error) => {
            let report = error.to_string();
            let reason = report.lines().last().unwrap_or_default().trim_start_matches("error: ");
            format!("is not a regular expression: {reason}")
        }
    };
    Err(FilterError::new(path, problem))
}

/// `x` is not one of the known words: names the nearest and lists them all.
pub(crate) fn unknown<'a>(
    path: &str,
    what: &str,
    word: &str,
    known: impl IntoIterator<Item = &'a str>,
) -> FilterError {
    let known: Vec<&str> = known.into_iter().collect();
    let likeness =
        |known: &&&str| (strsim::normalized_damerau_levenshtein(&shown(word), known) * 1_000.0) as u32;
    let nearest = known.iter().max_by_key(likeness).filter(|nearest| likeness(nearest) >= 600);
    let hint = nearest.map_or_else(String::new, |nearest| format!(", did you mean `{nearest}`?"));
    let end = if hint.is_empty() { ";" } else { "" };
    FilterError::new(
        path,
        format!("`{}` is not {what}{hint}{end} known are {}", shown(word), known.join(" ")),
    )
}

/// A word of the caller's for an error: short, on one line.
pub(crate) fn shown(word: &str) -> String {
    let mut shown: String = word.chars().take(64).map(|c| if c.is_control() { '?' } else { c }).collect();
    if shown.len() < word.len() {
        shown.push_str("...");
    }
    shown
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;

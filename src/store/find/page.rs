//! Pages by position: a token holds the last row's place in the order, so rows that come and go meanwhile move no page.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::Value as Json;

use super::{Bind, Find, SortKind, condition::Binds};
use crate::model::filter::{Filter, FilterError};

/// Rows of a page at most.
pub const MAX_PAGE_SIZE: u32 = 1_000;
/// Rows of a page when none is said.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// What tokens begin with, for when their form changes.
const TOKEN_VERSION: u8 = 1;
/// Bytes of a token at most; addresses in the order make it long.
const MAX_TOKEN_BYTES: usize = 64 * 1_024;
/// Enough of a SHA-256 to tell queries apart.
const FINGERPRINT_BYTES: usize = 16;

/// Which query a token belongs to.
pub(super) type Fingerprint = [u8; FINGERPRINT_BYTES];

/// The page size of a request, 0 for the default.
///
/// # Errors
/// Below 0 or above [`MAX_PAGE_SIZE`].
pub fn page_size(requested: i32) -> Result<u32, FilterError> {
    match u32::try_from(requested) {
        Ok(0) => Ok(DEFAULT_PAGE_SIZE),
        Ok(size) if size <= MAX_PAGE_SIZE => Ok(size),
        _ => Err(FilterError::new(
            "page_size",
            format!("is 1 to {MAX_PAGE_SIZE}, or 0 for {DEFAULT_PAGE_SIZE}"),
        )),
    }
}

/// One thing that rows are sorted by.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) expression: String,
    pub(super) kind: SortKind,
    pub(super) descending: bool,
    pub(super) nullable: bool,
}

impl Key {
    /// Unset comes last in both directions. Said only where it can occur, so that an index is still seen.
    pub(super) fn order(&self) -> String {
        let direction = if self.descending { "DESC" } else { "ASC" };
        let nulls = if self.nullable { " NULLS LAST" } else { "" };
        format!("{} {direction}{nulls}", self.expression)
    }
}

/// The rows that come after these values in the order.
pub(super) fn after(binds: &mut Binds, keys: &[Key], last: Vec<Bind>) -> String {
    let mut same = String::new();
    let mut ways = Vec::new();
    for (key, last) in keys.iter().zip(last) {
        let expression = &key.expression;
        if last == Bind::Null {
            // Nothing comes after unset.
            same.push_str(&format!("{expression} IS NULL AND "));
            continue;
        }
        let place = binds.add(last);
        let sign = if key.descending { "<" } else { ">" };
        let beyond = format!("{expression} {sign} {place}");
        ways.push(if key.nullable {
            format!("({same}({beyond} OR {expression} IS NULL))")
        } else {
            format!("({same}{beyond})")
        });
        same.push_str(&format!("{expression} = {place} AND "));
    }
    format!("({})", ways.join(" OR "))
}

/// What makes two requests pages of one list: tenant, entity, filter, order.
pub(super) fn fingerprint(find: &Find<'_>) -> Fingerprint {
    let question = format!(
        "{:?}",
        (find.tenant.as_str(), find.entity, find.include_deleted, find.order, canonical(find.filter))
    );
    let mut fingerprint = Fingerprint::default();
    for (to, from) in fingerprint.iter_mut().zip(digest(&SHA256, question.as_bytes()).as_ref()) {
        *to = *from;
    }
    fingerprint
}

/// The same text for the same groups in another order: the fields of a typed filter are a map and come in any.
fn canonical(filter: &Filter) -> String {
    let group = |word: char, inner: &[Filter]| {
        let mut parts: Vec<String> = inner.iter().map(canonical).collect();
        parts.sort_unstable();
        format!("{word}({})", parts.join(","))
    };
    match filter {
        Filter::All(inner) => group('&', inner),
        Filter::Any(inner) => group('|', inner),
        Filter::Not(inner) => format!("!({})", canonical(inner)),
        Filter::Field(name, test) => format!("{:?}", (name, test)),
    }
}

/// A token for the page after the row with these sort values.
pub(super) fn encode(fingerprint: Fingerprint, last: &[Bind]) -> String {
    let values = last.iter().map(|value| match value {
        Bind::Text(text) => Json::from(text.as_str()),
        Bind::Int(number) => Json::from(*number),
        Bind::Real(number) => Json::from(*number),
        Bind::Null => Json::Null,
    });
    let mut bytes = vec![TOKEN_VERSION];
    bytes.extend(fingerprint);
    bytes.extend(Json::Array(values.collect()).to_string().into_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The sort values in a token of this query.
pub(super) fn decode(token: &str, fingerprint: Fingerprint, keys: &[Key]) -> Result<Vec<Bind>, FilterError> {
    let malformed = || {
        FilterError::new("page_token", "is not a token: give `next_page_token` of the page before, unchanged")
    };
    if token.len() > MAX_TOKEN_BYTES {
        return Err(malformed());
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| malformed())?;
    let rest = bytes.strip_prefix(&[TOKEN_VERSION]).ok_or_else(malformed)?;
    let (print, values) = rest.split_at_checked(FINGERPRINT_BYTES).ok_or_else(malformed)?;
    if print != fingerprint {
        let problem =
            "belongs to another filter or order: repeat those of the page before, or begin without a token";
        return Err(FilterError::new("page_token", problem));
    }
    let values: Vec<Json> = serde_json::from_slice(values).map_err(|_| malformed())?;
    if values.len() != keys.len() {
        return Err(malformed());
    }
    let pairs = values.into_iter().zip(keys);
    let binds = pairs.map(|(value, key)| match (value, key.kind) {
        (Json::String(text), SortKind::Text) if !text.contains('\0') => Some(Bind::Text(text)),
        (Json::Number(number), SortKind::Int) => number.as_i64().map(Bind::Int),
        (Json::Null, _) if key.nullable => Some(Bind::Null),
        _ => None,
    });
    binds.collect::<Option<_>>().ok_or_else(malformed)
}

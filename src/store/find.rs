//! Lists: a filter, an order and a page as one statement, for both databases.
//!
//! The statement differs with the filter: run it with `persistent(false)`, so that it does not push the fixed statements out of
//! the cache of the connection.

use std::fmt;

use crate::model::{
    filter::{self, Filter, FilterError, unknown},
    ids::Tenant,
};

mod condition;
mod fields;
mod page;
mod value;

use condition::{Binds, condition, sortable};
pub use fields::Entity;
use fields::{Field, Kind};
pub use page::{DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE, page_size};
use page::{Fingerprint, Key};

/// Whose SQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the databases, by name")]
pub enum Dialect {
    Sqlite,
    Postgres,
}

impl Dialect {
    /// What makes PostgreSQL compare text as SQLite does, whatever the locale of the database.
    const fn bytewise(self) -> &'static str {
        match self {
            Self::Sqlite => "",
            Self::Postgres => " COLLATE \"C\"",
        }
    }
}

/// A parameter of a statement, or a sort value of a row. Debug leaves text out: it may be an address or part of a body.
#[derive(Clone, PartialEq)]
#[allow(missing_docs, reason = "the types of SQL, by name")]
pub enum Bind {
    Text(String),
    Int(i64),
    Real(f64),
    Null,
}

impl fmt::Debug for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Int(number) => write!(f, "Int({number})"),
            Self::Real(number) => write!(f, "Real({number})"),
            Self::Null => f.write_str("Null"),
        }
    }
}

/// How a `sort_n` column is read. Any may be null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the types of SQL, by name")]
pub enum SortKind {
    Text,
    Int,
}

/// A list that is asked for. Without Debug: the filter may hold addresses.
#[derive(Clone, Copy)]
pub struct Find<'a> {
    /// Of what.
    pub entity: Entity,
    /// Whose. Nothing of another tenant is ever found.
    pub tenant: &'a Tenant,
    /// Which of them.
    pub filter: &'a Filter,
    /// In which order; newest first when empty, and among equals.
    pub order: &'a [(String, bool)],
    /// Rows of a page, checked by [`page_size`].
    pub page_size: u32,
    /// Empty for the first page.
    pub page_token: &'a str,
    /// Those too that were deleted softly.
    pub include_deleted: bool,
}

/// A list as a statement.
#[derive(Clone, Debug)]
pub struct Compiled {
    /// `SELECT <columns>, ... AS sort_0, ... AS sort_1 FROM ...`, with the parameters `$1`, `$2` ... It asks for one row more than
    /// the page has, so that [`Compiled::page`] knows whether there is a next one.
    pub sql: String,
    /// The parameters in their order.
    pub binds: Vec<Bind>,
    /// The types of the columns `sort_0`, `sort_1` ...
    pub sort: Vec<SortKind>,
    /// Rows of a page.
    pub page_size: usize,
    fingerprint: Fingerprint,
}

impl Compiled {
    /// Cuts the rows of the statement to the page, and makes the token for the next: empty when this was the last.
    ///
    /// `sort_values` reads `sort_0`, `sort_1` ... of a row.
    pub fn page<R>(&self, mut rows: Vec<R>, sort_values: impl FnOnce(&R) -> Vec<Bind>) -> (Vec<R>, String) {
        if rows.len() <= self.page_size {
            return (rows, String::new());
        }
        rows.truncate(self.page_size);
        let token = rows.last().map(|last| self.next_token(&sort_values(last))).unwrap_or_default();
        (rows, token)
    }

    /// The token for the page after the row with these sort values.
    pub fn next_token(&self, sort_values: &[Bind]) -> String {
        page::encode(self.fingerprint, sort_values)
    }
}

impl Find<'_> {
    /// The statement. `columns` is what to select, a constant of the caller's.
    ///
    /// # Errors
    /// What in the filter, the order or the page token cannot be, by its place: an unknown field, a value of another type, a
    /// malformed id, a limit of [`filter`], a token that is malformed or of another list.
    pub fn compile(&self, dialect: Dialect, columns: &str) -> Result<Compiled, FilterError> {
        filter::check(self.filter)?;
        let table = self.entity.table();
        let keys = self.keys(dialect)?;
        let fingerprint = page::fingerprint(self);
        let mut binds = Binds { dialect, list: Vec::new() };
        let mut wheres = vec![format!("{table}.tenant = {}", binds.add(self.tenant.as_str().into()))];
        if self.entity.is_soft() && !self.include_deleted {
            wheres.push(format!("{table}.deleted_at IS NULL"));
        }
        if *self.filter != Filter::everything() {
            wheres.push(condition(&mut binds, self.entity, self.filter)?);
        }
        if !self.page_token.is_empty() {
            let last = page::decode(self.page_token, fingerprint, &keys)?;
            wheres.push(page::after(&mut binds, &keys, last));
        }
        let sorts = keys.iter().enumerate().map(|(n, key)| match key.kind {
            SortKind::Text => format!(", {} AS sort_{n}", key.expression),
            // PostgreSQL would answer SMALLINT here and INTEGER there.
            SortKind::Int => format!(", CAST({} AS BIGINT) AS sort_{n}", key.expression),
        });
        let order: Vec<String> = keys.iter().map(Key::order).collect();
        let sql = format!(
            "SELECT {columns}{} FROM {table} WHERE {} ORDER BY {} LIMIT {}",
            sorts.collect::<String>(),
            wheres.join(" AND "),
            order.join(", "),
            self.page_size.saturating_add(1),
        );
        Ok(Compiled {
            sql,
            binds: binds.list,
            sort: keys.iter().map(|key| key.kind).collect(),
            page_size: self.page_size as usize,
            fingerprint,
        })
    }

    /// What the rows are sorted by. The last is always the id, which makes every place in the order unique.
    fn keys(&self, dialect: Dialect) -> Result<Vec<Key>, FilterError> {
        let newest_first = [("created_at".to_owned(), true)];
        let order = if self.order.is_empty() { &newest_first } else { self.order };
        if order.len() > filter::MAX_ORDER {
            let problem = format!("has more than {} fields", filter::MAX_ORDER);
            return Err(FilterError::new("order_by", problem));
        }
        let fields: Vec<Field> =
            order.iter().map(|(name, _)| self.order_field(name)).collect::<Result<_, _>>()?;
        let id = self.order_field("id")?;
        let mut keys = Vec::with_capacity(order.len() + 1);
        for (place, (field, (_, descending))) in fields.iter().zip(order).enumerate() {
            // Ids grow with time, and unlike times they are unique and indexed. A contact's id is the caller's.
            let is_last = place + 1 == order.len();
            let is_time = field.name == "created_at" && is_last && self.entity != Entity::Contact;
            if is_time || field.name == id.name {
                // What follows an id decides nothing.
                keys.push(self.key(dialect, id, *descending));
                return Ok(keys);
            }
            keys.push(self.key(dialect, *field, *descending));
        }
        keys.push(self.key(dialect, id, true));
        Ok(keys)
    }

    fn key(&self, dialect: Dialect, field: Field, descending: bool) -> Key {
        let kind = match field.kind {
            Kind::Text | Kind::LongText => SortKind::Text,
            _ => SortKind::Int,
        };
        let expression = sortable(dialect, self.entity, field);
        Key { expression, kind, descending, nullable: field.nullable }
    }

    /// The field of this name, if rows can be sorted by it.
    fn order_field(&self, name: &str) -> Result<Field, FilterError> {
        let sorts = |field: &&Field| {
            !matches!(field.kind, Kind::LongText | Kind::List | Kind::Parts(..) | Kind::Json)
        };
        let mut fields = self.entity.fields().iter().filter(sorts);
        fields.clone().find(|field| field.name == name).copied().ok_or_else(|| {
            let what = format!("a field that {} can be sorted by", self.entity.table());
            unknown("order_by", &what, name, fields.by_ref().map(|field| field.name))
        })
    }
}

impl From<&str> for Bind {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod tests;

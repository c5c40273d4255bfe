//! Statements over many rows: each costs a way to the database and back, so rows travel together.
//!
//! How they travel differs ([`dialect::ARRAYS`]). SQLite takes lists of values, in chunks of powers of two, whose texts are made once
//! and stay in the statement cache; and small statements may travel in one text. PostgreSQL takes one array for each column: one
//! statement, whatever the number of rows.

use std::{borrow::Cow, sync::OnceLock};

use super::{
    super::{Db, dialect},
    rows::DbRow,
    value::Value,
};
use crate::store::StoreError;

pub(in super::super) type Query<'q> = sqlx::query::Query<'q, Db, <Db as sqlx::Database>::Arguments>;
pub(in super::super) type Conn = <Db as sqlx::Database>::Connection;

const SIZES: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];

/// Rows of one statement where rows travel as arrays.
const ROWS: usize = 2_000;

/// A statement with a list of rows (or of values) in the middle.
pub(in super::super) struct Bulk {
    before: &'static str,
    after: &'static str,
    /// The types of a row's values, for databases that want them said; empty where the target column says it.
    types: &'static [&'static str],
    columns: usize,
    /// Parameters that come before the rows.
    fixed: usize,
    shape: Shape,
    texts: [OnceLock<String>; SIZES.len()],
}

/// What the list looks like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `VALUES ($1, $2), ($3, $4)`
    Rows,
    /// `IN ($1, $2)`
    Among,
}

/// What `before` ends with, by shape.
const VALUES: &str = "VALUES ";
const IN: &str = "IN (";

impl Bulk {
    const fn new(
        before: &'static str,
        types: &'static [&'static str],
        (columns, fixed): (usize, usize),
        shape: Shape,
        after: &'static str,
    ) -> Self {
        let texts = [const { OnceLock::new() }; SIZES.len()];
        Self { before, after, types, columns, fixed, shape, texts }
    }

    /// `INSERT ... VALUES` rows of this many columns, then `after`.
    pub(in super::super) const fn insert(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self::new(before, &[], (columns, 0), Shape::Rows, after)
    }

    /// `WITH v(...) AS (VALUES` rows of these types `)`, then `after`.
    pub(in super::super) const fn with(
        before: &'static str,
        types: &'static [&'static str],
        after: &'static str,
    ) -> Self {
        Self::new(before, types, (types.len(), 0), Shape::Rows, after)
    }

    /// `... IN (` values `)`, after this many fixed parameters.
    pub(in super::super) const fn among(before: &'static str, fixed: usize, after: &'static str) -> Self {
        Self::new(before, &[], (1, fixed), Shape::Among, after)
    }

    /// The text for a chunk of this size.
    fn text(&'static self, index: usize) -> &'static str {
        self.texts[index]
            .get_or_init(|| if dialect::ARRAYS { self.of_arrays() } else { self.of_values(SIZES[index]) })
    }

    fn of_values(&self, rows: usize) -> String {
        let mut text = (1..=self.fixed).fold(String::from(self.before), |text, number| {
            text.replace(&format!("${number}"), &dialect::placeholder(number))
        });
        let (open, close) = if self.shape == Shape::Rows { ("(", ")") } else { ("", "") };
        let mut next = self.fixed;
        for row in 0..rows {
            text.push_str(if row > 0 { ", " } else { "" });
            text.push_str(open);
            for column in 0..self.columns {
                text.push_str(if column > 0 { ", " } else { "" });
                next += 1;
                let value = dialect::placeholder(next);
                match self.types.get(column).filter(|_| row == 0) {
                    Some(kind) => text.push_str(&format!("CAST({value} AS {kind})")),
                    None => text.push_str(&value),
                }
            }
            text.push_str(close);
        }
        text.push_str(self.after);
        text
    }

    fn of_arrays(&self) -> String {
        let places = (self.fixed + 1)..=(self.fixed + self.columns);
        let places: Vec<String> = places.map(dialect::placeholder).collect();
        let places = places.join(", ");
        let begin = |end| self.before.strip_suffix(end).unwrap_or(self.before);
        match self.shape {
            Shape::Rows => format!("{}SELECT * FROM UNNEST({places}){}", begin(VALUES), self.after),
            Shape::Among => format!("{}= ANY({places}{}", begin(IN), self.after),
        }
    }

    /// The rows in chunks, each with its statement.
    fn chunks<'r, T>(&'static self, rows: &'r [T]) -> impl Iterator<Item = (&'r [T], &'static str)> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let (index, size) = size_of(rest.len())?;
            let (chunk, others) = rest.split_at(size);
            rest = others;
            Some((chunk, self.text(index)))
        })
    }

    /// Executes the statement over all rows at once; `bind` binds one row.
    pub(in super::super) async fn run<T>(
        &'static self,
        conn: &mut Conn,
        rows: &[T],
        bind: impl Fn(Args, &T) -> Args,
    ) -> Result<(), StoreError> {
        let mut script = Script::default();
        script.add(conn, self, rows, bind).await?;
        script.flush(conn).await
    }

    /// What the statement answers over all rows; `fix` binds what comes before them.
    pub(in super::super) async fn fetch<T>(
        &'static self,
        conn: &mut Conn,
        fix: impl Fn(Args) -> Args,
        rows: &[T],
        bind: impl Fn(Args, &T) -> Args,
    ) -> Result<Vec<DbRow>, StoreError> {
        let mut found = Vec::with_capacity(rows.len());
        for (chunk, text) in self.chunks(rows) {
            let args = chunk.iter().fold(fix(self.args()), &bind);
            let query = sqlx::query_with::<Db, _>(text, args.list()?);
            found.extend(query.fetch_all(&mut *conn).await.map_err(dialect::error)?);
        }
        Ok(found)
    }

    fn args(&self) -> Args {
        Args { cells: dialect::Cells::new(self.fixed, self.columns), trouble: None }
    }
}

/// The place in [`SIZES`] and the number of rows of the next chunk of so many.
fn size_of(rows: usize) -> Option<(usize, usize)> {
    if dialect::ARRAYS {
        return (rows > 0).then_some((0, rows.min(ROWS)));
    }
    let index = SIZES.iter().position(|size| *size <= rows)?;
    Some((index, SIZES[index]))
}

/// Parameters, in order.
pub(in super::super) struct Args {
    cells: dialect::Cells,
    trouble: Option<Cow<'static, str>>,
}

impl Args {
    /// One more.
    pub(in super::super) fn bind(mut self, value: impl Into<Value>) -> Self {
        if let Err(error) = self.cells.put(value.into()) {
            self.trouble = Some(error);
        }
        self
    }

    fn list(self) -> Result<<Db as sqlx::Database>::Arguments, StoreError> {
        match self.trouble {
            None => self.cells.list(),
            Some(trouble) => Err(StoreError::Unavailable(trouble.into_owned())),
        }
    }
}

/// Rows of a statement that still travels with others.
const SMALL: usize = 8;
/// Statements that travel together at most: more make more texts than the statement cache holds.
const TOGETHER: usize = 6;

/// Statements whose answers nobody needs, sent together where that is possible: where they are small, the way to the database costs
/// more than they do.
#[derive(Default)]
pub(in super::super) struct Script {
    texts: Vec<&'static str>,
    args: Option<Args>,
}

impl Script {
    /// A statement without parameters: the beginning or the end of a transaction.
    pub(in super::super) async fn say(
        &mut self,
        conn: &mut Conn,
        text: &'static str,
    ) -> Result<(), StoreError> {
        if dialect::TOGETHER {
            self.texts.push(text);
            return Ok(());
        }
        // May be several statements: it goes as it is, unprepared.
        sqlx::raw_sql(text).execute(conn).await.map(drop).map_err(dialect::error)
    }

    /// A statement over these rows. It is executed before or with the next [`Script::flush`], after what was added earlier.
    pub(in super::super) async fn add<T>(
        &mut self,
        conn: &mut Conn,
        bulk: &'static Bulk,
        rows: &[T],
        bind: impl Fn(Args, &T) -> Args,
    ) -> Result<(), StoreError> {
        for (chunk, text) in bulk.chunks(rows) {
            let alone = chunk.len() > SMALL || !dialect::TOGETHER;
            if alone || self.texts.len() >= TOGETHER {
                self.flush(conn).await?;
            }
            self.texts.push(text);
            let args = self.args.take().unwrap_or_else(|| bulk.args());
            self.args = Some(chunk.iter().fold(args, &bind));
            if alone {
                self.flush(conn).await?;
            }
        }
        Ok(())
    }

    /// Executes what is left.
    pub(in super::super) async fn flush(&mut self, conn: &mut Conn) -> Result<(), StoreError> {
        let args = self.args.take().map(Args::list).transpose()?.unwrap_or_default();
        let texts = std::mem::take(&mut self.texts);
        let query = match texts[..] {
            [] => return Ok(()),
            [text] => sqlx::query_with::<Db, _>(text, args),
            _ => sqlx::query_with::<Db, _>(sqlx::AssertSqlSafe(texts.join(";\n")), args),
        };
        query.execute(conn).await.map(drop).map_err(dialect::error)
    }
}

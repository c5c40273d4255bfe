//! Statements over many rows. A statement costs a hop to the database, so rows travel together: in chunks of powers of two, whose
//! texts are made once and stay in the statement cache.

use std::sync::OnceLock;

use sqlx::Arguments as _;

use super::super::{Db, dialect};
use crate::store::StoreError;

pub(in super::super) type Query<'q> = sqlx::query::Query<'q, Db, <Db as sqlx::Database>::Arguments>;
pub(in super::super) type Conn = <Db as sqlx::Database>::Connection;

const SIZES: [usize; 8] = [128, 64, 32, 16, 8, 4, 2, 1];

/// A statement with a list of rows (or of values) in the middle.
pub(in super::super) struct Bulk {
    before: &'static str,
    after: &'static str,
    /// The types of a row's values, for databases that want them said; empty where the target column says it.
    types: &'static [&'static str],
    columns: usize,
    /// Parameters that come before the rows.
    fixed: usize,
    /// `($1, $2), ($3, $4)` rather than `$1, $2`.
    tuples: bool,
    texts: [OnceLock<String>; SIZES.len()],
}

impl Bulk {
    /// `INSERT ... VALUES` rows of this many columns, then `after`.
    pub(in super::super) const fn insert(before: &'static str, columns: usize, after: &'static str) -> Self {
        Self {
            before,
            after,
            types: &[],
            columns,
            fixed: 0,
            tuples: true,
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// `WITH v(...) AS (VALUES` rows of these types `)`, then `after`.
    pub(in super::super) const fn with(
        before: &'static str,
        types: &'static [&'static str],
        after: &'static str,
    ) -> Self {
        Self {
            before,
            after,
            types,
            columns: types.len(),
            fixed: 0,
            tuples: true,
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    /// `... IN (` values `)`, after this many fixed parameters.
    pub(in super::super) const fn among(before: &'static str, fixed: usize, after: &'static str) -> Self {
        Self {
            before,
            after,
            types: &[],
            columns: 1,
            fixed,
            tuples: false,
            texts: [const { OnceLock::new() }; SIZES.len()],
        }
    }

    fn text(&'static self, index: usize) -> &'static str {
        self.texts[index].get_or_init(|| {
            let mut text = (1..=self.fixed).fold(String::from(self.before), |text, number| {
                text.replace(&format!("${number}"), &dialect::placeholder(number))
            });
            let mut next = self.fixed;
            for row in 0..SIZES[index] {
                if row > 0 {
                    text.push_str(", ");
                }
                if self.tuples {
                    text.push('(');
                }
                for column in 0..self.columns {
                    if column > 0 {
                        text.push_str(", ");
                    }
                    next += 1;
                    let value = dialect::placeholder(next);
                    match self.types.get(column).filter(|_| row == 0) {
                        Some(kind) => text.push_str(&format!("CAST({value} AS {kind})")),
                        None => text.push_str(&value),
                    }
                }
                if self.tuples {
                    text.push(')');
                }
            }
            text.push_str(self.after);
            text
        })
    }

    /// The rows in chunks, each with the statement for its size.
    pub(in super::super) fn chunks<'r, T>(
        &'static self,
        rows: &'r [T],
    ) -> impl Iterator<Item = (&'r [T], Query<'static>)> {
        let mut rest = rows;
        std::iter::from_fn(move || {
            let index = SIZES.iter().position(|size| *size <= rest.len())?;
            let (chunk, others) = rest.split_at(SIZES[index]);
            rest = others;
            Some((chunk, sqlx::query(self.text(index))))
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
}

/// Parameters, in order.
#[derive(Default)]
pub(in super::super) struct Args {
    list: <Db as sqlx::Database>::Arguments,
    trouble: Option<String>,
}

impl Args {
    /// One more.
    pub(in super::super) fn bind<T>(mut self, value: T) -> Self
    where
        T: for<'q> sqlx::Encode<'q, Db> + sqlx::Type<Db>,
    {
        if let Err(error) = self.list.add(value) {
            self.trouble = Some(error.to_string());
        }
        self
    }

    fn list(self) -> Result<<Db as sqlx::Database>::Arguments, StoreError> {
        self.trouble.map_or(Ok(self.list), |trouble| Err(StoreError::Unavailable(trouble)))
    }
}

/// Rows of a statement that still travels with others.
const SMALL: usize = 8;
/// Statements that travel together at most: more make more texts than the statement cache holds.
const TOGETHER: usize = 6;

/// Statements whose answers nobody needs, sent together: where they are small, the way to the database costs more than they do.
#[derive(Default)]
pub(in super::super) struct Script {
    texts: Vec<&'static str>,
    args: Args,
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
        let mut rest = rows;
        while let Some(index) = SIZES.iter().position(|size| *size <= rest.len()) {
            let (chunk, others) = rest.split_at(SIZES[index]);
            rest = others;
            let alone = chunk.len() > SMALL || !dialect::TOGETHER;
            if alone || self.texts.len() >= TOGETHER {
                self.flush(conn).await?;
            }
            self.texts.push(bulk.text(index));
            self.args = chunk.iter().fold(std::mem::take(&mut self.args), &bind);
            if alone {
                self.flush(conn).await?;
            }
        }
        Ok(())
    }

    /// Executes what is left.
    pub(in super::super) async fn flush(&mut self, conn: &mut Conn) -> Result<(), StoreError> {
        let args = std::mem::take(&mut self.args).list()?;
        let texts = std::mem::take(&mut self.texts);
        let query = match texts[..] {
            [] => return Ok(()),
            [text] => sqlx::query_with::<Db, _>(text, args),
            _ => sqlx::query_with::<Db, _>(sqlx::AssertSqlSafe(texts.join(";\n")), args),
        };
        query.execute(conn).await.map(drop).map_err(dialect::error)
    }
}

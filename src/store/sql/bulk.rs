//! Statements over many rows. A statement costs a hop to the database, so rows travel together: in chunks of powers of two, whose
//! texts are made once and stay in the statement cache.

use std::sync::OnceLock;

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

    /// Executes the statement over all rows; `bind` binds one row.
    pub(in super::super) async fn run<T>(
        &'static self,
        conn: &mut Conn,
        rows: &[T],
        bind: impl for<'q> Fn(Query<'q>, &T) -> Query<'q>,
    ) -> Result<u64, StoreError> {
        let mut count = 0;
        for (chunk, mut query) in self.chunks(rows) {
            for row in chunk {
                query = bind(query, row);
            }
            count += query.execute(&mut *conn).await.map_err(dialect::error)?.rows_affected();
        }
        Ok(count)
    }
}

//! A filter as SQL. Every value is bound; the text holds names from the tables in `fields` and nothing of the caller's.
//!
//! Three-valued logic stays inside one test: an unset field satisfies no comparison, and whatever negates (`$ne`, `$nin`, `$not`)
//! first turns "unknown" into "no". Outside of a negation the bare comparison is left for the indexes to see: there AND, OR and
//! WHERE take "unknown" for "no" by themselves.

use super::{
    Bind, Dialect,
    fields::{Entity, Field, Kind},
    value,
};
use crate::model::filter::{Filter, FilterError, Op, Test, Value};

/// Parameters of one statement at most. SQLite takes 32,766 and PostgreSQL 65,535.
const MAX_BINDS: usize = 20_000;

/// The parameters of a statement under construction.
#[derive(Debug)]
pub(super) struct Binds {
    pub(super) dialect: Dialect,
    pub(super) list: Vec<Bind>,
}

impl Binds {
    /// Adds one and tells how the text refers to it.
    pub(super) fn add(&mut self, bind: Bind) -> String {
        self.list.push(bind);
        format!("${}", self.list.len())
    }
}

/// The condition that a filter sets on the rows of an entity.
pub(super) fn condition(binds: &mut Binds, entity: Entity, filter: &Filter) -> Result<String, FilterError> {
    let sql = Compiler { binds, entity }.filter(filter, false)?;
    if binds.list.len() > MAX_BINDS {
        return Err(FilterError::new("filter", format!("has more than {MAX_BINDS} values")));
    }
    Ok(sql)
}

/// `CASE` is the one way to say "unknown is no" that both databases read the same.
fn not(sql: &str) -> String {
    format!("NOT ({})", settled(sql))
}

fn settled(sql: &str) -> String {
    format!("CASE WHEN {sql} THEN 1 ELSE 0 END = 1")
}

struct Compiler<'a> {
    binds: &'a mut Binds,
    entity: Entity,
}

impl Compiler<'_> {
    fn filter(&mut self, filter: &Filter, negated: bool) -> Result<String, FilterError> {
        Ok(match filter {
            Filter::All(inner) if inner.is_empty() => "1 = 1".to_owned(),
            Filter::Any(inner) if inner.is_empty() => "1 = 0".to_owned(),
            Filter::All(inner) => self.join(inner, " AND ", negated)?,
            Filter::Any(inner) => self.join(inner, " OR ", negated)?,
            Filter::Not(inner) => format!("NOT ({})", self.filter(inner, true)?),
            Filter::Field(name, test) => {
                let sql = self.test(name, test)?;
                if negated { settled(&sql) } else { sql }
            }
        })
    }

    fn join(&mut self, filters: &[Filter], word: &str, negated: bool) -> Result<String, FilterError> {
        let each = filters.iter().map(|filter| self.filter(filter, negated));
        let parts: Vec<String> = each.collect::<Result<_, _>>()?;
        Ok(format!("({})", parts.join(word)))
    }

    fn test(&mut self, name: &str, test: &Test) -> Result<String, FilterError> {
        let path = format!("filter.{}.{}", crate::model::filter::shown(name), test.operator());
        let field = self.entity.field(&path, name)?;
        let place = Place { path: &path, name, field };
        Ok(match test {
            Test::Compare(Op::Eq, value) => self.one_of(&place, std::slice::from_ref(value))?,
            Test::Compare(Op::Ne, value) => not(&self.one_of(&place, std::slice::from_ref(value))?),
            Test::Compare(op, value) => self.ordered(&place, *op, value)?,
            Test::In(true, values) => self.one_of(&place, values)?,
            Test::In(false, values) => not(&self.one_of(&place, values)?),
            Test::Exists(true) => self.exists(&place)?,
            Test::Exists(false) => self.unset(&place)?,
            Test::Regex(pattern) => self.regex(&place, pattern)?,
        })
    }

    /// The field is one of these; for null, it is unset.
    fn one_of(&mut self, place: &Place<'_>, values: &[Value]) -> Result<String, FilterError> {
        if values.is_empty() {
            return Ok("1 = 0".to_owned());
        }
        let unset = values.contains(&Value::Null);
        let mut ways = Vec::new();
        match place.field.kind {
            Kind::Json => {
                let key = self.key(place)?;
                ways.extend(unset.then(|| not(&key.is_set())));
                for (expression, wanted) in [
                    (key.text(), value::texts(place.path, values)?),
                    (key.number(), value::numbers(place.path, values)?),
                    (key.bool(), value::bools(values)),
                ] {
                    ways.extend(self.is_in(&expression, wanted));
                }
            }
            kind => {
                if unset {
                    ways.push(self.unset(place)?);
                }
                let given = values.iter().filter(|value| **value != Value::Null);
                let wanted = given.map(|value| value::stored(place.path, kind, value));
                let wanted = wanted.collect::<Result<_, _>>()?;
                let (open, expression, close) = self.element(place);
                let test = self.is_in(&expression, wanted);
                ways.extend(test.map(|test| format!("{open}{test}{close}")));
            }
        }
        Ok(match ways.len() {
            1 => ways.swap_remove(0),
            _ => format!("({})", ways.join(" OR ")),
        })
    }

    fn is_in(&mut self, expression: &str, mut wanted: Vec<Bind>) -> Option<String> {
        if wanted.len() == 1 {
            return wanted.pop().map(|bind| format!("{expression} = {}", self.binds.add(bind)));
        }
        let list: Vec<String> = wanted.into_iter().map(|bind| self.binds.add(bind)).collect();
        (!list.is_empty()).then(|| format!("{expression} IN ({})", list.join(", ")))
    }

    fn ordered(&mut self, place: &Place<'_>, op: Op, value: &Value) -> Result<String, FilterError> {
        let sign = match op {
            Op::Gt => ">",
            Op::Gte => ">=",
            Op::Lt => "<",
            Op::Lte => "<=",
            Op::Eq | Op::Ne => "=",
        };
        if *value == Value::Null {
            let problem = "nothing is less or greater than null: use {\"$exists\": true}";
            return Err(FilterError::new(place.path, problem));
        }
        let (expression, bind) = match place.field.kind {
            Kind::List | Kind::Parts(..) | Kind::Bool => {
                let problem = "has no order: use $eq $ne $in $nin $exists";
                return Err(FilterError::new(place.path, problem));
            }
            Kind::Json => match value {
                Value::Number(_) => (self.key(place)?.number(), value::number(place.path, value)?),
                Value::Text(_) => {
                    let bytes = self.binds.dialect.bytewise();
                    (format!("({}){bytes}", self.key(place)?.text()), value::text(place.path, value)?)
                }
                Value::Bool(_) | Value::Null => {
                    return Err(FilterError::new(place.path, "takes a number or text"));
                }
            },
            kind => {
                let expression = sortable(self.binds.dialect, self.entity, place.field);
                (expression, value::rank(place.path, kind, value)?)
            }
        };
        Ok(format!("{expression} {sign} {}", self.binds.add(bind)))
    }

    fn exists(&mut self, place: &Place<'_>) -> Result<String, FilterError> {
        Ok(match place.field.kind {
            Kind::Json => self.key(place)?.is_set(),
            _ => {
                let (open, expression, close) = self.element(place);
                format!("{open}{expression} IS NOT NULL{close}")
            }
        })
    }

    fn unset(&mut self, place: &Place<'_>) -> Result<String, FilterError> {
        Ok(match place.field.kind {
            Kind::Json => not(&self.exists(place)?),
            Kind::List | Kind::Parts(..) => format!("NOT {}", self.exists(place)?),
            _ => format!("{} IS NULL", self.element(place).1),
        })
    }

    fn regex(&mut self, place: &Place<'_>, pattern: &str) -> Result<String, FilterError> {
        let (open, expression, close) = match place.field.kind {
            Kind::Json => (String::new(), format!("({})", self.key(place)?.text()), ""),
            Kind::Text | Kind::LongText | Kind::List | Kind::Parts(_, []) => self.element(place),
            Kind::Name(names) | Kind::Rank(names) | Kind::Parts(_, names) => {
                let problem = format!("takes no $regex: use $in with some of {}", names.join(" "));
                return Err(FilterError::new(place.path, problem));
            }
            Kind::Time | Kind::Int | Kind::Bool | Kind::Id(_) => {
                return Err(FilterError::new(place.path, "takes no $regex: it is not text"));
            }
        };
        let pattern = value::text(place.path, &Value::Text(pattern.to_owned()))?;
        let word = match self.binds.dialect {
            Dialect::Sqlite => "REGEXP",
            Dialect::Postgres => "~",
        };
        Ok(format!("{open}{expression} {word} {}{close}", self.binds.add(pattern)))
    }

    /// What a test stands on, and what goes around it: a column by itself, or any element of a list.
    fn element(&self, place: &Place<'_>) -> (String, String, &'static str) {
        let column = format!("{}.{}", self.entity.table(), place.field.column);
        let (source, expression) = match (place.field.kind, self.binds.dialect) {
            (Kind::List, Dialect::Sqlite) => {
                (format!("json_each({column}) AS item"), "item.value".to_owned())
            }
            (Kind::List, Dialect::Postgres) => (
                format!("jsonb_array_elements_text({column}::jsonb) AS item(value)"),
                "item.value".to_owned(),
            ),
            (Kind::Parts(part, _), Dialect::Sqlite) => {
                (format!("json_each({column}) AS item"), format!("json_extract(item.value, '$.{part}')"))
            }
            (Kind::Parts(part, _), Dialect::Postgres) => {
                let source = format!("jsonb_array_elements({column}::jsonb) AS item(value)");
                (source, format!("(item.value ->> '{part}')"))
            }
            _ => return (String::new(), column, ""),
        };
        (format!("EXISTS (SELECT 1 FROM {source} WHERE "), expression, ")")
    }

    /// The value under a key of metadata.
    fn key(&mut self, place: &Place<'_>) -> Result<Key, FilterError> {
        let parts = value::key(place.path, place.name)?;
        let column = format!("{}.{}", self.entity.table(), place.field.column);
        Ok(match self.binds.dialect {
            Dialect::Sqlite => {
                let path: String = parts.iter().map(|part| format!(".\"{part}\"")).collect();
                let path = self.binds.add(Bind::Text(format!("${path}")));
                Key::Sqlite(format!("{column}, {path}"))
            }
            Dialect::Postgres => {
                // Not `#>`: that reads a number in the path as a place in a list, SQLite as a key.
                let steps = parts
                    .iter()
                    .map(|part| format!(" -> {}::text", self.binds.add(Bind::Text((*part).to_owned()))));
                Key::Postgres(format!("({column}::jsonb{})", steps.collect::<String>()))
            }
        })
    }
}

/// A field within a filter.
struct Place<'a> {
    path: &'a str,
    name: &'a str,
    field: Field,
}

/// A value in JSON, read as one type: null when it is of another.
enum Key {
    /// The arguments of `json_type` and `json_extract`.
    Sqlite(String),
    /// An expression of type `jsonb`.
    Postgres(String),
}

impl Key {
    fn text(&self) -> String {
        match self {
            Self::Sqlite(at) => format!("CASE WHEN json_type({at}) = 'text' THEN json_extract({at}) END"),
            Self::Postgres(at) => format!("CASE WHEN jsonb_typeof({at}) = 'string' THEN {at} #>> '{{}}' END"),
        }
    }

    fn number(&self) -> String {
        match self {
            Self::Sqlite(at) => {
                format!("CASE WHEN json_type({at}) IN ('integer', 'real') THEN json_extract({at}) END")
            }
            Self::Postgres(at) => format!(
                "CASE WHEN jsonb_typeof({at}) = 'number' THEN ({at} #>> '{{}}')::double precision END"
            ),
        }
    }

    fn bool(&self) -> String {
        match self {
            Self::Sqlite(at) => format!("CASE json_type({at}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"),
            Self::Postgres(at) => format!(
                "CASE WHEN jsonb_typeof({at}) = 'boolean' THEN CASE {at} #>> '{{}}' WHEN 'true' THEN 1 ELSE 0 END END"
            ),
        }
    }

    /// JSON's own null is as unset as no value.
    fn is_set(&self) -> String {
        match self {
            Self::Sqlite(at) => format!("json_type({at}) <> 'null'"),
            Self::Postgres(at) => format!("jsonb_typeof({at}) <> 'null'"),
        }
    }
}

/// A field as what it is sorted by: text by its bytes, names by their place in the API.
pub(super) fn sortable(dialect: Dialect, entity: Entity, field: Field) -> String {
    let column = format!("{}.{}", entity.table(), field.column);
    match field.kind {
        Kind::Text | Kind::LongText if dialect == Dialect::Postgres => {
            format!("({column}{})", dialect.bytewise())
        }
        Kind::Name(names) => {
            let arms = names.iter().enumerate().map(|(rank, name)| format!(" WHEN '{name}' THEN {rank}"));
            format!("CASE {column}{} END", arms.collect::<String>())
        }
        _ => column,
    }
}

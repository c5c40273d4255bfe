//! Filters: the typed form and the JSON form say the same.

use prost_types::value::Kind;

use crate::{
    model::filter::{Filter, FilterError, Op, Test, Value, parse_json, parse_order},
    pb,
    service::{Given, Violations, query::Search},
};

/// Values of one `in` at most.
const MAX_VALUES: usize = 1_000;

/// What every Find asks for.
pub(in crate::api::grpc) fn search(
    filter: Option<pb::Filter>,
    order_by: &str,
    page_size: i32,
    page_token: String,
    include_deleted: bool,
) -> Given<Search> {
    let mut violations = Violations::default();
    let filter = filter.map(|filter| read(filter, "filter")).unwrap_or(Ok(Filter::All(Vec::new())));
    let filter = filter.unwrap_or_else(|error| note(&mut violations, error, Filter::All(Vec::new())));
    let order = parse_order(order_by).unwrap_or_else(|error| note(&mut violations, error, Vec::new()));
    Given { value: Search { filter, order, page_size, page_token, include_deleted }, violations }
}

fn note<T>(violations: &mut Violations, error: FilterError, instead: T) -> T {
    violations.add(error.path, error.problem);
    instead
}

fn read(filter: pb::Filter, path: &str) -> Result<Filter, FilterError> {
    let mut all = Vec::new();
    for (field, condition) in filter.r#where {
        let path = format!("{path}.{field}");
        all.push(condition_of(field, condition, &path)?);
    }
    for (index, filter) in filter.and.into_iter().enumerate() {
        all.push(read(filter, &format!("{path}.and[{index}]"))?);
    }
    if !filter.or.is_empty() {
        let each = filter.or.into_iter().enumerate();
        let any = each.map(|(index, filter)| read(filter, &format!("{path}.or[{index}]")));
        all.push(Filter::Any(any.collect::<Result<_, _>>()?));
    }
    if let Some(filter) = filter.not {
        all.push(Filter::Not(Box::new(read(*filter, &format!("{path}.not"))?)));
    }
    if !filter.json.is_empty() {
        all.push(parse_json(&filter.json)?);
    }
    Ok(if all.len() == 1 { all.swap_remove(0) } else { Filter::All(all) })
}

fn condition_of(field: String, condition: pb::Condition, path: &str) -> Result<Filter, FilterError> {
    let compared = [
        ("eq", Op::Eq, condition.eq),
        ("ne", Op::Ne, condition.ne),
        ("gt", Op::Gt, condition.gt),
        ("gte", Op::Gte, condition.gte),
        ("lt", Op::Lt, condition.lt),
        ("lte", Op::Lte, condition.lte),
    ];
    let mut tests = Vec::new();
    for (name, op, value) in compared {
        if let Some(value) = value {
            tests.push(Test::Compare(op, scalar(value, &format!("{path}.{name}"))?));
        }
    }
    if let Some(list) = condition.r#in {
        tests.push(Test::In(true, scalars(list, &format!("{path}.in"))?));
    }
    if let Some(list) = condition.nin {
        tests.push(Test::In(false, scalars(list, &format!("{path}.nin"))?));
    }
    tests.extend(condition.exists.map(Test::Exists));
    tests.extend(condition.regex.map(Test::Regex));
    let mut all: Vec<_> = tests.into_iter().map(|test| Filter::Field(field.clone(), test)).collect();
    if let Some(not) = condition.not {
        let path = format!("{path}.not");
        all.push(Filter::Not(Box::new(condition_of(field, *not, &path)?)));
    }
    match all.len() {
        0 => Err(FilterError { path: path.to_owned(), problem: NOTHING.to_owned() }),
        1 => Ok(all.swap_remove(0)),
        _ => Ok(Filter::All(all)),
    }
}

const NOTHING: &str = "says nothing; known are eq, ne, gt, gte, lt, lte, in, nin, exists, regex and not";

fn scalars(list: prost_types::ListValue, path: &str) -> Result<Vec<Value>, FilterError> {
    if list.values.len() > MAX_VALUES {
        let problem = format!("must be at most {MAX_VALUES} values; there are {}", list.values.len());
        return Err(FilterError { path: path.to_owned(), problem });
    }
    list.values.into_iter().map(|value| scalar(value, path)).collect()
}

fn scalar(value: prost_types::Value, path: &str) -> Result<Value, FilterError> {
    match value.kind {
        None | Some(Kind::NullValue(_)) => Ok(Value::Null),
        Some(Kind::BoolValue(value)) => Ok(Value::Bool(value)),
        Some(Kind::NumberValue(value)) if value.is_finite() => Ok(Value::Number(value)),
        Some(Kind::StringValue(value)) => Ok(Value::Text(value)),
        Some(Kind::NumberValue(_) | Kind::StructValue(_) | Kind::ListValue(_)) => {
            let problem = "must be a text, a finite number, a truth value or null".to_owned();
            Err(FilterError { path: path.to_owned(), problem })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(kind: Kind) -> Option<prost_types::Value> {
        Some(prost_types::Value { kind: Some(kind) })
    }

    fn one(field: &str, condition: pb::Condition) -> pb::Filter {
        pb::Filter { r#where: [(field.to_owned(), condition)].into(), ..Default::default() }
    }

    #[test]
    fn typed_filters_are_read() {
        let email =
            || pb::Condition { eq: value(Kind::StringValue("EMAIL".to_owned())), ..Default::default() };
        let is_email =
            || Filter::Field("channel".to_owned(), Test::Compare(Op::Eq, Value::Text("EMAIL".to_owned())));
        assert_eq!(read(one("channel", email()), "filter"), Ok(is_email()));
        let either =
            pb::Filter { or: vec![one("channel", email()), pb::Filter::default()], ..Default::default() };
        assert_eq!(read(either, "filter"), Ok(Filter::Any(vec![is_email(), Filter::All(Vec::new())])));
        let not = pb::Filter { not: Some(Box::new(one("channel", email()))), ..Default::default() };
        assert_eq!(read(not, "filter"), Ok(Filter::Not(Box::new(is_email()))));
    }

    #[test]
    fn several_operators_must_all_hold() {
        let between = pb::Condition {
            gt: value(Kind::NumberValue(1.0)),
            lte: value(Kind::NumberValue(5.0)),
            exists: Some(true),
            ..Default::default()
        };
        let field = |test| Filter::Field("attempts".to_owned(), test);
        let all = vec![
            field(Test::Compare(Op::Gt, Value::Number(1.0))),
            field(Test::Compare(Op::Lte, Value::Number(5.0))),
            field(Test::Exists(true)),
        ];
        assert_eq!(read(one("attempts", between), "filter"), Ok(Filter::All(all)));
    }

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let path = |filter| read(filter, "filter").err().map(|error| error.path);
        let nan = pb::Condition { gt: value(Kind::NumberValue(f64::NAN)), ..Default::default() };
        assert_eq!(path(one("attempts", nan)).as_deref(), Some("filter.attempts.gt"));
        assert_eq!(path(one("attempts", pb::Condition::default())).as_deref(), Some("filter.attempts"));
        let many = prost_types::ListValue { values: vec![prost_types::Value::default(); MAX_VALUES + 1] };
        let many = pb::Condition { r#in: Some(many), ..Default::default() };
        assert_eq!(path(one("tags", many)).as_deref(), Some("filter.tags.in"));
    }
}

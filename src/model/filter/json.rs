//! The JSON form of a filter.

use serde_json::{Map, Value as Json};

use super::{
    Filter, FilterError, MAX_JSON_BYTES, Op, Test, Value, check_conditions, check_depth, check_test,
    check_values, shown, unknown,
};

/// The operators that stand under a field.
const FIELD_OPERATORS: [&str; 11] =
    ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$regex", "$not"];
/// The operators that stand only beside fields.
const GROUP_OPERATORS: [&str; 2] = ["$and", "$or"];

/// Reads the JSON form: `{"channel": "EMAIL", "created_at": {"$gte": "2026-01-01T00:00:00Z"}}`. Blank text is no condition.
///
/// # Errors
/// What is not of the language, or is beyond a limit of this module, by its place in the filter.
pub fn parse_json(text: &str) -> Result<Filter, FilterError> {
    if text.trim().is_empty() {
        return Ok(Filter::everything());
    }
    if text.len() > MAX_JSON_BYTES {
        return Err(FilterError::new("filter", format!("is longer than {MAX_JSON_BYTES} bytes")));
    }
    let value = serde_json::from_str(text).map_err(|error| {
        // Only the place: serde's words may repeat what was given.
        let (line, column) = (error.line(), error.column());
        FilterError::new("filter", format!("is not valid JSON at line {line}, column {column}"))
    })?;
    parse_value(&value)
}

/// Reads the JSON form from a value that was read already. Its size is for the caller to limit.
///
/// # Errors
/// As [`parse_json`].
pub fn parse_value(value: &Json) -> Result<Filter, FilterError> {
    Parser { conditions: 0 }.group("filter", value, 1)
}

struct Parser {
    conditions: usize,
}

impl Parser {
    /// An object of fields and group operators, all of which must hold.
    fn group(&mut self, path: &str, value: &Json, depth: usize) -> Result<Filter, FilterError> {
        check_depth(path, depth)?;
        let object = object(path, value)?;
        let mut filters = Vec::with_capacity(object.len());
        for (key, value) in object {
            let path = format!("{path}.{}", shown(key));
            filters.push(match key.as_str() {
                "$and" => Filter::all(self.groups(&path, value, depth)?),
                "$or" => Filter::Any(self.groups(&path, value, depth)?),
                "$not" => Filter::Not(Box::new(self.group(&path, value, depth + 1)?)),
                operator if operator.starts_with('$') => return Err(unknown_group(&path, operator)),
                name => self.field(&path, name, value, depth)?,
            });
        }
        Ok(Filter::all(filters))
    }

    fn groups(&mut self, path: &str, value: &Json, depth: usize) -> Result<Vec<Filter>, FilterError> {
        let Some(items) = value.as_array().filter(|items| !items.is_empty()) else {
            return Err(FilterError::new(path, "takes a list of one filter or more"));
        };
        let each = items.iter().enumerate();
        each.map(|(index, item)| self.group(&format!("{path}[{index}]"), item, depth + 1)).collect()
    }

    /// What stands under a field: a value, operators, or the rest of its name.
    fn field(&mut self, path: &str, name: &str, value: &Json, depth: usize) -> Result<Filter, FilterError> {
        check_depth(path, depth)?;
        let Json::Object(object) = value else {
            let value = scalar(path, value)?;
            return self.leaf(path, name, Test::Compare(Op::Eq, value));
        };
        if object.is_empty() {
            let problem = format!("has no condition; operators are {}", FIELD_OPERATORS.join(" "));
            return Err(FilterError::new(path, problem));
        }
        let mut filters = Vec::with_capacity(object.len());
        for (key, value) in object {
            let path = format!("{path}.{}", shown(key));
            filters.push(if key == "$not" {
                Filter::Not(Box::new(self.field(&path, name, value, depth + 1)?))
            } else if key.starts_with('$') {
                let test = test(&path, key, value)?;
                self.leaf(&path, name, test)?
            } else {
                self.field(&path, &format!("{name}.{key}"), value, depth + 1)?
            });
        }
        Ok(Filter::all(filters))
    }

    fn leaf(&mut self, path: &str, name: &str, test: Test) -> Result<Filter, FilterError> {
        self.conditions += 1;
        check_conditions(self.conditions)?;
        check_test(path, &test)?;
        Ok(Filter::Field(name.to_owned(), test))
    }
}

fn test(path: &str, operator: &str, value: &Json) -> Result<Test, FilterError> {
    let compare = |op| scalar(path, value).map(|value| Test::Compare(op, value));
    match operator {
        "$eq" => compare(Op::Eq),
        "$ne" => compare(Op::Ne),
        "$gt" => compare(Op::Gt),
        "$gte" => compare(Op::Gte),
        "$lt" => compare(Op::Lt),
        "$lte" => compare(Op::Lte),
        "$in" | "$nin" => {
            let items = value.as_array().ok_or_else(|| FilterError::new(path, "takes a list of values"))?;
            check_values(path, items.len())?;
            let each = items.iter().enumerate();
            let values = each.map(|(index, item)| scalar(&format!("{path}[{index}]"), item));
            Ok(Test::In(operator == "$in", values.collect::<Result<_, _>>()?))
        }
        "$exists" => match value {
            Json::Bool(exists) => Ok(Test::Exists(*exists)),
            _ => Err(FilterError::new(path, "takes true or false")),
        },
        "$regex" => match value {
            Json::String(pattern) => Ok(Test::Regex(pattern.clone())),
            _ => Err(FilterError::new(path, "takes a regular expression as text")),
        },
        "$and" | "$or" => {
            Err(FilterError::new(path, "joins filters, so it stands beside the fields, not under one"))
        }
        _ => Err(unknown(path, "an operator", operator, FIELD_OPERATORS)),
    }
}

fn unknown_group(path: &str, operator: &str) -> FilterError {
    if FIELD_OPERATORS.contains(&operator) {
        let problem = format!("stands under a field: {{\"status\": {{\"{operator}\": ...}}}}");
        return FilterError::new(path, problem);
    }
    unknown(path, "an operator", operator, GROUP_OPERATORS.into_iter().chain(FIELD_OPERATORS))
}

fn object<'a>(path: &str, value: &'a Json) -> Result<&'a Map<String, Json>, FilterError> {
    value.as_object().ok_or_else(|| {
        FilterError::new(path, "takes an object of fields and conditions: {\"channel\": \"EMAIL\"}")
    })
}

fn scalar(path: &str, value: &Json) -> Result<Value, FilterError> {
    match value {
        Json::Null => Ok(Value::Null),
        Json::Bool(value) => Ok(Value::Bool(*value)),
        Json::Number(value) => Ok(Value::Number(value.as_f64().unwrap_or(f64::NAN))),
        Json::String(value) => Ok(Value::Text(value.clone())),
        Json::Array(_) => {
            Err(FilterError::new(path, "takes one value; for one of several write {\"$in\": [...]}"))
        }
        Json::Object(_) => Err(FilterError::new(path, "takes text, a number, true, false or null")),
    }
}

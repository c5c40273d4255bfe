#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;

fn field(name: &str, test: Test) -> Filter {
    Filter::Field(name.to_owned(), test)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn equals(name: &str, value: Value) -> Filter {
    field(name, Test::Compare(Op::Eq, value))
}

fn error(json: &str) -> String {
    parse_json(json).unwrap_err().to_string()
}

#[test]
fn the_json_form_reads() {
    let at_least = |name: &str, n: f64| field(name, Test::Compare(Op::Gte, Value::Number(n)));
    let cases = [
        ("", Filter::everything()),
        ("{}", Filter::everything()),
        (r#"{"channel": "EMAIL"}"#, equals("channel", text("EMAIL"))),
        (r#"{"sensitive": {"$eq": true}}"#, equals("sensitive", Value::Bool(true))),
        (r#"{"sent_at": null}"#, equals("sent_at", Value::Null)),
        (r#"{"sent_at": {"$ne": null}}"#, field("sent_at", Test::Compare(Op::Ne, Value::Null))),
        (
            r#"{"version": {"$gte": 2, "$lt": 5}}"#,
            Filter::All(vec![
                at_least("version", 2.0),
                field("version", Test::Compare(Op::Lt, Value::Number(5.0))),
            ]),
        ),
        (
            r#"{"status": {"$in": ["SENT", null]}, "tags": {"$nin": []}}"#,
            Filter::All(vec![
                field("status", Test::In(true, vec![text("SENT"), Value::Null])),
                field("tags", Test::In(false, vec![])),
            ]),
        ),
        (
            r#"{"$or": [{"thread": {"$exists": false}}, {"subject": {"$regex": "^Re:"}}]}"#,
            Filter::Any(vec![
                field("thread", Test::Exists(false)),
                field("subject", Test::Regex("^Re:".to_owned())),
            ]),
        ),
        (
            r#"{"$and": [{"version": {"$gte": 1}}, {"$not": {"thread": "x"}}]}"#,
            Filter::All(vec![at_least("version", 1.0), Filter::Not(Box::new(equals("thread", text("x"))))]),
        ),
        (r#"{"version": {"$not": {"$gte": 3}}}"#, Filter::Not(Box::new(at_least("version", 3.0)))),
        (r#"{"version": {"$not": 3}}"#, Filter::Not(Box::new(equals("version", Value::Number(3.0))))),
        (r#"{"metadata": {"order": {"total": {"$gte": 9.5}}}}"#, at_least("metadata.order.total", 9.5)),
        (r#"{"metadata.order.total": {"$gte": 9.5}}"#, at_least("metadata.order.total", 9.5)),
    ];
    for (json, filter) in cases {
        assert_eq!(parse_json(json), Ok(filter.clone()), "{json}");
        assert_eq!(check(&filter), Ok(()), "{json}");
    }
}

#[test]
fn errors_tell_the_place_and_the_way_out() {
    let field_operators = "$eq $ne $gt $gte $lt $lte $in $nin $exists $regex $not";
    let cases = [
        ("{", "filter: is not valid JSON at line 1, column 1".to_owned()),
        ("[]", r#"filter: takes an object of fields and conditions: {"channel": "EMAIL"}"#.to_owned()),
        (
            r#"{"channel": {"$foo": 1}}"#,
            format!("filter.channel.$foo: `$foo` is not an operator; known are {field_operators}"),
        ),
        (
            r#"{"$or": [{}, {"a": {"$exist": 1}}]}"#,
            format!(
                "filter.$or[1].a.$exist: `$exist` is not an operator, did you mean `$exists`? known are {field_operators}"
            ),
        ),
        (
            r#"{"$nor": []}"#,
            format!(
                "filter.$nor: `$nor` is not an operator, did you mean `$not`? known are $and $or {field_operators}"
            ),
        ),
        (r#"{"$eq": 1}"#, r#"filter.$eq: stands under a field: {"status": {"$eq": ...}}"#.to_owned()),
        (r#"{"$and": {}}"#, "filter.$and: takes a list of one filter or more".to_owned()),
        (r#"{"$or": []}"#, "filter.$or: takes a list of one filter or more".to_owned()),
        (
            r#"{"a": {"$or": []}}"#,
            "filter.a.$or: joins filters, so it stands beside the fields, not under one".to_owned(),
        ),
        (r#"{"a": {}}"#, format!("filter.a: has no condition; operators are {field_operators}")),
        (
            r#"{"a": ["x"]}"#,
            r#"filter.a: takes one value; for one of several write {"$in": [...]}"#.to_owned(),
        ),
        (r#"{"a": {"$gt": {}}}"#, "filter.a.$gt: takes text, a number, true, false or null".to_owned()),
        (r#"{"a": {"$in": "x"}}"#, "filter.a.$in: takes a list of values".to_owned()),
        (
            r#"{"a": {"$in": [1, {}]}}"#,
            "filter.a.$in[1]: takes text, a number, true, false or null".to_owned(),
        ),
        (r#"{"a": {"$exists": 1}}"#, "filter.a.$exists: takes true or false".to_owned()),
        (r#"{"a": {"$regex": 1}}"#, "filter.a.$regex: takes a regular expression as text".to_owned()),
        (
            r#"{"a": {"$regex": "(x"}}"#,
            "filter.a.$regex: is not a regular expression: unclosed group".to_owned(),
        ),
        (r#"{"a": {"$regex": "(\\w{200}){200}"}}"#, "filter.a.$regex: is too costly: repeat less".to_owned()),
    ];
    for (json, expected) in cases {
        assert_eq!(error(json), expected, "{json}");
    }
}

fn nested(levels: usize) -> serde_json::Value {
    (1..levels).fold(json!({"a": {"$gt": 1, "$lt": 5}, "b": 2}), |inner, _| json!({"$or": [inner], "c": 3}))
}

#[test]
fn limits_hold_for_both_forms() {
    let deepest = parse_value(&nested(MAX_DEPTH)).unwrap();
    assert_eq!(check(&deepest), Ok(()));
    assert!(parse_value(&nested(MAX_DEPTH + 1)).unwrap_err().problem.contains("deeper than 16 levels"));
    let too_deep = (0..MAX_DEPTH).fold(deepest, |inner, _| Filter::Not(Box::new(inner)));
    assert_eq!(check(&too_deep).unwrap_err().to_string(), "filter: lies deeper than 16 levels");

    let values = |n: usize| json!({"a": {"$in": vec![1; n]}});
    assert_eq!(parse_value(&values(MAX_VALUES)).map(|filter| check(&filter)), Ok(Ok(())));
    let refused = parse_value(&values(MAX_VALUES + 1)).unwrap_err().to_string();
    assert_eq!(refused, "filter.a.$in: has more than 1000 values");
    let by_hand = field("a", Test::In(true, vec![Value::Null; MAX_VALUES + 1]));
    assert_eq!(check(&by_hand).unwrap_err().to_string(), refused);

    let conditions = |n: usize| json!({"$or": vec![json!({"a": 1}); n]});
    assert_eq!(parse_value(&conditions(MAX_CONDITIONS)).map(|filter| check(&filter)), Ok(Ok(())));
    let refused = parse_value(&conditions(MAX_CONDITIONS + 1)).unwrap_err().to_string();
    assert_eq!(refused, "filter: has more than 200 conditions");
    let by_hand = Filter::Any(vec![equals("a", Value::Null); MAX_CONDITIONS + 1]);
    assert_eq!(check(&by_hand).unwrap_err().to_string(), refused);

    let long = "x".repeat(MAX_REGEX_BYTES + 1);
    let by_hand = field("a", Test::Regex(long));
    assert_eq!(check(&by_hand).unwrap_err().to_string(), "filter.a.$regex: is longer than 512 bytes");
    let text = format!(r#"{{"a": "{}"}}"#, "x".repeat(MAX_JSON_BYTES));
    assert_eq!(error(&text), "filter: is longer than 65536 bytes");
}

#[test]
fn what_the_caller_wrote_is_shortened_in_errors() {
    let error = error(&format!(r#"{{"{}\n": {{"$x": 1}}}}"#, "a".repeat(500)));
    assert!(error.len() < 300 && !error.contains('\n'), "{error}");
}

#[test]
fn orders_read() {
    let order = |fields: &[(&str, bool)]| -> Result<Order, FilterError> {
        Ok(fields.iter().map(|&(name, descending)| (name.to_owned(), descending)).collect())
    };
    assert_eq!(parse_order(""), order(&[]));
    assert_eq!(parse_order(" -created_at, status "), order(&[("created_at", true), ("status", false)]));
    assert_eq!(parse_order("failure.reason"), order(&[("failure.reason", false)]));
    let way_out = "is not a field: write `-created_at, status`, with `-` before a field for descending";
    for (text, problem) in [
        ("a,,b", format!("`` {way_out}")),
        ("created_at desc", format!("`created_at desc` {way_out}")),
        ("--a", format!("`--a` {way_out}")),
        ("a; DROP TABLE message", format!("`a; DROP TABLE message` {way_out}")),
        ("a,-a", "`a` is given twice".to_owned()),
        ("a,b,c,d", "has more than 3 fields".to_owned()),
    ] {
        assert_eq!(parse_order(text).unwrap_err(), FilterError::new("order_by", problem), "{text}");
    }
}

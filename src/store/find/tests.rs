#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::*;
use crate::model::{
    filter::{parse_order, parse_value},
    ids::MessageId,
};

fn compile(
    dialect: Dialect,
    entity: Entity,
    filter: serde_json::Value,
    order: &str,
) -> Result<Compiled, FilterError> {
    let filter = parse_value(&filter).unwrap();
    let find = Find {
        entity,
        tenant: &Tenant::default(),
        filter: &filter,
        order: &parse_order(order).unwrap(),
        page_size: 50,
        page_token: "",
        include_deleted: false,
    };
    find.compile(dialect, "id")
}

/// What lies between the tenant and the order.
fn wheres(dialect: Dialect, entity: Entity, filter: serde_json::Value) -> String {
    let sql = compile(dialect, entity, filter, "").unwrap().sql;
    let (_, rest) = sql.split_once(".tenant = $1 AND ").unwrap();
    rest.split_once(" ORDER BY ").unwrap().0.trim_start_matches("message.deleted_at IS NULL AND ").to_owned()
}

#[test]
fn a_statement_is_whole() {
    let compiled =
        compile(Dialect::Sqlite, Entity::Message, json!({"recipient": "a@b.example", "version": 2}), "")
            .unwrap();
    assert_eq!(
        compiled.sql,
        "SELECT id, CAST(message.id AS BIGINT) AS sort_0 FROM message WHERE message.tenant = $1 \
         AND message.deleted_at IS NULL AND (message.recipient = $2 AND message.version = $3) \
         ORDER BY message.id DESC LIMIT 51"
    );
    assert_eq!(compiled.binds, ["default".into(), "a@b.example".into(), Bind::Int(2)]);
    assert_eq!(compiled.sort, [SortKind::Int]);
    assert!(!format!("{compiled:?}").contains("a@b"), "addresses stay out of Debug");
}

#[test]
fn tests_become_sql() {
    let (lite, pg) = (Dialect::Sqlite, Dialect::Postgres);
    let cases = [
        (lite, json!({"thread": null}), "message.thread IS NULL"),
        (lite, json!({"thread": {"$ne": "x"}}), "NOT (CASE WHEN message.thread = $2 THEN 1 ELSE 0 END = 1)"),
        (lite, json!({"$not": {"version": 1}}), "NOT (CASE WHEN message.version = $2 THEN 1 ELSE 0 END = 1)"),
        (lite, json!({"subject": {"$regex": "^a"}}), "message.subject REGEXP $2"),
        (pg, json!({"subject": {"$regex": "^a"}}), "message.subject ~ $2"),
        (pg, json!({"subject": {"$gt": "a"}}), "(message.subject COLLATE \"C\") > $2"),
        (lite, json!({"priority": {"$lt": "BULK"}}), "message.priority < $2"),
        (lite, json!({"channel": {"$in": ["SMS", "chat"]}}), "message.channel IN ($2, $3)"),
        (
            lite,
            json!({"channel": {"$gt": "SMS"}}),
            "CASE message.channel WHEN 'EMAIL' THEN 0 WHEN 'SMS' THEN 1 WHEN 'CHAT' THEN 2 WHEN 'PUSH' THEN 3 END > $2",
        ),
        (
            lite,
            json!({"tags": "x"}),
            "EXISTS (SELECT 1 FROM json_each(message.tags) AS item WHERE item.value = $2)",
        ),
        (
            pg,
            json!({"tags": "x"}),
            "EXISTS (SELECT 1 FROM jsonb_array_elements_text(message.tags::jsonb) AS item(value) WHERE item.value = $2)",
        ),
        (
            lite,
            json!({"metadata.a-b.0": "x"}),
            "CASE WHEN json_type(message.metadata, $2) = 'text' THEN json_extract(message.metadata, $2) END = $3",
        ),
        (
            pg,
            json!({"metadata.a-b.0": 1}),
            "CASE WHEN jsonb_typeof((message.metadata::jsonb -> $2::text -> $3::text)) = 'number' \
             THEN ((message.metadata::jsonb -> $2::text -> $3::text) #>> '{}')::double precision END = $4",
        ),
    ];
    for (dialect, filter, sql) in cases {
        assert_eq!(wheres(dialect, Entity::Message, filter.clone()), sql, "{filter}");
    }
}

#[test]
fn orders_become_sql() {
    let cases = [
        (Entity::Message, "created_at", "message.id ASC"),
        (Entity::Message, "sent_at", "message.sent_at ASC NULLS LAST, message.id DESC"),
        (
            Entity::Message,
            "-created_at, -version",
            "message.created_at DESC, message.version DESC, message.id DESC",
        ),
        (Entity::Message, "id, version", "message.id ASC"),
        (Entity::Contact, "", "contact.created_at DESC, contact.id DESC"),
        (Entity::Activity, "subject", "activity.subject ASC, activity.id DESC"),
    ];
    for (entity, order, sql) in cases {
        let compiled = compile(Dialect::Sqlite, entity, json!({}), order).unwrap();
        let found = compiled.sql.split_once("ORDER BY ").unwrap().1.trim_end_matches(" LIMIT 51");
        assert_eq!(found, sql, "{order}");
    }
    let contact = compile(Dialect::Postgres, Entity::Contact, json!({}), "name").unwrap().sql;
    assert!(contact.ends_with(
        "ORDER BY (contact.name COLLATE \"C\") ASC NULLS LAST, (contact.id COLLATE \"C\") DESC LIMIT 51"
    ));
}

#[test]
fn errors_name_the_field_and_what_is_known() {
    let cases = [
        (
            json!({"chanel": 1}),
            "filter.chanel.$eq: `chanel` is not a field of message, did you mean `channel`? known are id version",
        ),
        (json!({"metadatum.x": 1}), "filter.metadatum.x.$eq: `metadatum.x` is not a field of message"),
        (
            json!({"channel": "FAX"}),
            "filter.channel.$eq: `FAX` is not one of its names; known are EMAIL SMS CHAT PUSH",
        ),
        (
            json!({"status": "SEND"}),
            "filter.status.$eq: `SEND` is not one of its names, did you mean `SENT`? known are DRAFT",
        ),
        (json!({"channel": 1}), "filter.channel.$eq: takes one of EMAIL SMS CHAT PUSH, not a number"),
        (json!({"version": "1"}), "filter.version.$eq: takes a whole number, not text"),
        (json!({"version": 1.5}), "filter.version.$eq: takes a whole number between"),
        (json!({"created_at": {"$gt": "yesterday"}}), "filter.created_at.$gt: is not a time such as"),
        (json!({"created_at": {"$gt": 5}}), "filter.created_at.$gt: takes a time such as"),
        (json!({"created_at": {"$gt": null}}), "filter.created_at.$gt: nothing is less or greater than null"),
        (json!({"sensitive": {"$in": [true, "no"]}}), "filter.sensitive.$in: takes true or false, not text"),
        (
            json!({"sensitive": {"$gt": false}}),
            "filter.sensitive.$gt: has no order: use $eq $ne $in $nin $exists",
        ),
        (json!({"subject": 5}), "filter.subject.$eq: takes text, not a number"),
        (json!({"subject": "a\0b"}), "filter.subject.$eq: holds a NUL character"),
        (json!({"tags": {"$lt": "x"}}), "filter.tags.$lt: has no order"),
        (json!({"id": "ticket_x"}), "filter.id.$eq: is not an id of this kind: it starts with `message_`"),
        (json!({"id": {"$regex": "x"}}), "filter.id.$regex: takes no $regex: it is not text"),
        (
            json!({"channel": {"$regex": "x"}}),
            "filter.channel.$regex: takes no $regex: use $in with some of EMAIL",
        ),
        (
            json!({"metadata": {"$exists": true}}),
            "filter.metadata.$exists: names no key: write `metadata.order.id`",
        ),
        (json!({"metadata": {"a b": 1}}), "filter.metadata.a b.$eq: names no key"),
        (json!({"metadata.a": {"$gt": true}}), "filter.metadata.a.$gt: takes a number or text"),
        (
            json!({"$or": [{"version": 1}, {"failure.reason": "X"}]}),
            "filter.failure.reason.$eq: `X` is not one of its names",
        ),
    ];
    for (filter, expected) in cases {
        let error = compile(Dialect::Sqlite, Entity::Message, filter.clone(), "").unwrap_err().to_string();
        assert!(error.starts_with(expected), "{filter}: {error}");
    }
    let error =
        compile(Dialect::Sqlite, Entity::Ticket, json!({"metadata.a": 1}), "").unwrap_err().to_string();
    assert!(error.contains("is not a field of ticket") && !error.contains("metadata.<key>"), "{error}");
}

#[test]
fn an_order_by_what_has_none_is_refused() {
    for (order, expected) in [
        ("body", "order_by: `body` is not a field that message can be sorted by"),
        ("metadata.a", "order_by: `metadata.a` is not a field that message can be sorted by"),
        (
            "-id, creatd_at",
            "order_by: `creatd_at` is not a field that message can be sorted by, did you mean `created_at`?",
        ),
    ] {
        let error = compile(Dialect::Sqlite, Entity::Message, json!({}), order).unwrap_err().to_string();
        assert!(error.starts_with(expected), "{order}: {error}");
    }
}

#[test]
fn a_filter_of_too_many_values_is_refused() {
    let lists = vec![json!({"subject": {"$in": vec!["x"; 1_000]}}); 21];
    let error = compile(Dialect::Sqlite, Entity::Message, json!({"$or": lists}), "").unwrap_err();
    assert_eq!(error.to_string(), "filter: has more than 20000 values");
}

#[test]
fn page_sizes() {
    assert_eq!(page_size(0), Ok(50));
    assert_eq!(page_size(1_000), Ok(1_000));
    for wrong in [-1, 1_001] {
        assert_eq!(page_size(wrong).unwrap_err().to_string(), "page_size: is 1 to 1000, or 0 for 50");
    }
}

#[test]
fn a_token_is_of_one_list_and_unchanged() {
    let (tenant, other) = (Tenant::default(), Tenant::new("other").unwrap());
    let field = |name: &str, value: f64| {
        let value = filter::Value::Number(value);
        Filter::Field(name.to_owned(), filter::Test::Compare(filter::Op::Eq, value))
    };
    let ours = Filter::All(vec![field("version", 1.0), field("attempts", 2.0)]);
    let same = Filter::All(vec![field("attempts", 2.0), field("version", 1.0)]);
    let another = Filter::All(vec![field("version", 2.0), field("attempts", 2.0)]);
    let order = [("subject".to_owned(), false)];
    let find = Find {
        entity: Entity::Message,
        tenant: &tenant,
        filter: &ours,
        order: &order,
        page_size: 10,
        page_token: "",
        include_deleted: false,
    };
    let first = find.compile(Dialect::Sqlite, "id").unwrap();
    let token = first.next_token(&["last".into(), Bind::Int(7)]);
    let next = Find { page_token: &token, ..find };
    let problem =
        |find: Find<'_>| find.compile(Dialect::Sqlite, "id").map(|_| ()).map_err(|error| error.to_string());

    assert_eq!(problem(next), Ok(()));
    assert_eq!(problem(Find { page_size: 3, filter: &same, ..next }), Ok(()));
    for find in [
        Find { tenant: &other, ..next },
        Find { filter: &another, ..next },
        Find { order: &[], ..next },
        Find { include_deleted: true, ..next },
        Find { entity: Entity::Contact, filter: &Filter::everything(), order: &[], ..next },
    ] {
        let error = problem(find).unwrap_err();
        assert!(error.starts_with("page_token: belongs to another filter or order"), "{error}");
    }
    let wrong_type = first.next_token(&[Bind::Int(1), Bind::Int(7)]);
    let too_few = first.next_token(&["last".into()]);
    let unset_id = first.next_token(&["last".into(), Bind::Null]);
    let id = MessageId(5).to_string();
    let cut = &token[..token.len() - 3];
    for token in [&wrong_type, &too_few, &unset_id, "x", "!", id.as_str(), cut, &"A".repeat(70_000)] {
        let error = problem(Find { page_token: token, ..find }).unwrap_err();
        assert!(error.starts_with("page_token: is not a token"), "{error}");
    }
}

//! The compiled SQL, run by SQLite, finds the same rows in the same order as a plain reading of the filter in Rust.

#![allow(clippy::unwrap_used)]

use std::cell::RefCell;

use proptest::{collection::vec, option, prelude::*, sample::select, test_runner::TestRunner};
use serde_json::{Value as Json, json};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Row as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteRow},
};

use super::*;
use crate::model::{
    Timestamp,
    filter::{Op, Test, Value},
    ids::{MessageId, time_of},
};

mod plain;

use plain::{CHANNELS, LANES, REPORTS, Row, compare};

/// Order by bytes, letters and length differ here.
const TEXTS: [&str; 7] = ["", "a", "B", "b", "ab", "ä", "z.z"];
const PATTERNS: [&str; 5] = ["^a", "b$", "(?i)b", ".", "z\\.z"];
const FIELDS: [&str; 11] = [
    "id",
    "version",
    "created_at",
    "subject",
    "sent_at",
    "channel",
    "priority",
    "delivery_reporting",
    "sensitive",
    "failure.code",
    "tags",
];
/// Rows of a test at most.
const MAX_ROWS: usize = 20;
const KEYS: [&str; 3] = ["metadata.k", "metadata.n.x-1", "metadata.0"];

/// Ids of few milliseconds, so that several share one.
fn an_id() -> impl Strategy<Value = i64> {
    (1_000i64..1_004, 0i64..8).prop_map(|(ms, sequence)| (ms << 22) | sequence)
}

fn a_text() -> impl Strategy<Value = String> {
    select(&TEXTS[..]).prop_map(str::to_owned)
}

fn a_json() -> impl Strategy<Value = Json> {
    let scalar = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        (-2i64..3).prop_map(Json::from),
        select(&[-0.5, 0.0, 1.0, 1.5][..]).prop_map(Json::from),
        a_text().prop_map(Json::from),
        Just(json!([1, "a"])),
        Just(json!({"x": 1})),
    ];
    (option::of(scalar.clone()), option::of(scalar.clone()), option::of(scalar)).prop_map(|(k, x, zero)| {
        let mut object = serde_json::Map::new();
        object.extend(k.map(|k| ("k".to_owned(), k)));
        object.extend(x.map(|x| ("n".to_owned(), json!({"x-1": x, "y": 0}))));
        object.extend(zero.map(|zero| ("0".to_owned(), zero)));
        Json::Object(object)
    })
}

fn a_row() -> impl Strategy<Value = Row> {
    let first = (
        an_id(),
        1i64..4,
        option::of(a_text()),
        option::of((0i64..4).prop_map(|s| s * 1_000_000)),
        option::of(0..CHANNELS.len()),
        0..LANES.len(),
    );
    let second = (
        option::of(0..REPORTS.len()),
        any::<bool>(),
        option::of(a_text()),
        vec(a_text(), 0..3),
        option::of(a_json()),
        prop::bool::weighted(0.1),
    );
    (first, second).prop_map(|(first, second)| {
        let (id, version, subject, sent_at, channel, priority) = first;
        let (reporting, sensitive, code, tags, metadata, deleted) = second;
        Row {
            id,
            version,
            subject,
            sent_at,
            channel,
            priority,
            reporting,
            sensitive,
            code,
            tags,
            metadata,
            deleted,
        }
    })
}

fn a_value(name: &'static str) -> BoxedStrategy<Value> {
    let word = |words: &'static [&'static str]| select(words).prop_map(|word| Value::Text(word.to_owned()));
    match name {
        "id" => an_id().prop_map(|id| Value::Text(MessageId(id).to_string())).boxed(),
        "version" => (0i64..5).prop_map(|n| Value::Number(n as f64)).boxed(),
        "created_at" => an_id().prop_map(|id| Value::Text(time_of(id).to_string())).boxed(),
        "sent_at" => (-1i64..5).prop_map(|s| Value::Text(Timestamp::from_seconds(s).to_string())).boxed(),
        "channel" => word(&CHANNELS).boxed(),
        "priority" => word(&LANES).boxed(),
        "delivery_reporting" => word(&REPORTS).boxed(),
        "sensitive" => any::<bool>().prop_map(Value::Bool).boxed(),
        "subject" | "failure.code" | "tags" => word(&TEXTS).boxed(),
        _ => prop_oneof![
            word(&TEXTS),
            any::<bool>().prop_map(Value::Bool),
            select(&[-1.0, -0.5, 0.0, 1.0, 1.5][..]).prop_map(Value::Number),
        ]
        .boxed(),
    }
}

fn a_test(name: &'static str) -> BoxedStrategy<Test> {
    let nullable = prop_oneof![8 => a_value(name), 1 => Just(Value::Null)];
    let equality =
        (select(&[Op::Eq, Op::Ne][..]), nullable.clone()).prop_map(|(op, value)| Test::Compare(op, value));
    let list = (any::<bool>(), vec(nullable, 0..4)).prop_map(|(is, values)| Test::In(is, values));
    let exists = any::<bool>().prop_map(Test::Exists);
    let mut tests = vec![equality.boxed(), list.boxed(), exists.boxed()];
    if !matches!(name, "sensitive" | "tags") {
        let ops = select(&[Op::Gt, Op::Gte, Op::Lt, Op::Lte][..]);
        let value = a_value(name).prop_filter("has an order", |value| !matches!(value, Value::Bool(_)));
        tests.push((ops, value).prop_map(|(op, value)| Test::Compare(op, value)).boxed());
    }
    if matches!(name, "subject" | "failure.code" | "tags") || KEYS.contains(&name) {
        tests.push(select(&PATTERNS[..]).prop_map(|pattern| Test::Regex(pattern.to_owned())).boxed());
    }
    prop::strategy::Union::new(tests).boxed()
}

fn a_filter() -> impl Strategy<Value = Filter> {
    let names: Vec<&'static str> = FIELDS.into_iter().chain(KEYS).collect();
    let leaf = select(names)
        .prop_flat_map(|name| a_test(name).prop_map(move |test| Filter::Field(name.to_owned(), test)));
    leaf.prop_recursive(4, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Filter::All),
            vec(inner.clone(), 0..4).prop_map(Filter::Any),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

fn an_order() -> impl Strategy<Value = Vec<(String, bool)>> {
    let sortable: Vec<&str> = FIELDS.into_iter().filter(|name| *name != "tags").collect();
    (prop::sample::subsequence(sortable, 0..=3).prop_shuffle(), vec(any::<bool>(), 3))
        .prop_map(|(names, descending)| names.into_iter().map(str::to_owned).zip(descending).collect())
}

async fn database() -> SqliteConnection {
    let options = SqliteConnectOptions::new().in_memory(true).with_regexp();
    let mut database = options.connect().await.unwrap();
    sqlx::raw_sql(include_str!("../migrations/0001_init.sql")).execute(&mut database).await.unwrap();
    database
}

async fn fill(database: &mut SqliteConnection, rows: &[Row]) {
    sqlx::query("DELETE FROM message").execute(&mut *database).await.unwrap();
    let sql = "INSERT INTO message (id, tenant, version, created_at, updated_at, created_by, channel, direction, \
               subject, body, metadata, tags, priority, sensitive, parts, status, generation, sent_at, failure_code, \
               attempts, reporting, deleted_at) VALUES \
               ($1, $2, $3, $4, $4, 'user_x', $5, 'OUTBOUND', $6, '', $7, $8, $9, $10, 0, 'DRAFT', 1, $11, $12, 0, \
               $13, $14)";
    let mut write = database.begin().await.unwrap();
    for row in rows {
        // The same rows under another tenant, which nobody may see.
        for (id, tenant) in [(row.id, "default"), (row.id | (1 << 40), "other")] {
            let tags = (!row.tags.is_empty()).then(|| serde_json::to_string(&row.tags).unwrap());
            sqlx::query(sql)
                .bind(id)
                .bind(tenant)
                .bind(row.version)
                .bind(time_of(row.id).0)
                .bind(row.channel.map(|channel| CHANNELS[channel]))
                .bind(&row.subject)
                .bind(row.metadata.as_ref().map(Json::to_string))
                .bind(tags)
                .bind(row.priority as i64)
                .bind(row.sensitive)
                .bind(row.sent_at)
                .bind(&row.code)
                .bind(row.reporting.map(|reporting| reporting as i64))
                .bind(row.deleted.then_some(1i64))
                .execute(&mut *write)
                .await
                .unwrap();
        }
    }
    write.commit().await.unwrap();
}

async fn run(database: &mut SqliteConnection, compiled: &Compiled) -> Vec<SqliteRow> {
    let mut query = sqlx::query(AssertSqlSafe(compiled.sql.clone())).persistent(false);
    for bind in &compiled.binds {
        query = match bind {
            Bind::Text(text) => query.bind(text.clone()),
            Bind::Int(number) => query.bind(*number),
            Bind::Real(number) => query.bind(*number),
            Bind::Null => query.bind(None::<i64>),
        };
    }
    query.fetch_all(database).await.unwrap()
}

fn sort_values(compiled: &Compiled, row: &SqliteRow) -> Vec<Bind> {
    let each = compiled.sort.iter().enumerate().map(|(n, kind)| {
        let column = format!("sort_{n}");
        let value = match kind {
            SortKind::Text => row.get::<Option<String>, _>(&*column).map(Bind::Text),
            SortKind::Int => row.get::<Option<i64>, _>(&*column).map(Bind::Int),
        };
        value.unwrap_or(Bind::Null)
    });
    each.collect()
}

/// What is `found` on all pages of a list, one after the other; the sizes are taken in turn.
async fn pages(database: &mut SqliteConnection, find: Find<'_>, columns: &str, sizes: &[u32]) -> Vec<i64> {
    let (mut ids, mut token) = (Vec::new(), String::new());
    for size in sizes.iter().cycle() {
        let find = Find { page_size: *size, page_token: &token, ..find };
        let compiled = find.compile(Dialect::Sqlite, columns).unwrap();
        let rows = run(database, &compiled).await;
        let (rows, next) = compiled.page(rows, |last| sort_values(&compiled, last));
        assert!(rows.len() == *size as usize || next.is_empty(), "only the last page is short");
        ids.extend(rows.iter().map(|row| row.get::<i64, _>("found")));
        if next.is_empty() {
            break;
        }
        assert!(ids.len() <= MAX_ROWS, "pages go round in circles");
        token = next;
    }
    ids
}

#[test]
fn sqlite_and_a_plain_reading_agree() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let database = RefCell::new(runtime.block_on(database()));
    let mut runner = TestRunner::new(ProptestConfig { cases: 96, ..ProptestConfig::default() });
    let questions = vec((a_filter(), an_order(), vec(1u32..6, 1..4), any::<bool>()), 1..6);
    let outcome = runner.run(&(vec(a_row(), 0..=MAX_ROWS), questions), |(mut rows, questions)| {
        rows.sort_by_key(|row| row.id);
        rows.dedup_by_key(|row| row.id);
        let mut database = database.borrow_mut();
        runtime.block_on(fill(&mut database, &rows));
        for (filter, order, sizes, include_deleted) in &questions {
            let seen = |row: &&Row| (*include_deleted || !row.deleted) && row.passes(filter);
            let mut expected: Vec<&Row> = rows.iter().filter(seen).collect();
            expected.sort_by(|a, b| if order.is_empty() { b.id.cmp(&a.id) } else { compare(order, a, b) });
            let expected: Vec<i64> = expected.iter().map(|row| row.id).collect();
            let find = Find {
                entity: Entity::Message,
                tenant: &Tenant::default(),
                filter,
                order,
                page_size: 1,
                page_token: "",
                include_deleted: *include_deleted,
            };
            let found = runtime.block_on(pages(&mut database, find, "message.id AS found", sizes));
            prop_assert_eq!(&found, &expected, "{:?} {:?}", filter, order);
        }
        Ok(())
    });
    outcome.unwrap();
}

/// What messages do not have: ids and orders of text, and lists of objects.
#[tokio::test]
async fn contacts_are_found_by_any_address_and_paged_by_name() {
    let mut database = database().await;
    let rows = [
        ("contact_a", Some("Ann"), json!([{"channel": "EMAIL", "value": "ann@x.example", "label": "work"}])),
        ("contact_b", None, json!([])),
        (
            "contact_c",
            Some("Bob"),
            json!([{"channel": "SMS", "value": "+15550001"}, {"channel": "EMAIL", "value": "b@x"}]),
        ),
        ("contact_d", Some("Ann"), json!([{"channel": "CHAT", "value": "ann"}])),
        ("contact_e", None, json!([{"channel": "CHAT", "value": "e", "label": null}])),
    ];
    for (id, name, addresses) in rows {
        let sql = "INSERT INTO contact (tenant, id, version, created_at, updated_at, created_by, name, addresses) \
                   VALUES ('default', $1, 1, 7, 7, 'user_x', $2, $3)";
        let insert = sqlx::query(sql).bind(id).bind(name).bind(addresses.to_string());
        insert.execute(&mut database).await.unwrap();
    }
    let cases = [
        (json!({}), "", "edcba"),
        (json!({}), "name", "daceb"),
        (json!({}), "-name, id", "cadbe"),
        (json!({"addresses.channel": "email"}), "id", "ac"),
        (json!({"addresses": {"value": {"$regex": "^ann"}}}), "id", "ad"),
        (json!({"addresses.value": {"$nin": ["ann", "b@x"]}}), "id", "abe"),
        (json!({"addresses.value": null}), "id", "b"),
        (json!({"addresses.label": {"$exists": false}}), "id", "bcde"),
        (json!({"addresses.label": {"$in": [null, "work"]}}), "-id", "edcba"),
        (json!({"name": {"$not": {"$gt": "Ann"}}}), "id", "abde"),
    ];
    for (filter, order, expected) in cases {
        let filter = filter::parse_value(&filter).unwrap();
        let order = filter::parse_order(order).unwrap();
        let find = Find {
            entity: Entity::Contact,
            tenant: &Tenant::default(),
            filter: &filter,
            order: &order,
            page_size: 1,
            page_token: "",
            include_deleted: false,
        };
        let letters = "unicode(substr(contact.id, 9)) AS found";
        let found = pages(&mut database, find, letters, &[2, 1]).await;
        let found: String = found.into_iter().filter_map(|c| char::from_u32(c as u32)).collect();
        assert_eq!(found, expected, "{filter:?} {order:?}");
    }
}

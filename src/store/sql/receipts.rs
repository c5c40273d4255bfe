//! Receipts: stored as they come, applied in the order in which they came.

use std::{collections::HashMap, sync::Arc};

use super::{
    super::dialect,
    after::After,
    bulk::{Args, Bulk, Conn, Script},
    change::Rows,
    insert::{self, Tried},
    rows::Reader,
};
use crate::{
    model::{
        Channel, Priority, Reporting, Timestamp,
        event::{NewEvent, kind},
        ids::{MessageId, Tenant, time_of},
        limits::Limits,
        message::{Direction, Draft, Message},
        status::{Fact, Failure, Reason},
        verbs::{By, Step, created},
    },
    store::{Applied, NewAttempt, NewMessage, NewReceipt, StoreError},
};

static PUT: Bulk = Bulk::insert(
    "INSERT INTO receipt (id, provider, received_at, state, kind, message_id, provider_message_id, at, code, detail, data) \
     VALUES ",
    11,
    "",
);

static SETTLE: Bulk = Bulk::with(
    "WITH v (id, state, message_id) AS (VALUES ",
    &["BIGINT", "SMALLINT", "BIGINT"],
    ") UPDATE receipt SET state = v.state, message_id = v.message_id FROM v WHERE receipt.id = v.id",
);

static BY_PROVIDER_ID: Bulk = Bulk::among(
    "SELECT provider_message_id, message_id, generation FROM attempt WHERE provider = $1 AND provider_message_id IN (",
    1,
    ")",
);

/// Stores receipts and applies them in the same transaction; inbound messages wait for the loop, and so does what is stored before
/// its message is known.
pub(in super::super) async fn take(
    conn: &mut Conn,
    new: &[NewReceipt],
    after: &mut After,
) -> Result<(), StoreError> {
    let stored: Vec<Stored> = new.iter().map(Stored::of).collect();
    let (mut rows, targets) = targets(conn, &stored).await?;
    let mut settled = Vec::with_capacity(new.len());
    for ((receipt, target), new) in stored.iter().zip(targets).zip(new) {
        let state = if receipt.kind == "INBOUND" {
            after.receipts = true;
            TO_APPLY
        } else {
            let settled = learn(&mut rows, receipt, target, new.received_at, &after.limits);
            after.parked |= matches!(settled, Settled::Parked);
            settled.number()
        };
        settled.push((new, state, target.map(|(id, _)| id.0)));
    }
    put(conn, &settled).await?;
    let mut script = Script::default();
    rows.save(conn, &mut script, after).await?;
    script.flush(conn).await
}

/// Stores receipts for the loop, unapplied.
pub(in super::super) async fn keep(
    conn: &mut Conn,
    new: &[NewReceipt],
    after: &mut After,
) -> Result<(), StoreError> {
    after.receipts = true;
    let unsettled: Vec<_> = new.iter().map(|new| (new, TO_APPLY, new.message.map(|id| id.0))).collect();
    put(conn, &unsettled).await
}

async fn put(conn: &mut Conn, receipts: &[(&NewReceipt, i16, Option<i64>)]) -> Result<(), StoreError> {
    PUT.run(conn, receipts, |query, (receipt, state, message)| {
        query
            .bind(receipt.id)
            .bind(receipt.provider.clone())
            .bind(receipt.received_at.0)
            .bind(*state)
            .bind(receipt.kind)
            .bind(*message)
            .bind(receipt.provider_message_id.clone())
            .bind(receipt.at.0)
            .bind(receipt.code.clone())
            .bind(receipt.detail.clone())
            .bind(receipt.data.clone())
    })
    .await
}

/// The number in `receipt.state` of one that is to be applied.
const TO_APPLY: i16 = 0;

struct Stored {
    id: i64,
    provider: String,
    kind: String,
    message: Option<MessageId>,
    provider_message_id: Option<String>,
    at: Timestamp,
    code: Option<String>,
    detail: Option<String>,
    data: Option<String>,
}

impl Stored {
    fn of(new: &NewReceipt) -> Self {
        Self {
            id: new.id,
            provider: new.provider.to_string(),
            kind: new.kind.to_owned(),
            message: new.message,
            provider_message_id: new.provider_message_id.clone(),
            at: new.at,
            code: new.code.clone(),
            detail: new.detail.clone(),
            data: None,
        }
    }
}

#[derive(Clone, Copy)]
enum Settled {
    Applied,
    Parked,
    Ignored,
}

impl Settled {
    /// The number in `receipt.state`.
    const fn number(self) -> i16 {
        match self {
            Self::Applied => 1,
            Self::Parked => 2,
            Self::Ignored => 3,
        }
    }
}

/// A message, and the generation of the try that the receipt is about when that is known.
type Target = Option<(MessageId, Option<i32>)>;

/// The messages that receipts are about, with their rows loaded.
async fn targets(conn: &mut Conn, receipts: &[Stored]) -> Result<(Rows, Vec<Target>), StoreError> {
    let known = match_by_provider(conn, receipts).await?;
    let target = |receipt: &Stored| {
        let id = receipt.provider_message_id.clone();
        let tried = id.and_then(|id| known.get(&(receipt.provider.clone(), id))).copied();
        // Our own id says which message; the provider's says which of its generations.
        match (receipt.message, tried) {
            (Some(id), tried) => {
                Some((id, tried.filter(|(of, _)| *of == id).map(|(_, generation)| generation)))
            }
            (None, tried) => tried.map(|(id, generation)| (id, Some(generation))),
        }
    };
    let targets: Vec<Target> = receipts.iter().map(target).collect();
    let ids: Vec<MessageId> = targets.iter().flatten().map(|(id, _)| *id).collect();
    let mut rows = Rows::default();
    rows.load(conn, &ids).await?;
    rows.readable()?;
    Ok((rows, targets))
}

/// Applies stored receipts.
pub(in super::super) async fn apply(
    conn: &mut Conn,
    now: Timestamp,
    limit: i64,
    after: &mut After,
) -> Result<Applied, StoreError> {
    let waiting = waiting(conn, limit).await?;
    let (mut rows, targets) = targets(conn, &waiting).await?;
    let (mut done, mut settled) = (Applied::default(), Vec::with_capacity(waiting.len()));
    for (receipt, target) in waiting.iter().zip(targets) {
        let outcome = if receipt.kind == "INBOUND" {
            inbound(conn, receipt, now, after).await?
        } else {
            learn(&mut rows, receipt, target, now, &after.limits)
        };
        match outcome {
            Settled::Applied => done.applied += 1,
            Settled::Parked => {
                done.parked += 1;
                after.parked = true;
            }
            Settled::Ignored => done.ignored += 1,
        }
        settled.push((receipt.id, outcome.number(), target.map(|(id, _)| id.0)));
    }
    SETTLE
        .run(conn, &settled, |query, (id, state, message)| query.bind(*id).bind(*state).bind(*message))
        .await?;
    let mut script = Script::default();
    rows.save(conn, &mut script, after).await?;
    script.flush(conn).await?;
    Ok(done)
}

async fn waiting(conn: &mut Conn, limit: i64) -> Result<Vec<Stored>, StoreError> {
    let rows = sqlx::query(
        "SELECT id, provider, kind, message_id, provider_message_id, at, code, detail, data FROM receipt WHERE state = 0 \
         ORDER BY id LIMIT $1",
    )
    .bind(limit)
    .fetch_all(conn)
    .await
    .map_err(dialect::error)?;
    rows.iter()
        .map(|row| {
            let mut row = Reader::new(row, 0);
            Ok(Stored {
                id: row.get()?,
                provider: row.get()?,
                kind: row.get()?,
                message: row.get::<Option<i64>>()?.map(MessageId),
                provider_message_id: row.get()?,
                at: row.time()?,
                code: row.get()?,
                detail: row.get()?,
                data: row.get()?,
            })
        })
        .collect()
}

type ByProviderId = HashMap<(String, String), (MessageId, i32)>;

async fn match_by_provider(conn: &mut Conn, waiting: &[Stored]) -> Result<ByProviderId, StoreError> {
    let mut wanted: HashMap<&str, Vec<&str>> = HashMap::new();
    for receipt in waiting {
        if let Some(id) = &receipt.provider_message_id {
            wanted.entry(&receipt.provider).or_default().push(id);
        }
    }
    let mut known = ByProviderId::new();
    for (provider, ids) in wanted {
        let of = |args: Args| args.bind(provider.to_owned());
        for row in BY_PROVIDER_ID.fetch(conn, of, &ids, |args, id| args.bind((*id).to_owned())).await? {
            let mut row = Reader::new(&row, 0);
            let id: String = row.get()?;
            let message = (MessageId(row.get()?), row.get()?);
            known.insert((provider.to_owned(), id), message);
        }
    }
    Ok(known)
}

/// The facts that a receipt tells, by the word it is stored under.
fn fact(receipt: &Stored) -> Option<Fact> {
    let at = receipt.at;
    let failed = |reason| {
        Fact::Failed(Failure { at, reason, code: receipt.code.clone(), detail: receipt.detail.clone() })
    };
    match receipt.kind.as_str() {
        "SENT" => Some(Fact::HandedOff(at)),
        "DELIVERED" => Some(Fact::Delivered(at)),
        "READ" | "CLICKED" => Some(Fact::Read(at)),
        "FAILED" => Some(failed(Reason::Undelivered)),
        "RECIPIENT_DEAD" => Some(failed(Reason::BadRecipient)),
        _ => None,
    }
}

fn learn(rows: &mut Rows, receipt: &Stored, target: Target, now: Timestamp, limits: &Limits) -> Settled {
    let Some(fact) = fact(receipt) else { return Settled::Ignored };
    let Some((id, generation)) = target else {
        return if receipt.provider_message_id.is_some() { Settled::Parked } else { Settled::Ignored };
    };
    let actor = format!("provider_{}", receipt.provider);
    match rows.step(None, id, &Step::Learn { fact, generation }, By { now, actor: &actor, limits }) {
        Ok(()) => Settled::Applied,
        // Our own id, but of a message that was never here.
        Err(_) => Settled::Ignored,
    }
}

#[derive(serde::Deserialize)]
struct Inbound {
    channel: String,
    from: String,
    to: String,
    subject: Option<String>,
    body: String,
    #[serde(default)]
    metadata: Vec<(String, String)>,
}

/// A message that somebody sent to us: stored once per provider id, delivered when stored.
async fn inbound(
    conn: &mut Conn,
    receipt: &Stored,
    now: Timestamp,
    after: &mut After,
) -> Result<Settled, StoreError> {
    let parsed = receipt.data.as_deref().and_then(|data| serde_json::from_str::<Inbound>(data).ok());
    let Some((inbound, channel)) =
        parsed.and_then(|one| one.channel.parse::<Channel>().ok().map(|it| (one, it)))
    else {
        return Ok(Settled::Ignored);
    };
    if let Some(id) = &receipt.provider_message_id {
        let known: Option<i64> = sqlx::query_scalar(
            "SELECT id FROM attempt WHERE provider = $1 AND provider_message_id = $2 LIMIT 1",
        )
        .bind(receipt.provider.clone())
        .bind(id.clone())
        .fetch_optional(&mut *conn)
        .await
        .map_err(dialect::error)?;
        if known.is_some() {
            return Ok(Settled::Ignored);
        }
    }
    let actor = format!("provider_{}", receipt.provider);
    let message = inbound_message(inbound, channel, receipt, &actor);
    let (state, tenant) = (&message.state, message.state.tenant.clone());
    let first = created(state, now, &actor);
    let second = NewEvent { kind: kind::MESSAGE_RECEIVED, at: receipt.at, ..first.clone() };
    let tried = Tried {
        tenant,
        message: state.id,
        generation: 1,
        attempt: NewAttempt {
            id: receipt.id,
            provider: receipt.provider.clone(),
            epoch: 0,
            started_at: receipt.at,
            outcome: "RECEIVED",
            provider_message_id: receipt.provider_message_id.clone(),
            code: None,
            detail: None,
            retry_at: None,
        },
        ended_at: now,
        orphan: false,
    };
    let new = NewMessage { message: Arc::new(message), queued: None, events: Vec::new() };
    let mut script = Script::default();
    insert::messages(conn, &mut script, &[&new]).await?;
    insert::events(conn, &mut script, &[first, second]).await?;
    insert::attempts(conn, &mut script, &[tried]).await?;
    script.flush(conn).await?;
    after.log = true;
    Ok(Settled::Applied)
}

fn inbound_message(inbound: Inbound, channel: Channel, receipt: &Stored, actor: &str) -> Message {
    let metadata: crate::model::message::Metadata =
        inbound.metadata.into_iter().map(|(key, value)| (key, value.into())).collect();
    let draft = Draft {
        channel: Some(channel),
        direction: Direction::Inbound,
        sender: Some(inbound.from),
        recipient: Some(inbound.to),
        subject: inbound.subject,
        body: inbound.body,
        metadata: (!metadata.is_empty()).then_some(metadata),
        priority: Priority::Normal,
        ..Draft::default()
    };
    // The receipt's id is of the same kind and used once: it becomes the message's.
    let id = MessageId(receipt.id);
    let mut message = Message::new(draft, id, Tenant::default(), time_of(receipt.id), actor);
    message.state.provider = Some(receipt.provider.clone());
    message.state.provider_message_id = receipt.provider_message_id.clone();
    message.state.reporting = Some(Reporting::Delivery);
    message.state.facts.accepted = Some(receipt.at);
    message.state.facts.delivered = Some(receipt.at);
    message
}

//! Events and decisions.

use super::{json::object_out, stamp};
use crate::{
    model::event::Event,
    pb,
    service::{Decision, DecisionKind},
};

/// An event as it is on the wire.
pub(in crate::api::grpc) fn event(event: &Event) -> pb::Event {
    let id = event.id.to_string();
    let data = serde_json::to_value(&event.data).ok();
    pb::Event {
        cursor: id.clone(),
        id,
        r#type: event.kind.clone(),
        target: event.target.clone(),
        actor: event.actor.clone(),
        timestamp: Some(stamp(event.at)),
        version: event.version,
        tenant: event.tenant.to_string(),
        data: data.as_ref().and_then(serde_json::Value::as_object).map(object_out),
    }
}

/// A decision as it is on the wire.
pub(in crate::api::grpc) fn decision(decision: Decision) -> pb::Decision {
    let kind = match decision.kind {
        DecisionKind::Accept => pb::decision::Kind::Accept,
        DecisionKind::Channel => pb::decision::Kind::Channel,
        DecisionKind::Address => pb::decision::Kind::Address,
        DecisionKind::Provider => pb::decision::Kind::Provider,
        DecisionKind::Attempt => pb::decision::Kind::Attempt,
        DecisionKind::Retry => pb::decision::Kind::Retry,
        DecisionKind::Receipt => pb::decision::Kind::Receipt,
        DecisionKind::End => pb::decision::Kind::End,
    };
    pb::Decision {
        at: Some(stamp(decision.at)),
        kind: kind.into(),
        summary: decision.summary,
        provider: decision.provider.unwrap_or_default(),
        attempt: decision.attempt.unwrap_or_default(),
        code: decision.code.unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Timestamp,
        event::{EventData, kind},
        ids::{EventId, Tenant},
    };

    #[test]
    fn the_cursor_of_an_event_is_its_id() {
        let one = Event {
            id: EventId(7),
            kind: kind::MESSAGE_SENT.to_owned(),
            tenant: Tenant::default(),
            target: "message_x".to_owned(),
            actor: "provider_dev".to_owned(),
            at: Timestamp(1),
            version: 3,
            data: EventData {
                status: Some("SENT".to_owned()),
                attempt: Some(1),
                late: true,
                ..Default::default()
            },
        };
        let out = event(&one);
        assert_eq!(
            (out.id.as_str(), out.cursor.as_str()),
            (EventId(7).to_string().as_str(), out.id.as_str())
        );
        let fields = out.data.unwrap_or_default().fields;
        assert_eq!(fields.keys().map(String::as_str).collect::<Vec<_>>(), ["attempt", "late", "status"]);
    }
}

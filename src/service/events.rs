//! The log, page by page.

use super::{Caller, Error, Service, Violations, page_size, tail::PAGE, validate};
use crate::{
    model::{
        event::{Event, Pattern},
        ids::EventId,
    },
    store::EventQuery,
};

/// A stretch of the log.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Where to go on. The one asked with at the end of the log.
    pub next_cursor: String,
}

/// What is asked of the log.
#[derive(Clone, Debug, Default)]
pub struct EventSearch {
    /// After this event; from the beginning when empty or `0`.
    pub cursor: String,
    /// 1 to 1,000; 100 when 0.
    pub page_size: i32,
    /// Patterns over the types; all when empty. At most 20.
    pub types: Vec<String>,
    /// Only about this entity, when not empty.
    pub target: String,
}

impl Service {
    /// One page of the log, oldest first.
    ///
    /// # Errors
    /// The cursor or a pattern cannot be read.
    pub async fn events(&self, caller: &Caller, search: EventSearch) -> Result<EventPage, Error> {
        let mut violations = Violations::default();
        let after = cursor(&mut violations, &search.cursor).unwrap_or(0);
        let patterns = patterns(&mut violations, &search.types);
        let target = target(&mut violations, "target", &search.target);
        violations.done()?;
        let size = page_size(search.page_size, 100);
        let query = EventQuery {
            tenant: Some(caller.tenant.clone()),
            after,
            limit: if patterns.is_empty() { size } else { PAGE },
            target,
        };
        let read = self.store().events(query).await?;
        let last = read.last().map(|event| event.id);
        let mut events = read;
        events.retain(|event| is_meant(&patterns, &event.kind));
        let size = usize::try_from(size).unwrap_or_default();
        let cut = events.len() > size;
        events.truncate(size);
        let reached = if cut { events.last().map(|event| event.id) } else { last };
        let next_cursor = reached.map_or(search.cursor, |id| id.to_string());
        Ok(EventPage { events, next_cursor })
    }
}

/// Reads a cursor; `None` when it is empty.
pub(super) fn cursor(violations: &mut Violations, text: &str) -> Option<i64> {
    match text {
        "" => None,
        "0" => Some(0),
        text => {
            let id = text.parse::<EventId>();
            if id.is_err() {
                violations
                    .add("cursor", "must be the cursor of an event, or `0` for the beginning of the log");
            }
            id.ok().map(|id| id.0)
        }
    }
}

/// Reads patterns over event types.
pub(super) fn patterns(violations: &mut Violations, types: &[String]) -> Vec<Pattern> {
    if types.len() > 20 {
        violations.add("types", format!("must be at most 20; there are {}", types.len()));
        return Vec::new();
    }
    let mut patterns = Vec::with_capacity(types.len());
    for (index, text) in types.iter().enumerate() {
        match Pattern::parse(text) {
            Some(pattern) => patterns.push(pattern),
            None => violations
                .add(validate::nth("types", index), "must be like `Message.Sent`, `Message.*` or `*.Failed`"),
        }
    }
    patterns
}

/// Reads the id of an entity of any kind; `None` when it is empty.
pub(super) fn target(violations: &mut Violations, field: &str, text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    let fits = text.len() <= 128
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    if !fits {
        violations.add(field, "must be the id of an entity, such as `message_...`");
    }
    Some(text.to_owned())
}

/// Whether a type is one of those asked for; every one is when none was.
pub(super) fn is_meant(patterns: &[Pattern], kind: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors() {
        let read = |text: &str| {
            let mut violations = Violations::default();
            let after = cursor(&mut violations, text);
            if violations.0.is_empty() { Ok(after) } else { Err(()) }
        };
        assert_eq!(read(""), Ok(None));
        assert_eq!(read("0"), Ok(Some(0)));
        assert_eq!(read(&EventId(42).to_string()), Ok(Some(42)));
        for bad in ["1", "-1", "evt_", "message_abc", "evt_!!", "evt_42 "] {
            assert_eq!(read(bad), Err(()), "{bad}");
        }
    }

    #[test]
    fn patterns_are_read_or_named() {
        let mut violations = Violations::default();
        let types = ["Message.Sent".to_owned(), "nonsense".to_owned()];
        assert_eq!(patterns(&mut violations, &types).len(), 1);
        assert!(violations.names("types[1]"));
        assert!(is_meant(&[], "Message.Sent"));
        patterns(&mut violations, &vec!["*".to_owned(); 21]);
        assert!(violations.names("types"));
    }
}

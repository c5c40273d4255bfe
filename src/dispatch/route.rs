//! Which provider a message may go to, by what was tried before. Pure.

use headlessly_providers::contract::Fault;

use crate::store::Attempt;

/// What the tries of a generation say about the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Way<'a> {
    /// The provider that may have it. To no other one: there its idempotency key means nothing.
    pub(super) pinned: Option<&'a str>,
    /// The providers that surely did not take it since it last waited. They are asked again after the next wait.
    pub(super) tried: Vec<&'a str>,
}

/// Reads the tries of a generation, oldest first.
pub(super) fn way(attempts: &[Attempt], generation: i32, ambiguous: bool) -> Way<'_> {
    let mine = || attempts.iter().filter(|attempt| attempt.generation == generation).rev();
    if ambiguous {
        let unsure = mine().find(|attempt| attempt.outcome == Fault::Ambiguous.as_str());
        return Way { pinned: unsure.map(|attempt| attempt.provider.as_str()), tried: Vec::new() };
    }
    let at_once = |attempt: &&Attempt| attempt.retry_at.is_some_and(|at| at <= attempt.ended_at);
    Way { pinned: None, tried: mine().take_while(at_once).map(|attempt| attempt.provider.as_str()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn attempt(provider: &str, outcome: &str, generation: i32, wait: Option<i64>) -> Attempt {
        Attempt {
            generation,
            provider: provider.to_owned(),
            started_at: Timestamp(0),
            ended_at: Timestamp(10),
            outcome: outcome.to_owned(),
            provider_message_id: None,
            code: None,
            detail: None,
            retry_at: wait.map(|wait| Timestamp(10 + wait)),
            orphan: false,
        }
    }

    #[test]
    fn a_round_is_what_was_tried_without_a_wait() {
        let tries = [
            attempt("c", "TRANSIENT", 1, Some(0)),
            attempt("a", "TRANSIENT", 2, Some(0)),
            attempt("b", "TRANSIENT", 2, Some(50)),
            attempt("a", "THROTTLED", 2, Some(0)),
            attempt("b", "TRANSIENT", 2, Some(0)),
        ];
        assert_eq!(way(&tries, 2, false).tried, ["b", "a"]);
        assert_eq!(way(&tries[..3], 2, false).tried, Vec::<&str>::new(), "it waited");
        assert_eq!(way(&tries[..1], 2, false), Way::default(), "another generation");
    }

    #[test]
    fn what_a_provider_may_have_stays_there() {
        let tries = [
            attempt("a", "TRANSIENT", 1, Some(0)),
            attempt("b", "AMBIGUOUS", 1, Some(5)),
            attempt("b", "TRANSIENT", 1, Some(0)),
        ];
        assert_eq!(way(&tries, 1, true), Way { pinned: Some("b"), tried: Vec::new() });
        assert_eq!(way(&tries, 2, true), Way::default());
    }
}

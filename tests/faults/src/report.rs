//! The line that a run prints.

use serde_json::{Map, Value, json};

use crate::{check::Findings, time::percentile};

/// The figures of a run.
#[derive(Debug)]
pub(crate) struct Report {
    /// Which faults.
    pub(crate) scenario: &'static str,
    /// Over which database.
    pub(crate) store: &'static str,
    /// By which numbers.
    pub(crate) seed: u64,
    /// What was found.
    pub(crate) findings: Findings,
    /// Results that came after their lease had gone to somebody else.
    pub(crate) orphans: u64,
    /// Processes that were killed.
    pub(crate) kills: u64,
    /// How long it took each time to be back, in milliseconds.
    pub(crate) recoveries: Vec<u64>,
    /// What else is to be told.
    pub(crate) more: Map<String, Value>,
    /// What must hold beside the findings, and does not.
    pub(crate) broken: Vec<String>,
}

impl Report {
    /// Nothing found yet.
    pub(crate) fn new(scenario: &'static str, store: &'static str, seed: u64) -> Self {
        Self {
            scenario,
            store,
            seed,
            findings: Findings::default(),
            orphans: 0,
            kills: 0,
            recoveries: Vec::new(),
            more: Map::new(),
            broken: Vec::new(),
        }
    }

    /// Adds a figure.
    pub(crate) fn tell(&mut self, name: &str, value: impl Into<Value>) {
        self.more.insert(name.to_owned(), value.into());
    }

    /// Adds to a figure.
    pub(crate) fn count(&mut self, name: &str, value: u64) {
        let before = self.more.get(name).and_then(Value::as_u64).unwrap_or(0);
        self.tell(name, before + value);
    }

    /// Notes what must hold and does not.
    pub(crate) fn broken(&mut self, what: impl Into<String>) {
        self.broken.push(what.into());
    }

    /// Every promise was kept.
    pub(crate) fn ok(&self) -> bool {
        self.findings.ok() && self.broken.is_empty()
    }

    /// The line.
    pub(crate) fn line(&self) -> String {
        let found = &self.findings;
        let mut line = json!({
            "scenario": self.scenario,
            "store": self.store,
            "seed": self.seed,
            "acked": found.acked,
            "lost": found.lost,
            "phantom": found.phantom,
            "dup": found.dup,
            "dup_unexplained": found.dup_unexplained,
            "early": found.early,
            "order_inv": found.order_inv,
            "status_mismatch": found.status_mismatch,
            "stuck": found.stuck,
            "effect_lost": found.effect_lost,
            "effect_dup": found.effect_dup,
            "cancel_broken": found.cancel_broken,
            "replay_mismatch": found.replay_mismatch,
            "ambiguous": found.ambiguous,
            "orphans": self.orphans,
            "kills": self.kills,
            "p99_recovery_ms": percentile(&mut self.recoveries.clone(), 99),
        });
        if let Some(fields) = line.as_object_mut() {
            fields.extend(self.more.clone());
            if !self.ok() {
                fields.insert("broken".to_owned(), json!(self.broken));
                fields.insert("examples".to_owned(), json!(found.examples));
            }
            fields.insert("ok".to_owned(), self.ok().into());
        }
        line.to_string()
    }
}

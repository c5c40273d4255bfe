//! What was measured, and how it is printed.

use std::{collections::HashSet, sync::Arc, time::Duration};

use serde_json::{Value, json};

use super::super::{Context, Failure};
use super::{load::Calls, token::Lot};

/// One line of the report.
pub(super) struct Figures {
    /// The case, for people.
    pub(super) name: String,
    count: usize,
    took: Duration,
    /// In microseconds, sorted.
    times: Vec<u64>,
    met: Met,
    memory: Option<Memory>,
    more: Vec<(&'static str, Value)>,
}

/// How it is known that every message is there once.
enum Met {
    /// By what a vendor got; asked when it is printed.
    Lot(Arc<Lot>),
    /// By what the service told: different ones, and repeated ones.
    Told(usize, usize),
    /// No message is counted.
    Nothing,
}

impl Figures {
    /// Of calls: their number, their times, the messages they made.
    pub(super) fn of_calls(name: impl Into<String>, calls: Calls) -> Self {
        let distinct = calls.ids.iter().collect::<HashSet<_>>().len();
        let met = Met::Told(distinct, calls.ids.len() - distinct);
        Self::new(name, calls.count, calls.took, calls.times, met)
    }

    /// Of messages that a vendor got, the time from the call to the arrival.
    pub(super) fn of_lot(name: impl Into<String>, lot: &Arc<Lot>, took: Duration) -> Self {
        Self::new(name, lot.len(), took, lot.arrivals().times, Met::Lot(lot.clone()))
    }

    /// Of something else, a number of times.
    pub(super) fn of_times(name: impl Into<String>, times: Vec<Duration>) -> Self {
        let took = times.iter().sum();
        let times: Vec<u64> = times.into_iter().map(super::token::micros).collect();
        Self::new(name, times.len(), took, times, Met::Nothing)
    }

    /// With these different and repeated ones.
    #[must_use]
    pub(super) fn told(mut self, distinct: usize, repeats: usize) -> Self {
        self.met = Met::Told(distinct, repeats);
        self
    }

    /// With other times than those from the call on, in microseconds.
    #[must_use]
    pub(super) fn timed(mut self, mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        self.times = times;
        self
    }

    fn new(name: impl Into<String>, count: usize, took: Duration, mut times: Vec<u64>, met: Met) -> Self {
        times.sort_unstable();
        Self { name: name.into(), count, took, times, met, memory: Memory::of("self"), more: Vec::new() }
    }

    /// Under another name.
    #[must_use]
    pub(super) fn named(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// With a further value.
    #[must_use]
    pub(super) fn with(mut self, key: &'static str, value: impl Into<Value>) -> Self {
        self.more.push((key, value.into()));
        self
    }

    /// With the memory of another process, instead of this one's.
    #[must_use]
    pub(super) fn memory(mut self, memory: Option<Memory>) -> Self {
        self.memory = memory;
        self
    }

    /// Of the times, this many per cent are at most so many microseconds.
    pub(super) fn percentile(&self, part: usize) -> u64 {
        percentile(&self.times, part)
    }

    /// How many in a second.
    pub(super) fn rate(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// Everything, in the order in which it is printed.
    pub(super) fn fields(&self) -> Vec<(&'static str, Value)> {
        let mut fields = vec![("n", json!(self.count))];
        if !matches!(self.met, Met::Nothing) {
            fields.push(("secs", json!(round(self.took.as_secs_f64(), 2))));
            fields.push(("per_s", json!(self.rate().round())));
        }
        fields.extend([("p50_us", json!(self.percentile(50))), ("p99_us", json!(self.percentile(99)))]);
        if let Some((distinct, repeats)) = self.met() {
            fields.extend([("distinct", json!(distinct)), ("dup", json!(repeats))]);
        }
        fields.extend(self.more.iter().cloned());
        if let Some(memory) = &self.memory {
            fields.extend([("rss_mib", json!(memory.now)), ("peak_mib", json!(memory.peak))]);
        }
        fields
    }

    /// What must not be, in a sentence.
    pub(super) fn wrong(&self) -> Option<String> {
        let (distinct, repeats) = self.met()?;
        let missing = self.count.saturating_sub(distinct);
        (missing > 0 || repeats > 0 || distinct > self.count).then(|| {
            format!(
                "{}: of {} messages {distinct} arrived, {missing} did not, {repeats} came again",
                self.name, self.count
            )
        })
    }

    fn met(&self) -> Option<(usize, usize)> {
        match &self.met {
            Met::Lot(lot) => {
                let arrivals = lot.arrivals();
                Some((arrivals.distinct, arrivals.repeats))
            }
            Met::Told(distinct, repeats) => Some((*distinct, *repeats)),
            Met::Nothing => None,
        }
    }
}

/// Prints a line of the report.
pub(super) fn say(
    context: &mut Context,
    name: &str,
    fields: &[(&'static str, Value)],
) -> Result<(), Failure> {
    if context.output.json {
        let mut line = serde_json::Map::new();
        line.insert("case".to_owned(), name.into());
        line.extend(fields.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
        return context.output.line_now(&Value::Object(line).to_string());
    }
    let words: Vec<String> = fields
        .iter()
        .map(|(key, value)| match value {
            Value::String(text) => format!("{key}={text}"),
            // Whole numbers without a fraction.
            Value::Number(number) => format!("{key}={}", number.to_string().trim_end_matches(".0")),
            other => format!("{key}={other}"),
        })
        .collect();
    context.output.line_now(&format!("{name:<34} {}", words.join("  ")))
}

/// Of sorted times, the one that this many per cent do not pass; 0 when there is none.
pub(super) fn percentile(sorted: &[u64], part: usize) -> u64 {
    sorted.get(sorted.len().saturating_sub(1) * part / 100).copied().unwrap_or(0)
}

/// How many times the first is the second, in hundredths; `null` when the second is nothing.
pub(super) fn ratio(one: f64, other: f64) -> Value {
    if other > 0.0 { json!(round(one / other, 2)) } else { Value::Null }
}

fn round(number: f64, digits: i32) -> f64 {
    let scale = 10f64.powi(digits);
    (number * scale).round() / scale
}

/// Memory that a process has in use, in MiB.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Memory {
    /// Now.
    pub(super) now: f64,
    /// At most so far.
    pub(super) peak: f64,
}

impl Memory {
    /// Of a process by its number, or of `self`. `None` where the system does not tell.
    pub(super) fn of(process: &str) -> Option<Self> {
        Self::read(&std::fs::read_to_string(format!("/proc/{process}/status")).ok()?)
    }

    fn read(status: &str) -> Option<Self> {
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
            Some(round(kib / 1_024.0, 1))
        };
        Some(Self { now: mib("VmRSS")?, peak: mib("VmHWM")? })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn percentiles_are_times_that_were_measured() {
        let times: Vec<u64> = (1..=200).collect();
        assert_eq!(
            (percentile(&times, 50), percentile(&times, 99), percentile(&times, 100)),
            (100, 198, 200)
        );
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99), percentile(&[], 99)), (7, 7, 0));
    }

    #[test]
    fn a_ratio_to_nothing_is_none() {
        assert_eq!(ratio(3.0, 2.0), json!(1.5));
        assert_eq!(ratio(1.0, 3.0), json!(0.33));
        assert_eq!(ratio(1.0, 0.0), Value::Null);
    }

    #[test]
    fn memory_is_read_as_the_system_tells_it() {
        let status = "Name:\thly\nVmHWM:\t   20480 kB\nVmRSS:\t   10240 kB\n";
        assert_eq!(Memory::read(status), Some(Memory { now: 10.0, peak: 20.0 }));
        assert_eq!(Memory::read("Name:\thly\n"), None);
    }

    #[test]
    fn what_is_missing_and_what_is_twice_is_said() {
        let of = |ids: &[&str], count| {
            let ids = ids.iter().map(|id| (*id).to_owned()).collect();
            let calls =
                Calls { count, took: Duration::from_secs(2), times: vec![3, 1, 2], ids, late: Vec::new() };
            Figures::of_calls("case", calls)
        };
        let good = of(&["a", "b"], 2);
        assert_eq!(good.wrong(), None);
        let fields = good.fields();
        assert_eq!(
            fields[..5],
            [
                ("n", json!(2)),
                ("secs", json!(2.0)),
                ("per_s", json!(1.0)),
                ("p50_us", json!(2)),
                ("p99_us", json!(2)),
            ]
        );
        assert_eq!(
            of(&["a", "a"], 3).wrong().unwrap(),
            "case: of 3 messages 1 arrived, 2 did not, 1 came again"
        );
    }
}

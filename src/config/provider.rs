//! The `[[provider]]` sections.

use std::collections::{BTreeMap, BTreeSet};

use headlessly_providers::contract::{Channel, Descriptor, Settings};
use toml::{Table, Value};

use super::{
    Ambiguous, Origin, Problem, ProviderConfig,
    error::{nearest, shown},
    keys::{Kind, Wrong, rate},
};

/// Keys of every provider.
const COMMON: [&str; 10] = [
    "name",
    "kind",
    "channels",
    "priority",
    "weight",
    "max_in_flight",
    "rate",
    "burst",
    "sender_rate",
    "ambiguous",
];

/// The priority of a provider that names none.
const PRIORITY: u32 = 100;
/// The weight of a provider that names none.
const WEIGHT: u32 = 100;

/// A section before it is checked: each value with where it came from.
pub(super) struct Draft {
    origin: Origin,
    values: BTreeMap<String, (Value, Origin)>,
}

impl Draft {
    /// A provider that the file does not name.
    pub(super) fn implicit(name: &str, kind: &str) -> Self {
        let value = |text: &str| (Value::String(text.to_owned()), Origin::Defaults);
        let values = [("name".to_owned(), value(name)), ("kind".to_owned(), value(kind))];
        Self { origin: Origin::Defaults, values: values.into() }
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.values.get(key).and_then(|(value, _)| value.as_str())
    }

    /// Whether a value is a reference to this variable.
    pub(super) fn names_variable(&self, name: &str) -> bool {
        self.values.values().any(|(value, _)| {
            value.as_str().and_then(|text| text.strip_prefix("env:")).is_some_and(|named| named == name)
        })
    }
}

/// The sections of a file, unchecked.
pub(super) fn drafts(value: &Value, at: &dyn Fn(&str) -> Origin, problems: &mut Vec<Problem>) -> Vec<Draft> {
    let hint = "write [[provider]] on a line of its own before each provider's keys";
    let Value::Array(items) = value else {
        problems.push(Problem::new(&at("provider"), "provider", "must be a list of sections").hint(hint));
        return Vec::new();
    };
    let mut drafts = Vec::new();
    for (index, item) in items.iter().enumerate() {
        let path = format!("provider.{index}");
        let Value::Table(table) = item else {
            problems.push(Problem::new(&at(&path), "provider", "must be a section").hint(hint));
            continue;
        };
        let entry =
            |(key, value): (&String, &Value)| (key.clone(), (value.clone(), at(&format!("{path}.{key}"))));
        drafts.push(Draft { origin: at(&path), values: table.iter().map(entry).collect() });
    }
    drafts
}

/// Lays a variable `HLY_PROVIDER__<rest>` over the provider that it names.
pub(super) fn overlay(
    rest: &str,
    text: &str,
    origin: &Origin,
    drafts: &mut [Draft],
    plugins: &[Descriptor],
    problems: &mut Vec<Problem>,
) {
    // The longest name wins: `a--b` is written A__B, which also begins with the name `a`.
    let target = drafts
        .iter_mut()
        .filter_map(|draft| {
            let name = draft.text("name")?.to_uppercase().replace('-', "_");
            let key = rest.strip_prefix(&name)?.strip_prefix("__")?.to_lowercase();
            Some((name.len(), key, draft))
        })
        .max_by_key(|(length, ..)| *length);
    if let Some((_, key, draft)) = target {
        if key == "name" {
            problems.push(Problem::new(origin, key, "cannot be changed by a variable"));
            return;
        }
        let value =
            guess(text, draft.values.get(&key).map(|(value, _)| value), &key, example(draft, plugins));
        draft.values.insert(key, (value, origin.clone()));
        return;
    }
    let name = rest.split("__").next().unwrap_or(rest).to_lowercase().replace('_', "-");
    let names = drafts.iter().filter_map(|draft| draft.text("name"));
    let problem =
        Problem::new(origin, "provider", format!("is not configured: there is no {}", shown(&name)));
    problems.push(problem.hint(nearest(&name, names)));
}

/// The first provider section of the plugin's example.
fn example(draft: &Draft, plugins: &[Descriptor]) -> Option<Table> {
    let kind = draft.text("kind")?;
    let plugin = plugins.iter().find(|plugin| plugin.kind == kind)?;
    let table = plugin.example.parse::<Table>().ok()?;
    table.get("provider")?.as_array()?.first()?.as_table().cloned()
}

/// A variable is text: it becomes what the file or the plugin's example has for the key, else what it looks like.
fn guess(text: &str, present: Option<&Value>, key: &str, example: Option<Table>) -> Value {
    let like = present.or_else(|| example.as_ref().and_then(|table| table.get(key)));
    if matches!(like, Some(Value::String(_))) {
        return Value::String(text.to_owned());
    }
    let value = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match (key, value) {
        ("channels", None) => {
            Value::Array(text.split(',').map(|word| Value::String(word.trim().to_owned())).collect())
        }
        (_, Some(value)) if !matches!(value, Value::Datetime(_) | Value::Float(_)) => value,
        _ => Value::String(text.to_owned()),
    }
}

/// Checks the sections, and adds the internal chat where no configured provider serves chat.
pub(super) fn resolve(
    drafts: Vec<Draft>,
    plugins: &[Descriptor],
    problems: &mut Vec<Problem>,
) -> Vec<ProviderConfig> {
    let mut providers = Vec::new();
    let mut names: BTreeMap<String, Origin> = BTreeMap::new();
    for draft in drafts {
        let provider = resolve_one(draft, plugins, problems);
        if let Some((provider, origin)) = provider {
            if let Some(first) = names.get(&provider.name) {
                let problem = Problem::new(&origin, "provider.name", format!("is taken by {first}"));
                problems.push(problem.hint("give each provider a name of its own"));
            }
            names.entry(provider.name.clone()).or_insert(origin);
            providers.push(provider);
        }
    }
    let serves_chat = providers.iter().any(|provider| provider.channels.contains(&Channel::Chat));
    if !serves_chat && !names.contains_key("chat") && plugins.iter().any(|plugin| plugin.kind == "chat") {
        let chat = resolve_one(Draft::implicit("chat", "chat"), plugins, problems);
        providers.extend(chat.map(|(chat, _)| ProviderConfig { channels: vec![Channel::Chat], ..chat }));
    }
    providers
}

fn resolve_one(
    draft: Draft,
    plugins: &[Descriptor],
    problems: &mut Vec<Problem>,
) -> Option<(ProviderConfig, Origin)> {
    let label = draft.text("name").map(|name| format!("provider {}", name.escape_debug()));
    let mut section = Section { draft, plugins, label: label.unwrap_or_else(|| "provider".into()), problems };
    let origin = section.draft.origin.clone();
    let name = section.name();
    let plugin = section.kind();
    let number = |value: Value| value.as_integer();
    let small = |value: Value| number(value).and_then(|number| u32::try_from(number).ok());
    let speed = |value: Value| value.as_str().and_then(rate);
    let priority = section.take("priority", Kind::Integer(0, 1_000_000)).and_then(small);
    let weight = section.take("weight", Kind::Integer(1, 1_000)).and_then(small);
    let max_in_flight = section.take("max_in_flight", Kind::Integer(1, 10_000)).and_then(number);
    let rate = section.take("rate", Kind::Rate).and_then(speed);
    let burst = section.take("burst", Kind::Integer(1, 1_000_000)).and_then(small);
    let sender_rate = section.take("sender_rate", Kind::Rate).and_then(speed);
    let ambiguous = section.take("ambiguous", Kind::OneOf(&["retry", "hold", "reconcile"]));
    let channels = section.channels(plugin);
    let settings = section.settings(plugin);
    let kind = section.draft.text("kind")?.to_owned();
    let provider = ProviderConfig {
        name: name?,
        kind,
        channels,
        priority: priority.unwrap_or(PRIORITY),
        weight: weight.unwrap_or(WEIGHT),
        max_in_flight: max_in_flight.and_then(|number| usize::try_from(number).ok()),
        rate,
        burst,
        sender_rate,
        ambiguous: ambiguous.map(|word| match word.as_str() {
            Some("retry") => Ambiguous::Retry,
            Some("reconcile") => Ambiguous::Reconcile,
            _ => Ambiguous::Hold,
        }),
        settings,
    };
    Some((provider, origin))
}

/// A section while it is checked.
struct Section<'a> {
    draft: Draft,
    plugins: &'a [Descriptor],
    label: String,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Section<'a> {
    fn wrong(&mut self, origin: &Origin, key: &str, (text, hint): Wrong) {
        self.problems.push(Problem::new(origin, format!("{}: {key}", self.label), text).hint(hint));
    }

    fn take(&mut self, key: &str, kind: Kind) -> Option<Value> {
        let (value, origin) = self.draft.values.remove(key)?;
        kind.check(&value).map_err(|wrong| self.wrong(&origin, key, wrong)).ok()
    }

    fn missing(&mut self, key: &str, hint: &str) {
        let origin = self.draft.origin.clone();
        self.wrong(&origin, key, ("is missing".to_owned(), hint.to_owned()));
    }

    fn name(&mut self) -> Option<String> {
        let Some((value, origin)) = self.draft.values.get("name").cloned() else {
            self.missing("name", "give it one, like name = \"smtp-main\"");
            return None;
        };
        let name = value.as_str().filter(|name| is_name(name)).map(str::to_owned);
        if name.is_none() {
            let text = "must be 1 to 63 lower-case letters, digits and `-`, and not begin with `-`";
            self.wrong(&origin, "name", (text.to_owned(), "like name = \"smtp-main\"".to_owned()));
        }
        name
    }

    fn kind(&mut self) -> Option<&'a Descriptor> {
        let Some((value, origin)) = self.draft.values.get("kind").cloned() else {
            let kinds: Vec<_> = self.plugins.iter().map(|plugin| plugin.kind).collect();
            self.missing("kind", &format!("known kinds: {}", kinds.join(", ")));
            return None;
        };
        let plugins = self.plugins;
        let word = value.as_str().unwrap_or_default();
        let plugin = plugins.iter().find(|plugin| plugin.kind == word);
        // A provider that nobody configured is in the build or the build is wrong: then building it says so.
        if plugin.is_none() && origin != Origin::Defaults {
            let hint = nearest(word, plugins.iter().map(|plugin| plugin.kind));
            self.wrong(&origin, "kind", (format!("is not a known kind: {}", shown(word)), hint));
        }
        plugin
    }

    fn channels(&mut self, plugin: Option<&Descriptor>) -> Vec<Channel> {
        let able = plugin.map_or(&Channel::ALL[..], |plugin| plugin.channels);
        let Some((value, origin)) = self.draft.values.remove("channels") else {
            return able.to_vec();
        };
        let words: Vec<&str> = able.iter().map(|channel| channel.as_str()).collect();
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        if items.is_empty() {
            let text = "must be a list of channels, at least one".to_owned();
            self.wrong(
                &origin,
                "channels",
                (text, format!("like channels = [\"{}\"]", words.join("\", \""))),
            );
        }
        let mut chosen = BTreeSet::new();
        for item in items {
            let word = item.as_str().unwrap_or_default().to_uppercase();
            match able.iter().find(|channel| channel.as_str() == word) {
                Some(channel) => {
                    chosen.insert(*channel);
                }
                None => {
                    let text = format!("names {}, which this kind does not serve", shown(&word));
                    self.wrong(&origin, "channels", (text, format!("it serves {}", words.join(", "))));
                }
            }
        }
        chosen.into_iter().collect()
    }

    /// What is left for the plugin. Its keys are checked here, where their lines are known.
    fn settings(&mut self, plugin: Option<&Descriptor>) -> Settings {
        let mut table = Table::new();
        for (key, (value, origin)) in self.draft.values.clone() {
            if COMMON.contains(&key.as_str()) {
                continue;
            }
            if let Some(plugin) = plugin.filter(|plugin| !plugin.keys.contains(&key.as_str())) {
                let hint = nearest(&key, plugin.keys.iter().copied().chain(COMMON));
                let text = format!("is not a known key of kind {}", plugin.kind);
                self.wrong(&origin, &key, (text, hint));
            }
            table.insert(key, value);
        }
        Settings { table }
    }
}

fn is_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    first && name.len() <= 63 && name.chars().all(rest)
}

//! Lays the layers over each other: defaults, file, variables.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use headlessly_providers::{contract::Descriptor, registry};
use serde::Deserialize;
use toml::{Table, Value};

use super::{
    Config, ConfigErrors, DEFAULTS, Origin, Problem, check,
    error::{near, nearest},
    file::{self, Parsed},
    keys::KEYS,
    provider::{self, Draft},
};

/// The file looked for when none is given.
const FILE: &str = "hly.toml";

/// How the variables of the configuration begin.
const PREFIX: &str = "HLY_";

/// Variables with our prefix that the command line reads, not the configuration.
const OTHER_VARIABLES: [&str; 3] = ["HLY_API_KEY", "HLY_CONFIG", "HLY_SERVER"];

/// A configuration, and how it came about.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The file that was read, if there was one.
    pub file: Option<PathBuf>,
    /// What is allowed but may not be meant, one sentence each.
    pub warnings: Vec<String>,
}

/// Reads the configuration: `path`, or `hly.toml` in the working directory if it is there, with the variables `env` over it.
/// Of `env` only names that begin with `HLY_` count.
///
/// # Errors
/// Everything that is wrong, at once: each problem with its file and line (or variable), its key and the way out.
pub fn load(path: Option<&Path>, env: &[(String, String)]) -> Result<Loaded, ConfigErrors> {
    load_with(path, env, registry::PLUGINS)
}

/// [`load`] with another list of plugins.
///
/// # Errors
/// As of [`load`].
pub fn load_with(
    path: Option<&Path>,
    env: &[(String, String)],
    plugins: &[Descriptor],
) -> Result<Loaded, ConfigErrors> {
    let found = Path::new(FILE).symlink_metadata().is_ok().then(|| Path::new(FILE));
    let file = path.or(found);
    let parsed = match file {
        None => Parsed::default(),
        Some(file) => {
            let text = file::read(file).map_err(|problem| ConfigErrors(vec![problem]))?;
            file::parse(file, &text).map_err(ConfigErrors)?
        }
    };
    let mut layers = Layers::new();
    let mut drafts = layers.take_file(file.unwrap_or(Path::new(FILE)), &parsed);
    if drafts.is_empty() {
        drafts.push(Draft::implicit("dev", "dev"));
    }
    layers.take_variables(env, &mut drafts, plugins);
    let providers = provider::resolve(drafts, plugins, &mut layers.problems);
    let mut config = layers.config()?;
    config.providers = providers;
    let mut problems = std::mem::take(&mut layers.problems);
    let warnings = check::check(&config, |section, key| layers.origin(section, key), &mut problems);
    if !problems.is_empty() {
        problems.sort_by_key(|problem| match problem.origin {
            Origin::File(_, line) => (0, line),
            Origin::Variable(_) => (1, 0),
            Origin::Defaults => (2, 0),
        });
        return Err(ConfigErrors(problems));
    }
    normalise(&mut config);
    Ok(Loaded { config, file: file.map(Path::to_owned), warnings })
}

pub(super) fn defaults() -> Config {
    let layers = Layers::new();
    let drafts = vec![Draft::implicit("dev", "dev")];
    let config = layers.config().map(|mut config| {
        config.providers = provider::resolve(drafts, registry::PLUGINS, &mut Vec::new());
        config
    });
    // The text is part of the program, and a test reads it.
    #[allow(clippy::expect_used, reason = "the text is a constant that a test reads")]
    config.expect("the defaults are a configuration")
}

fn normalise(config: &mut Config) {
    if !config.tenant.base_url.ends_with('/') {
        config.tenant.base_url.push('/');
    }
    if let Some(url) = &mut config.edge.public_url {
        url.truncate(url.trim_end_matches('/').len());
    }
}

/// The values of all sections, each with where it came from. Holds only values that passed their check.
struct Layers {
    values: BTreeMap<(&'static str, &'static str), (Value, Origin)>,
    problems: Vec<Problem>,
}

impl Layers {
    /// The defaults.
    fn new() -> Self {
        let mut layers = Self { values: BTreeMap::new(), problems: Vec::new() };
        match DEFAULTS.parse::<Table>() {
            Ok(table) => {
                for (section, values) in &table {
                    layers.take_section(section, values, &|_| Origin::Defaults);
                }
            }
            Err(error) => layers.problems.push(Problem::new(&Origin::Defaults, "", error.message())),
        }
        layers
    }

    fn origin(&self, section: &str, key: &str) -> Origin {
        self.values.get(&(section, key)).map_or(Origin::Defaults, |(_, origin)| origin.clone())
    }

    fn take_file(&mut self, path: &Path, parsed: &Parsed) -> Vec<Draft> {
        let at = |key: &str| Origin::File(path.to_owned(), parsed.line(key));
        let mut sections: Vec<_> = parsed.table.iter().collect();
        sections.sort_by_key(|(section, _)| parsed.line(section));
        let mut drafts = Vec::new();
        for (section, values) in sections {
            if section == "provider" {
                drafts = provider::drafts(values, &at, &mut self.problems);
            } else {
                self.take_section(section, values, &at);
            }
        }
        drafts
    }

    fn take_section(&mut self, section: &str, values: &Value, at: &dyn Fn(&str) -> Origin) {
        if !KEYS.iter().any(|(known, ..)| *known == section) {
            let sections = KEYS.iter().map(|(section, ..)| *section).chain(["provider"]);
            let hint = nearest(section, sections);
            self.problems.push(Problem::new(&at(section), section, "is not a known section").hint(hint));
            return;
        }
        let Value::Table(values) = values else {
            let problem = Problem::new(&at(section), section, "must be a section");
            self.problems.push(problem.hint(format!("write [{section}] on a line of its own")));
            return;
        };
        for (key, value) in values {
            let path = format!("{section}.{key}");
            let origin = at(&path);
            match KEYS.iter().find(|(known, name, _)| *known == section && name == key) {
                Some((section, key, kind)) => self.put(section, key, kind.check(value), origin),
                None => {
                    let hint = nearest(key, keys_of(section));
                    self.problems.push(Problem::new(&origin, path, "is not a known key").hint(hint));
                }
            }
        }
    }

    fn put(
        &mut self,
        section: &'static str,
        key: &'static str,
        value: Result<Value, (String, String)>,
        origin: Origin,
    ) {
        match value {
            Ok(value) => {
                self.values.insert((section, key), (value, origin));
            }
            Err((text, hint)) => {
                let problem = Problem::new(&origin, format!("{section}.{key}"), text);
                self.problems.push(problem.hint(hint));
            }
        }
    }

    fn take_variables(&mut self, env: &[(String, String)], drafts: &mut [Draft], plugins: &[Descriptor]) {
        let mut unknown = Vec::new();
        for (name, text) in env {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            if OTHER_VARIABLES.contains(&name.as_str()) || is_kubernetes(rest) {
                continue;
            }
            let origin = Origin::Variable(name.clone());
            let known = KEYS.iter().find(|(section, key, _)| variable(section, key) == *name);
            if let Some((section, key, kind)) = known {
                self.put(section, key, kind.read(text), origin);
            } else if let Some(rest) = rest.strip_prefix("PROVIDER__") {
                provider::overlay(rest, text, &origin, drafts, plugins, &mut self.problems);
            } else {
                unknown.push(name);
            }
        }
        // A provider's secret may be kept in a variable of our prefix: `password = "env:HLY_SMTP_PASSWORD"`.
        unknown.retain(|name| !drafts.iter().any(|draft| draft.names_variable(name)));
        for name in unknown {
            let problem = Problem::new(&Origin::Variable(name.clone()), "", "is not a known variable");
            self.problems.push(problem.hint(nearest_variable(name)));
        }
    }

    fn config(&self) -> Result<Config, ConfigErrors> {
        let mut table = Table::new();
        for (section, ..) in KEYS {
            table.insert((*section).to_owned(), Value::Table(Table::new()));
        }
        for ((section, key), (value, _)) in &self.values {
            if let Some(Value::Table(section)) = table.get_mut(*section) {
                section.insert((*key).to_owned(), value.clone());
            }
        }
        Config::deserialize(table)
            .map_err(|error| ConfigErrors(vec![Problem::new(&Origin::Defaults, "", error.message())]))
    }
}

fn keys_of(section: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(move |(known, ..)| *known == section).map(|(_, key, _)| *key)
}

fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{}__{}", section.to_uppercase(), key.to_uppercase())
}

/// Compared without the prefix, which all have in common.
fn nearest_variable(name: &str) -> String {
    let names: Vec<_> = KEYS.iter().map(|(section, key, _)| variable(section, key)).collect();
    let rests = names.iter().map(String::as_str).chain(OTHER_VARIABLES).map(|name| &name[PREFIX.len()..]);
    match near(&name[PREFIX.len()..], rests) {
        Some(rest) => format!("did you mean `{PREFIX}{rest}`?"),
        None => "variables are HLY_<SECTION>__<KEY>, as in: hly config show-defaults".to_owned(),
    }
}

/// What Kubernetes sets in every container when a Service is called `hly`.
fn is_kubernetes(rest: &str) -> bool {
    rest == "PORT"
        || rest == "SERVICE_HOST"
        || rest.starts_with("SERVICE_PORT")
        || rest.strip_prefix("PORT_").is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;

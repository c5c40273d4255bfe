use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use minijinja::{AutoEscape, Environment, Error, ErrorKind, UndefinedBehavior, Value, escape_formatter};
use secrecy::{ExposeSecret, SecretString};

use super::message;
use crate::contract::{ConfigError, Dispatch, Fault, SendError};

/// Steps that one template may take. A usual one takes below a hundred.
const FUEL: u64 = 50_000;

/// The name under which URL escaping is known to the formatter.
const URL: &str = "url";

/// How values are written into the text around them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escape {
    /// As they are: the text is a value of its own (a header, a form field, a JSON string).
    None,
    /// As JSON, quotes included.
    Json,
    /// As XML or HTML text.
    Markup,
    /// Percent-encoded (RFC 3986 section 2.1).
    Url,
}

impl Escape {
    pub(super) fn for_content_type(content_type: &str) -> Self {
        match content_type.to_ascii_lowercase() {
            kind if kind.contains("json") => Self::Json,
            kind if kind.contains("xml") || kind.contains("html") => Self::Markup,
            kind if kind.contains("urlencoded") => Self::Url,
            _ => Self::None,
        }
    }
}

/// A template by its number.
#[derive(Clone, Copy, Debug)]
pub(super) struct TemplateId(usize);

/// A JSON value with templates for strings. Texts cannot leave their string, whatever is in them.
#[derive(Debug)]
pub(super) enum Tree {
    Template(TemplateId),
    Literal(serde_json::Value),
    List(Vec<Tree>),
    Object(Vec<(String, Tree)>),
}

/// The compiled templates of one provider, and the secrets that they may use.
pub(super) struct Engine {
    environment: Environment<'static>,
    /// The key of the configuration that each template is from.
    keys: Vec<String>,
    secret_names: BTreeSet<String>,
    secrets: Value,
    /// The variables that some template has.
    used: BTreeSet<String>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("keys", &self.keys).finish_non_exhaustive()
    }
}

impl Engine {
    pub(super) fn new(secrets: BTreeMap<String, SecretString>) -> Self {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_fuel(Some(FUEL));
        // Errors must not carry the values of variables.
        environment.set_debug(false);
        environment.set_auto_escape_callback(|name| match name.split(':').next() {
            Some("json") => AutoEscape::Json,
            Some("markup") => AutoEscape::Html,
            Some("url") => AutoEscape::Custom(URL.into()),
            _ => AutoEscape::None,
        });
        environment.set_formatter(|out, state, value| match state.auto_escape() {
            AutoEscape::Custom(_) => percent_encode(&value.to_string(), |text| out.write_str(text)),
            _ => escape_formatter(out, state, value),
        });
        // A template that prints all it can see would print the secrets.
        environment.remove_global("debug");
        let exposed: BTreeMap<String, Value> =
            secrets.iter().map(|(name, secret)| (name.clone(), secret.expose_secret().into())).collect();
        Self {
            environment,
            keys: Vec::new(),
            secret_names: secrets.into_keys().collect(),
            secrets: exposed.into(),
            used: BTreeSet::new(),
        }
    }

    /// Compiles a template.
    ///
    /// # Errors
    /// When it has a mistake, or uses a variable that does not exist.
    pub(super) fn add(&mut self, key: &str, source: &str, escape: Escape) -> Result<TemplateId, ConfigError> {
        let id = TemplateId(self.keys.len());
        let name = name(escape, id);
        self.environment
            .add_template_owned(name.clone(), source.to_owned())
            .map_err(|error| ConfigError::new(key, format!("is not a template: {}", describe(&error))))?;
        self.keys.push(format!("{}:{key}", name.split(':').next().unwrap_or_default()));
        let template = self.environment.get_template(&name);
        let used = template.map(|template| template.undeclared_variables(true)).unwrap_or_default();
        match used.iter().find(|variable| !self.knows(variable)) {
            Some(variable) => Err(ConfigError::new(key, format!("uses {variable}, which does not exist"))
                .hint(format!("variables: {}; secrets as secret.<name>", message::VARIABLES.join(", ")))),
            None => {
                self.used.extend(used);
                Ok(id)
            }
        }
    }

    /// Whether some template has this variable.
    pub(super) fn uses(&self, variable: &str) -> bool {
        self.used.contains(variable)
    }

    /// Compiles the strings of a TOML value.
    pub(super) fn add_tree(&mut self, key: &str, value: toml::Value) -> Result<Tree, ConfigError> {
        Ok(match value {
            toml::Value::String(text) => Tree::Template(self.add(key, &text, Escape::None)?),
            toml::Value::Integer(number) => Tree::Literal(number.into()),
            toml::Value::Float(number) => Tree::Literal(number.into()),
            toml::Value::Boolean(truth) => Tree::Literal(truth.into()),
            toml::Value::Datetime(time) => Tree::Literal(time.to_string().into()),
            toml::Value::Array(items) => {
                Tree::List(items.into_iter().map(|item| self.add_tree(key, item)).collect::<Result<_, _>>()?)
            }
            toml::Value::Table(table) => {
                let mut object = Vec::new();
                for (name, item) in table {
                    let item = self.add_tree(&format!("{key}.{name}"), item)?;
                    object.push((name, item));
                }
                Tree::Object(object)
            }
        })
    }

    fn knows(&self, variable: &str) -> bool {
        match variable.split_once('.') {
            Some(("secret", name)) => self.secret_names.contains(name),
            Some(("metadata", _)) => true,
            _ => {
                message::VARIABLES.contains(&variable)
                || matches!(variable, "message" | "sender" | "recipient" | "metadata" | "secret")
                // Functions of the template language.
                || matches!(variable, "range" | "dict" | "namespace")
            }
        }
    }

    /// What templates see of this message.
    pub(super) fn context(&self, dispatch: &Dispatch) -> Value {
        message::context(dispatch, self.secrets.clone())
    }

    /// Renders a template.
    ///
    /// # Errors
    /// [`Fault::Rejected`], naming the key of the configuration: the message lacks something that the template needs.
    pub(super) fn render(&self, id: TemplateId, context: &Value) -> Result<String, SendError> {
        let label = self.keys.get(id.0).map_or("", String::as_str);
        let (prefix, key) = label.split_once(':').unwrap_or_default();
        let template = self.environment.get_template(&format!("{prefix}:{}", id.0));
        template.and_then(|template| template.render(context)).map_err(|error| {
            // Neither the text nor the source of the error: they may quote values.
            SendError::new(Fault::Rejected, format!("the template `{key}` fails: {}", error.kind()))
        })
    }

    /// Renders a JSON value.
    pub(super) fn render_tree(&self, tree: &Tree, context: &Value) -> Result<serde_json::Value, SendError> {
        Ok(match tree {
            Tree::Template(id) => self.render(*id, context)?.into(),
            Tree::Literal(value) => value.clone(),
            Tree::List(items) => serde_json::Value::Array(
                items.iter().map(|item| self.render_tree(item, context)).collect::<Result<_, _>>()?,
            ),
            Tree::Object(fields) => serde_json::Value::Object(
                fields
                    .iter()
                    .map(|(name, item)| Ok((name.clone(), self.render_tree(item, context)?)))
                    .collect::<Result<_, SendError>>()?,
            ),
        })
    }
}

fn name(escape: Escape, id: TemplateId) -> String {
    let prefix = match escape {
        Escape::None => "text",
        Escape::Json => "json",
        Escape::Markup => "markup",
        Escape::Url => "url",
    };
    format!("{prefix}:{}", id.0)
}

/// What is wrong with a template; its source is the operator's own and may be quoted.
fn describe(error: &Error) -> String {
    let line = error.line().map(|line| format!(" in line {line}")).unwrap_or_default();
    format!("{}{line}", error.detail().map_or_else(|| error.kind().to_string(), str::to_owned))
}

/// Keeps the unreserved characters. A value that would be a step up in a path is refused.
fn percent_encode(value: &str, mut write: impl FnMut(&str) -> fmt::Result) -> Result<(), Error> {
    if matches!(value, "." | "..") {
        return Err(Error::new(ErrorKind::InvalidOperation, "dots alone cannot be put into a URL"));
    }
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    write(&encoded).map_err(Error::from)
}

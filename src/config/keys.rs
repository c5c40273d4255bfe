//! Every key outside `[[provider]]`, with what it takes.

use std::net::SocketAddr;

use sqlx::postgres::PgConnectOptions;
use toml::Value;
use tracing_subscriber::EnvFilter;

use super::{
    duration,
    error::{nearest, shown},
};

/// How the URL of an SQLite file begins.
pub(super) const SQLITE: &str = "sqlite://";

/// How the URL of a PostgreSQL database begins.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// What a key takes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Bool,
    /// From, to.
    Integer(i64, i64),
    /// From, to.
    Duration(&'static str, &'static str),
    OneOf(&'static [&'static str]),
    /// IP address and port.
    Address,
    /// Path of a file, not empty.
    Path,
    /// `http` or `https`, with a host, without a query.
    Url,
    /// `sqlite://` and a path, or the URL of a PostgreSQL database.
    Store,
    /// Levels by module.
    Filter,
}

/// Section, key, what it takes. In the order of the defaults file.
pub(super) const KEYS: &[(&str, &str, Kind)] = &[
    ("api", "listen", Kind::Address),
    ("api", "require_keys", Kind::Bool),
    ("api", "allow_insecure", Kind::Bool),
    ("api", "tls_cert", Kind::Path),
    ("api", "tls_key", Kind::Path),
    ("edge", "listen", Kind::Address),
    ("edge", "public_url", Kind::Url),
    ("store", "url", Kind::Store),
    ("store", "synchronous", Kind::OneOf(&["full", "normal"])),
    ("store", "connections", Kind::Integer(1, 100)),
    ("store", "pooler", Kind::Bool),
    ("log", "format", Kind::OneOf(&["text", "json"])),
    ("log", "filter", Kind::Filter),
    ("tenant", "base_url", Kind::Url),
    ("dispatch", "max_in_flight", Kind::Integer(1, 65_536)),
    ("dispatch", "lease", Kind::Duration("1s", "1h")),
    ("dispatch", "sweep", Kind::Duration("100ms", "10m")),
    ("dispatch", "retry_first", Kind::Duration("10ms", "1h")),
    ("dispatch", "retry_max", Kind::Duration("10ms", "24h")),
    ("dispatch", "max_attempts", Kind::Integer(1, 1_000)),
    ("dispatch", "hold", Kind::Duration("1s", "7d")),
    ("dispatch", "shutdown", Kind::Duration("1s", "10m")),
    ("hooks", "activities", Kind::Bool),
    ("hooks", "tickets", Kind::Bool),
    ("limits", "queue_depth", Kind::Integer(1, 100_000_000)),
    ("dev", "examples", Kind::Bool),
];

/// What is wrong with a value: the problem, and the way out (which may be empty).
pub(super) type Wrong = (String, String);

impl Kind {
    /// The value in the form in which it is kept.
    pub(super) fn check(self, value: &Value) -> Result<Value, Wrong> {
        match (self, value) {
            (Self::Bool, Value::Boolean(_)) => Ok(value.clone()),
            (Self::Integer(from, to), Value::Integer(number)) if (from..=to).contains(number) => {
                Ok(value.clone())
            }
            (Self::Bool | Self::Integer(..), _) => Err(self.wrong_type(value)),
            (_, Value::String(text)) => self.check_text(text).map(Value::String),
            _ => Err(self.wrong_type(value)),
        }
    }

    /// A value from a variable, where everything is text.
    pub(super) fn read(self, text: &str) -> Result<Value, Wrong> {
        let text = text.trim();
        let value = match self {
            Self::Bool => text.parse().ok().map(Value::Boolean),
            Self::Integer(..) => text.parse().ok().map(Value::Integer),
            _ => None,
        };
        self.check(&value.unwrap_or_else(|| Value::String(text.to_owned())))
    }

    fn wrong_type(self, value: &Value) -> Wrong {
        let found = match value {
            Value::Integer(number) => number.to_string(),
            Value::String(text) => shown(text),
            other => format!("a value of type {}", other.type_str()),
        };
        (format!("must be {}, not {found}", self.expected()), String::new())
    }

    fn expected(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer(from, to) => format!("a whole number from {from} to {to}"),
            Self::Duration(from, to) => format!("a text with a time from {from} to {to}, like \"{from}\""),
            Self::OneOf(words) => format!("one of {}", words.join(", ")),
            Self::Address => "a text with an IP address and a port, like \"127.0.0.1:50051\"".to_owned(),
            Self::Path => "a text with the path of a file".to_owned(),
            Self::Url => "a text with a URL, like \"https://edge.example\"".to_owned(),
            Self::Store => "a text like \"sqlite://hly.db\"".to_owned(),
            Self::Filter => "a text like \"info\"".to_owned(),
        }
    }

    fn check_text(self, text: &str) -> Result<String, Wrong> {
        let wrong = |text: String| (text, String::new());
        match self {
            Self::Bool | Self::Integer(..) => Err(self.wrong_type(&Value::String(text.to_owned()))),
            Self::Duration(from, to) => {
                let range = || format!("it must be from {from} to {to}");
                let length = duration::parse(text).map_err(|problem| (problem, range()))?;
                let bound = |text| duration::parse(text).unwrap_or_default();
                if (bound(from)..=bound(to)).contains(&length) {
                    Ok(text.to_owned())
                } else {
                    Err((format!("is {}", duration::show(length)), range()))
                }
            }
            Self::OneOf(words) if words.contains(&text) => Ok(text.to_owned()),
            Self::OneOf(words) => Err((
                format!("must be one of {}, not {}", words.join(", "), shown(text)),
                nearest(text, words.iter().copied()),
            )),
            Self::Address => match text.parse::<SocketAddr>() {
                Ok(_) => Ok(text.to_owned()),
                Err(_) => Err((
                    format!("must be an IP address and a port, not {}", shown(text)),
                    "like 127.0.0.1:50051, or [::]:50051 for every address".to_owned(),
                )),
            },
            Self::Path if text.is_empty() || text.contains('\0') => Err(wrong("must name a file".to_owned())),
            Self::Path => Ok(text.to_owned()),
            Self::Url => check_url(text).map_err(wrong),
            Self::Store => check_store(text),
            Self::Filter => match EnvFilter::builder().parse(text) {
                Ok(_) => Ok(text.to_owned()),
                Err(_) => Err((
                    format!("is no log filter: {}", shown(text)),
                    "write a level (error, warn, info, debug, trace) or module=level, with commas between"
                        .to_owned(),
                )),
            },
        }
    }
}

fn check_url(text: &str) -> Result<String, String> {
    let form = || "must be a URL like https://edge.example, without user, query or fragment".to_owned();
    let uri: http::Uri = text.parse().map_err(|_| form())?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    let plain_host = uri.authority().is_some_and(|host| !host.as_str().contains('@'));
    if web && plain_host && uri.query().is_none() && !text.contains('#') {
        Ok(text.to_owned())
    } else {
        Err(form())
    }
}

// The URL of another database may hold a password: it is never shown.
fn check_store(text: &str) -> Result<String, Wrong> {
    let wrong = |text: &str, hint: &str| Err((text.to_owned(), hint.to_owned()));
    if POSTGRES.iter().any(|scheme| text.starts_with(scheme)) {
        return if text.parse::<PgConnectOptions>().is_ok() {
            Ok(text.to_owned())
        } else {
            wrong("is not a URL of PostgreSQL", "write postgres://user@host:5432/database")
        };
    }
    let Some(path) = text.strip_prefix(SQLITE) else {
        return wrong(
            "names a database that is not served: SQLite and PostgreSQL are",
            "write sqlite://hly.db, sqlite:///var/lib/hly/hly.db or postgres://user@host/database",
        );
    };
    if path.is_empty() || path.ends_with('/') {
        return wrong("names no file", "write sqlite://hly.db or sqlite:///var/lib/hly/hly.db");
    }
    if path == ":memory:" {
        return wrong("would keep messages in memory only", "name a file: sqlite://hly.db");
    }
    if path.contains(['?', '#', '%', '\0']) {
        return wrong("has a `?`, `#`, `%` or NUL in the path", "give a plain path; there are no parameters");
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    fn text(kind: Kind, text: &str) -> Result<Value, String> {
        kind.read(text).map_err(|(problem, hint)| format!("{problem}; {hint}"))
    }

    #[test]
    fn stores_are_sqlite_files_or_postgresql_databases() {
        for good in [
            "sqlite://hly.db",
            "sqlite:///var/lib/hly/hly.db",
            "sqlite://./a b.db",
            "postgres://hly:hunter2@db/hly",
            "postgresql://hly@127.0.0.1:5433/hly?sslmode=require",
        ] {
            assert!(text(Kind::Store, good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "hly.db",
            "sqlite:hly.db",
            "sqlite://",
            "sqlite:///",
            "sqlite://:memory:",
            "sqlite://a?mode=ro",
        ] {
            assert!(text(Kind::Store, bad).is_err(), "{bad}");
        }
        for bad in ["mysql://hly:hunter2@db/hly", "postgres://hly:hunter2@db:port/hly"] {
            let problem = text(Kind::Store, bad).unwrap_err();
            assert!(!problem.contains("hunter2"), "{problem}");
        }
    }

    #[test]
    fn urls_are_absolute_and_plain() {
        for good in ["https://edge.example", "http://127.0.0.1:8080/", "https://e.example/hly"] {
            assert!(text(Kind::Url, good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "edge.example",
            "/x",
            "ftp://e.example",
            "https://u:p@e.example",
            "https://e.example/?a",
            "https://e.example/#a",
        ] {
            assert!(text(Kind::Url, bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn times_name_their_range() {
        let kind = Kind::Duration("1s", "1h");
        assert!(text(kind, "1s").is_ok() && text(kind, "1h").is_ok());
        assert_eq!(text(kind, "0s").unwrap_err(), "is 0s; it must be from 1s to 1h");
        assert_eq!(text(kind, "61m").unwrap_err(), "is 61m; it must be from 1s to 1h");
        assert!(text(kind, "-1s").unwrap_err().contains("from 1s to 1h"));
        assert!(text(kind, "60").unwrap_err().contains("has no unit"));
        assert!(
            kind.check(&Value::Integer(60)).unwrap_err().0.contains("from 1s to 1h, like \"1s\", not 60")
        );
    }

    #[test]
    fn the_rest_of_the_kinds() {
        assert!(text(Kind::Bool, "true").is_ok());
        assert!(text(Kind::Bool, "yes").unwrap_err().contains("true or false, not \"yes\""));
        assert!(text(Kind::Integer(1, 9), "0").unwrap_err().contains("from 1 to 9, not 0"));
        assert!(text(Kind::Integer(1, 9), "9").is_ok());
        assert!(text(Kind::Address, "[::1]:0").is_ok());
        assert!(text(Kind::Address, "localhost:1").unwrap_err().contains("127.0.0.1:50051"));
        assert!(text(Kind::OneOf(&["full", "normal"]), "ful").unwrap_err().contains("did you mean `full`?"));
        assert!(text(Kind::Filter, "warn,headlessly_communication=debug").is_ok());
        assert!(text(Kind::Filter, "a=b=c").is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_check_panic(words in "\\PC{0,60}", index in 0..KEYS.len()) {
            let _ = KEYS[index].2.read(&words);
        }
    }
}

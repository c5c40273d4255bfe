//! `hly doctor`: looks for what is wrong on this machine and with the server, and says the way out.

mod machine;
mod server;

use super::{
    Context, Exit, Failure, config,
    output::{BAD, GOOD, Output, WARN, clean},
};

/// How a check went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// What a check found.
#[derive(Debug)]
struct Finding {
    level: Level,
    /// What was looked at.
    about: String,
    text: String,
    /// The way out; empty when there is nothing to do.
    way_out: String,
}

impl Finding {
    fn ok(about: &str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, about: about.to_owned(), text: text.into(), way_out: String::new() }
    }

    fn warn(about: &str, text: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { level: Level::Warn, about: about.to_owned(), text: text.into(), way_out: way_out.into() }
    }

    fn fail(about: &str, text: impl Into<String>, way_out: impl Into<String>) -> Self {
        Self { level: Level::Fail, ..Self::warn(about, text, way_out) }
    }
}

pub(super) async fn run(context: &mut Context) -> Result<(), Failure> {
    let loaded = config::load(context.config.as_deref());
    // The server of this configuration is meant, unless another one is named.
    if let Ok(loaded) = &loaded
        && context.target.server == super::DEFAULT_SERVER
    {
        let scheme = if loaded.config.api.tls().is_some() { "https" } else { "http" };
        context.target.server = format!("{scheme}://{}", loaded.config.api.listen);
    }
    let mut report = Report { output: &mut context.output, failed: false };
    #[expect(clippy::disallowed_methods, reason = "the clock itself is what is checked")]
    report.show(machine::clock(jiff::Timestamp::now()))?;
    report.show(machine::files())?;
    let (running, client) = server::reach(&context.target).await;
    let config = match loaded {
        Ok(loaded) => {
            let file = loaded
                .file
                .map_or("no hly.toml here: defaults".to_owned(), |file| file.display().to_string());
            report.show(Finding::ok("config", file))?;
            for warning in loaded.warnings {
                report.show(Finding::warn("config", warning, ""))?;
            }
            Some(loaded.config)
        }
        Err(failure) => {
            for line in failure.lines.iter().skip(1) {
                report.show(Finding::fail("config", line, "see: hly config show-defaults"))?;
            }
            None
        }
    };
    if let Some(config) = &config {
        report.show(match config.store.path() {
            Some(path) => machine::store(&path),
            None => Finding::ok("store", config.store.shown()),
        })?;
        report.show(machine::port("api", config.api.listen, client.is_some()))?;
        report.show(machine::port("edge", config.edge.listen, client.is_some()))?;
        for (about, path) in [("tls_cert", &config.api.tls_cert), ("tls_key", &config.api.tls_key)] {
            if let Some(path) = path {
                report.show(machine::readable(about, path))?;
            }
        }
    }
    report.show(running)?;
    match (&client, &config) {
        (Some(client), _) => {
            server::providers(client).await.into_iter().try_for_each(|found| report.show(found))?
        }
        (None, Some(config)) => {
            machine::providers(config).await.into_iter().try_for_each(|found| report.show(found))?;
        }
        (None, None) => {}
    }
    if report.failed { Err(Failure::quiet(Exit::NotOk)) } else { Ok(()) }
}

/// Prints findings as they come.
struct Report<'a> {
    output: &'a mut Output,
    failed: bool,
}

impl Report<'_> {
    fn show(&mut self, found: Finding) -> Result<(), Failure> {
        self.failed |= found.level == Level::Fail;
        let (style, word) = match found.level {
            Level::Ok => (GOOD, "OK"),
            Level::Warn => (WARN, "WARN"),
            Level::Fail => (BAD, "FAIL"),
        };
        if self.output.json {
            let line = serde_json::json!({
                "level": word, "about": found.about, "text": found.text, "way_out": found.way_out,
            });
            return self.output.line_now(&line.to_string());
        }
        let word = self.output.paint(style, &format!("{word:<4}"));
        self.output.line_now(&format!("{word}  {:<10}  {}", clean(&found.about), clean(&found.text)))?;
        if found.way_out.is_empty() {
            return Ok(());
        }
        self.output.line_now(&format!("{:18}{}", "", clean(&found.way_out)))
    }
}

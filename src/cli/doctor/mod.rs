//! `hly doctor`: looks for what is wrong on this machine and with the server, and says the way out.

mod machine;
mod server;

use clap::Args;

use super::{
    Context, Exit, Failure, Flaw, Host, config,
    output::{BAD, GOOD, Output, WARN, clean},
};
use crate::config::Config;

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

/// What `hly doctor` takes.
#[derive(Args)]
pub(super) struct DoctorArgs {
    /// Repair what is wrong in the store, where that can be no worse than what is there; stop the server first
    #[arg(long)]
    repair: bool,
}

/// What is in the store, when no server has it open.
async fn content(config: &Config, repair: bool, host: &dyn Host) -> Vec<Finding> {
    let flaws = match host.examine(config, repair).await {
        Ok(flaws) => flaws,
        Err(failure) if failure.exit == Exit::TryAgain && !repair => {
            return vec![Finding::ok("content", "not looked at while a server has it open")];
        }
        Err(failure) => return vec![Finding::fail("content", failure.lines.join("; "), "")],
    };
    if flaws.is_empty() {
        return vec![Finding::ok("content", "nothing is wrong with it")];
    }
    let finding = |flaw: Flaw| {
        if flaw.repaired {
            return Finding::ok("content", format!("repaired: {}", flaw.text));
        }
        let way_out = if repair {
            "see docs/operations.md, the store"
        } else {
            "make a copy, then: hly doctor --repair"
        };
        Finding::fail("content", flaw.text, way_out)
    };
    flaws.into_iter().map(finding).collect()
}

pub(super) async fn run(context: &mut Context, args: &DoctorArgs, host: &dyn Host) -> Result<(), Failure> {
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
        let store = match config.store.path() {
            Some(path) => machine::store(&path),
            None => Finding::ok("store", config.store.shown()),
        };
        let readable = store.level == Level::Ok;
        report.show(store)?;
        if readable {
            for found in content(config, args.repair, host).await {
                report.show(found)?;
            }
        }
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

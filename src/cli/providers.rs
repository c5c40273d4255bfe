//! `hly providers`

use std::time::Duration;

use anstyle::Style;
use clap::Subcommand;
use headlessly_providers::registry;

use super::{
    Client, Context, Exit, Failure, json,
    output::{BAD, Cell, DIM, GOOD, Output, PLAIN, Table, WARN, clean},
    times,
    v1::{ListProvidersRequest, ProbeProviderRequest, ProbeProviderResponse, Provider, provider::State},
};

#[derive(Subcommand)]
pub(super) enum ProvidersCommand {
    /// List the configured providers and how they do
    List,
    /// Check credentials and reachability; sends no message
    Check {
        /// Only this one
        name: Option<String>,
    },
    /// The kinds of provider in this build, with their keys
    Kinds {
        /// Show a section for hly.toml of this kind
        kind: Option<String>,
    },
}

pub(super) async fn run(context: &mut Context, command: ProvidersCommand) -> Result<(), Failure> {
    match command {
        ProvidersCommand::Kinds { kind } => kinds(context, kind.as_deref()),
        ProvidersCommand::List => {
            let client = context.client().await?;
            let providers = list(&client).await?;
            print(context, &providers)
        }
        ProvidersCommand::Check { name } => {
            let client = context.client().await?;
            let names = match name {
                Some(name) => vec![name],
                None => list(&client).await?.into_iter().map(|provider| provider.name).collect(),
            };
            check(context, &client, names).await
        }
    }
}

pub(super) async fn list(client: &Client) -> Result<Vec<Provider>, Failure> {
    let request = client.request(ListProvidersRequest {});
    Ok(client.providers().list(request).await?.into_inner().providers)
}

pub(super) async fn probe(client: &Client, name: &str) -> Result<ProbeProviderResponse, Failure> {
    let request = client.request(ProbeProviderRequest { name: name.to_owned() });
    Ok(client.providers().probe(request).await?.into_inner())
}

async fn check(context: &mut Context, client: &Client, names: Vec<String>) -> Result<(), Failure> {
    let mut all_ok = true;
    let mut table = Table::new(&["NAME", "STATE", "TOOK", "DETAIL"]);
    for name in names {
        let answer = probe(client, &name).await?;
        all_ok &= answer.ok;
        let output = &mut context.output;
        if output.json {
            let name = serde_json::Value::String(name);
            output.line_now(&format!("{{\"name\":{name},\"probe\":{}}}", json::write(&answer)))?;
            continue;
        }
        let (style, word) = if answer.ok { (GOOD, "ok") } else { (BAD, "failed") };
        let took = answer.took.and_then(|took| Duration::try_from(took).ok());
        let took = took.map(|took| format!("{} ms", took.as_millis())).unwrap_or_default();
        let row = vec![name.into(), Cell::new(style, word), took.into(), answer.detail.into()];
        table.page(output, &[row])?;
    }
    if all_ok { Ok(()) } else { Err(Failure::quiet(Exit::NotOk)) }
}

fn print(context: &mut Context, providers: &[Provider]) -> Result<(), Failure> {
    let output = &mut context.output;
    if output.json {
        return providers.iter().try_for_each(|provider| output.json(provider));
    }
    let rows: Vec<Vec<Cell>> = providers
        .iter()
        .map(|provider| {
            let channels: Vec<_> = provider.channels().map(|channel| channel.as_str_name()).collect();
            let (style, state) = state(provider, output);
            let trouble = if provider.paused_reason.is_empty() {
                &provider.last_error
            } else {
                &provider.paused_reason
            };
            vec![
                Cell::from(&provider.name),
                Cell::from(&provider.kind),
                channels.join(",").into(),
                Cell::new(style, state),
                format!("{}/{}", provider.in_flight, provider.places).into(),
                speed(provider.rate).into(),
                provider.accepted.to_string().into(),
                Cell::new(if provider.refused == 0 { PLAIN } else { WARN }, provider.refused.to_string()),
                provider
                    .delivery_reporting()
                    .as_str_name()
                    .replace("DELIVERY_REPORTING_UNSPECIFIED", "?")
                    .into(),
                Cell::from(trouble),
            ]
        })
        .collect();
    let head =
        &["NAME", "KIND", "CHANNELS", "STATE", "FLIGHT", "RATE", "ACCEPTED", "REFUSED", "REPORTS", "TROUBLE"];
    Table::new(head).page(output, &rows)
}

/// What its breaker says, and until when nothing goes to it.
fn state(provider: &Provider, output: &Output) -> (Style, String) {
    let word = provider.state().as_str_name();
    match (&provider.paused_until, provider.state()) {
        (Some(until), _) => (WARN, format!("{word} until {}", times::short(Some(until), &output.zone))),
        (None, State::Closed) => (GOOD, word.to_owned()),
        (None, _) => (WARN, word.to_owned()),
    }
}

/// Hand-offs a second, where they are limited.
fn speed(rate: f64) -> String {
    if rate == 0.0 { String::new() } else { format!("{rate:.3}/s").replace(".000", "") }
}

fn kinds(context: &mut Context, kind: Option<&str>) -> Result<(), Failure> {
    let output = &mut context.output;
    if let Some(kind) = kind {
        let plugin = registry::find(kind).ok_or_else(|| {
            let known: Vec<_> = registry::PLUGINS.iter().map(|plugin| plugin.kind).collect();
            Failure::new(Exit::Usage, format!("there is no kind {}", clean(kind)))
                .line(format!("known kinds: {}", known.join(", ")))
        })?;
        output.line(plugin.example.trim())?;
        let keys = format!("# keys of its own: {}", plugin.keys.join(", "));
        let keys = output.paint(DIM, &keys);
        return output.line(&keys);
    }
    let mut rows = Vec::new();
    for plugin in registry::PLUGINS {
        let channels: Vec<_> = plugin.channels.iter().map(|channel| channel.as_str()).collect();
        if output.json {
            let line = serde_json::json!({
                "kind": plugin.kind, "channels": channels, "keys": plugin.keys, "summary": plugin.summary,
            });
            output.line(&line.to_string())?;
        }
        rows.push(vec![plugin.kind.into(), channels.join(",").into(), plugin.summary.into()]);
    }
    if output.json { Ok(()) } else { Table::new(&["KIND", "CHANNELS", "SUMMARY"]).page(output, &rows) }
}

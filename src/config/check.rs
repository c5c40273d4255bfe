//! What only several keys together can tell.

use std::net::SocketAddr;

use super::{Config, Origin, Problem, duration};

/// Adds the problems found, and returns what is allowed but may not be meant.
pub(super) fn check(
    config: &Config,
    origin: impl Fn(&str, &str) -> Origin,
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut wrong = |section: &str, key: &str, text: &str, hint: &str| {
        let problem = Problem::new(&origin(section, key), format!("{section}.{key}"), text);
        problems.push(problem.hint(hint));
    };
    let api = &config.api;
    match (&api.tls_cert, &api.tls_key) {
        (Some(_), None) => wrong("api", "tls_cert", "stands alone", "give `api.tls_key` too"),
        (None, Some(_)) => wrong("api", "tls_key", "stands alone", "give `api.tls_cert` too"),
        _ => {}
    }
    let loopback = api.listen.ip().to_canonical().is_loopback();
    if !loopback && api.tls().is_none() && !api.allow_insecure {
        wrong(
            "api",
            "listen",
            "is not a loopback address, and TLS is off",
            "set `api.tls_cert` and `api.tls_key`, or `api.allow_insecure = true` behind a proxy that ends TLS",
        );
    }
    if collide(api.listen, config.edge.listen) {
        wrong("edge", "listen", "is the port of `api.listen` too", "give each listener a port of its own");
    }
    let dispatch = &config.dispatch;
    for (short, length, long, limit) in [
        ("sweep", dispatch.sweep, "lease", dispatch.lease),
        ("retry_first", dispatch.retry_first, "retry_max", dispatch.retry_max),
    ] {
        if length <= limit {
            continue;
        }
        let (length, limit) = (duration::show(length), duration::show(limit));
        // Named is the key that somebody wrote, not the one that stands in the defaults.
        if origin("dispatch", short) == Origin::Defaults {
            let text = format!("is {limit}, which is shorter than `dispatch.{short}`");
            wrong(
                "dispatch",
                long,
                &text,
                &format!("make it longer, or set `dispatch.{short}` (now {length}) too"),
            );
        } else {
            let text = format!("is {length}, which is longer than `dispatch.{long}`");
            wrong(
                "dispatch",
                short,
                &text,
                &format!("make it shorter, or set `dispatch.{long}` (now {limit}) too"),
            );
        }
    }
    warnings(config, loopback)
}

fn warnings(config: &Config, loopback: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    if !loopback && !config.api.keys_required() {
        warnings.push(format!(
            "Everybody who reaches {} may use the API: api.require_keys is false.",
            config.api.listen
        ));
    }
    if !loopback && config.api.tls().is_none() {
        warnings
            .push(format!("API keys cross the network in clear text to {}: TLS is off.", config.api.listen));
    }
    let dev = config.providers.iter().find(|provider| provider.kind == "dev");
    if let Some(provider) = dev.filter(|_| !loopback) {
        warnings.push(format!(
            "Provider {} delivers nothing: it keeps messages for people to look at.",
            provider.name
        ));
    }
    warnings
}

/// Whether binding both would fail.
fn collide(a: SocketAddr, b: SocketAddr) -> bool {
    let every = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (every || a.ip() == b.ip())
}

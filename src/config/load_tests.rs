#![allow(clippy::unwrap_used)]

use std::time::Duration;

use headlessly_providers::contract::{Channel, ConfigError};
use proptest::prelude::*;

use super::*;
use crate::config::{Ambiguous, LogFormat, Synchronous};

const fn plugin(
    kind: &'static str,
    channels: &'static [Channel],
    keys: &'static [&'static str],
) -> Descriptor {
    Descriptor {
        kind,
        channels,
        summary: "",
        example: "[[provider]]\nname = \"x\"\nkind = \"smtp\"\nport = 25\npassword = \"p\"\n",
        keys,
        build: |_, _| Err(ConfigError::new("kind", "is for tests")),
    }
}

const PLUGINS: &[Descriptor] = &[
    plugin("dev", &Channel::ALL, &["rate"]),
    plugin("chat", &[Channel::Chat], &[]),
    plugin("smtp", &[Channel::Email], &["host", "port", "password"]),
    plugin("twilio", &[Channel::Sms], &["token"]),
];

fn read(text: &str, env: &[(&str, &str)]) -> Result<Loaded, Vec<String>> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.toml");
    std::fs::write(&path, text).unwrap();
    let env: Vec<_> = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let strip = |problem: &Problem| problem.to_string().replace(&path.display().to_string(), "t.toml");
    load_with(Some(&path), &env, PLUGINS).map_err(|errors| errors.0.iter().map(strip).collect())
}

fn good(text: &str, env: &[(&str, &str)]) -> Config {
    read(text, env).unwrap().config
}

#[track_caller]
fn bad(text: &str, env: &[(&str, &str)], expected: &[&str]) {
    let problems = read(text, env).unwrap_err();
    assert_eq!(problems, expected, "{problems:#?}");
}

#[test]
fn the_documented_defaults_are_the_defaults() {
    let config = Config::default();
    assert_eq!(config.api.listen, "127.0.0.1:50051".parse().unwrap());
    assert_eq!(config.edge.listen, "127.0.0.1:8080".parse().unwrap());
    assert!(!config.api.keys_required() && config.api.tls().is_none() && !config.api.allow_insecure);
    assert_eq!(config.store.path().as_deref(), Some(Path::new("hly.db")));
    assert_eq!((config.store.synchronous, config.log.format), (Synchronous::Full, LogFormat::Text));
    assert_eq!((config.dispatch.max_in_flight, config.dispatch.max_attempts), (512, 12));
    assert_eq!(config.dispatch.lease, Duration::from_secs(60));
    assert_eq!((config.limits.queue_depth, config.dev.examples), (1_000_000, true));
    let providers: Vec<_> =
        config.providers.iter().map(|provider| (&*provider.name, &*provider.kind)).collect();
    assert_eq!(providers, [("dev", "dev")]);
    assert_eq!(config.providers[0].channels, Channel::ALL);
}

#[test]
fn the_defaults_file_names_every_key_in_order() {
    let mut section = "";
    let mut found = Vec::new();
    for line in DEFAULTS.lines().take_while(|line| !line.starts_with("# [[provider]]")) {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let word = line.trim_start_matches("# ").split(" = ").next().unwrap_or_default();
        if line.contains(" = ") && word.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            found.push((section, word));
        }
    }
    let keys: Vec<_> = KEYS.iter().map(|(section, key, _)| (*section, *key)).collect();
    assert_eq!(found, keys);
}

#[test]
fn the_commented_keys_of_the_defaults_file_are_valid() {
    let mut commented = String::new();
    for line in DEFAULTS.lines() {
        let key = line.strip_prefix("# ").filter(|rest| {
            rest.starts_with("[[") || rest.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '))
        });
        let section = line.starts_with('[').then_some(line);
        commented.extend(key.or(section).map(|line| format!("{line}\n")));
    }
    let config = good(&commented, &[]);
    assert_eq!(config.providers[0].name, "smtp-main");
    assert_eq!(config.providers[0].ambiguous, Some(Ambiguous::Hold));
}

#[test]
fn variables_win_over_the_file_and_the_file_over_defaults() {
    let text = "[dispatch]\nlease = \"10s\"\nsweep = \"1s\"\n[api]\nlisten = \"127.0.0.1:1\"\n";
    let env = [("HLY_DISPATCH__LEASE", "20s"), ("HLY_HOOKS__TICKETS", "false"), ("PATH", "/bin")];
    let config = good(text, &env);
    assert_eq!(config.dispatch.lease, Duration::from_secs(20));
    assert_eq!(config.dispatch.sweep, Duration::from_secs(1));
    assert_eq!(config.api.listen.port(), 1);
    assert!(!config.hooks.tickets && config.hooks.activities);
}

#[test]
fn misspelt_keys_name_line_and_nearest() {
    bad(
        "[dispatch]\nleese = \"1s\"\n\n[stor]\nurl = \"x\"\n",
        &[("HLY_DISPATCH__LEESE", "1s"), ("HLY_APIKEY", "secret"), ("HLY_XYZ", "")],
        &[
            "t.toml:2: `dispatch.leese` is not a known key; did you mean `lease`?",
            "t.toml:4: `stor` is not a known section; did you mean `store`?",
            "HLY_DISPATCH__LEESE: is not a known variable; did you mean `HLY_DISPATCH__LEASE`?",
            "HLY_APIKEY: is not a known variable; did you mean `HLY_API_KEY`?",
            "HLY_XYZ: is not a known variable; variables are HLY_<SECTION>__<KEY>, as in: hly config show-defaults",
        ],
    );
}

#[test]
fn wrong_values_are_all_named_at_once() {
    bad(
        "api = 1\n[dispatch]\nlease = \"0s\"\nmax_attempts = -1\nsweep = 5\nhold = \"1e9 h\"\nshutdown = \"30\"\n",
        &[("HLY_DEV__EXAMPLES", "maybe")],
        &[
            "t.toml:1: `api` must be a section; write [api] on a line of its own",
            "t.toml:3: `dispatch.lease` is 0s; it must be from 1s to 1h",
            "t.toml:4: `dispatch.max_attempts` must be a whole number from 1 to 1000, not -1",
            "t.toml:5: `dispatch.sweep` must be a text with a time from 100ms to 10m, like \"100ms\", not 5",
            "t.toml:6: `dispatch.hold` must be a whole number and one of the units ms, s, m, h, d, like 30s; it must be from 1s to 7d",
            "t.toml:7: `dispatch.shutdown` has no unit; write 30s, or ms, m, h, d; it must be from 1s to 10m",
            "HLY_DEV__EXAMPLES: `dev.examples` must be true or false, not \"maybe\"",
        ],
    );
}

#[test]
fn open_listeners_must_be_meant() {
    let open = "[api]\nlisten = \"0.0.0.0:50051\"\n";
    bad(
        open,
        &[],
        &[
            "t.toml:2: `api.listen` is not a loopback address, and TLS is off; set `api.tls_cert` and `api.tls_key`, or `api.allow_insecure = true` behind a proxy that ends TLS",
        ],
    );
    let loaded = read(open, &[("HLY_API__ALLOW_INSECURE", "true")]).unwrap();
    assert!(loaded.config.api.keys_required());
    assert!(loaded.warnings.iter().any(|warning| warning.contains("clear text")), "{:?}", loaded.warnings);
    let config = good(open, &[("HLY_API__TLS_CERT", "c.pem"), ("HLY_API__TLS_KEY", "k.pem")]);
    assert_eq!(config.api.tls(), Some((Path::new("c.pem"), Path::new("k.pem"))));
    bad("[api]\ntls_key = \"k\"", &[], &["t.toml:2: `api.tls_key` stands alone; give `api.tls_cert` too"]);
}

#[test]
fn keys_that_contradict_each_other() {
    bad(
        "[edge]\nlisten = \"0.0.0.0:50051\"\n[dispatch]\nlease = \"2s\"\nretry_first = \"1h\"\n",
        &[],
        &[
            "t.toml:2: `edge.listen` is the port of `api.listen` too; give each listener a port of its own",
            "t.toml:4: `dispatch.lease` is 2s, which is shorter than `dispatch.sweep`; make it longer, or set `dispatch.sweep` (now 5s) too",
            "t.toml:5: `dispatch.retry_first` is 1h, which is longer than `dispatch.retry_max`; make it shorter, or set `dispatch.retry_max` (now 15m) too",
        ],
    );
    good("[api]\nlisten = \"127.0.0.1:0\"\n[edge]\nlisten = \"127.0.0.1:0\"\n", &[]);
}

#[test]
fn urls_get_one_form() {
    let config = good(
        "[tenant]\nbase_url = \"https://a.example\"\n[edge]\npublic_url = \"https://e.example/\"\n",
        &[],
    );
    assert_eq!(config.tenant.base_url, "https://a.example/");
    assert_eq!(config.edge.public_url.as_deref(), Some("https://e.example"));
}

#[test]
fn providers_have_common_keys_and_their_own() {
    let text = "[[provider]]\nname = \"smtp-main\"\nkind = \"smtp\"\nhost = \"h\"\npriority = 5\nmax_in_flight = 3\n\
                [[provider]]\nname = \"sms\"\nkind = \"twilio\"\nchannels = [\"sms\"]\nambiguous = \"retry\"\n";
    let env = [
        ("HLY_PROVIDER__SMTP_MAIN__PASSWORD", "123456"),
        ("HLY_PROVIDER__SMTP_MAIN__PORT", "587"),
        ("HLY_PROVIDER__SMS__PRIORITY", "7"),
        ("HLY_PROVIDER__SMS__TOKEN", "env:HLY_TOKEN"),
        ("HLY_TOKEN", "x"),
    ];
    let config = good(text, &env);
    let names: Vec<_> = config.providers.iter().map(|provider| &*provider.name).collect();
    assert_eq!(names, ["smtp-main", "sms", "chat"]);
    let smtp = &config.providers[0];
    assert_eq!((smtp.priority, smtp.max_in_flight, smtp.ambiguous), (5, Some(3), None));
    assert_eq!(smtp.channels, [Channel::Email]);
    assert_eq!(smtp.settings.table, toml::toml! { host = "h" password = "123456" port = 587 });
    let sms = &config.providers[1];
    assert_eq!((sms.priority, sms.ambiguous), (7, Some(Ambiguous::Retry)));
    assert_eq!(config.providers[2].channels, [Channel::Chat]);
}

#[test]
fn variables_reach_the_implicit_provider_too() {
    let config =
        good("", &[("HLY_PROVIDER__DEV__RATE", "0.5"), ("HLY_PROVIDER__DEV__CHANNELS", "sms, push")]);
    assert_eq!(config.providers[0].channels, [Channel::Sms, Channel::Push]);
}

#[test]
fn wrong_providers_are_named_by_line_and_key() {
    bad(
        "[[provider]]\nname = \"a\"\nkind = \"smpt\"\n[[provider]]\nname = \"a\"\nkind = \"smtp\"\nhots = \"x\"\nchannels = [\"SMS\"]\n\
         [[provider]]\nname = \"Bad_Name\"\n[[provider]]\nkind = \"smtp\"\npriority = \"high\"\n",
        &[("HLY_PROVIDER__B__HOST", "x"), ("HLY_PROVIDER__A__NAME", "x")],
        &[
            "t.toml:3: `provider a: kind` is not a known kind: \"smpt\"; did you mean `smtp`?",
            "t.toml:4: `provider.name` is taken by t.toml:1; give each provider a name of its own",
            "t.toml:7: `provider a: hots` is not a known key of kind smtp; did you mean `host`?",
            "t.toml:8: `provider a: channels` names \"SMS\", which this kind does not serve; it serves EMAIL",
            "t.toml:9: `provider Bad_Name: kind` is missing; known kinds: dev, chat, smtp, twilio",
            "t.toml:10: `provider Bad_Name: name` must be 1 to 63 lower-case letters, digits and `-`, and not begin with `-`; like name = \"smtp-main\"",
            "t.toml:11: `provider: name` is missing; give it one, like name = \"smtp-main\"",
            "t.toml:13: `provider: priority` must be a whole number from 0 to 1000000, not \"high\"",
            "HLY_PROVIDER__B__HOST: `provider` is not configured: there is no \"b\"; known: Bad_Name, a",
            "HLY_PROVIDER__A__NAME: `name` cannot be changed by a variable",
        ],
    );
    let problems = read("[provider]\nname = \"a\"\n", &[]).unwrap_err();
    assert!(problems[0].contains("[[provider]]"), "{problems:?}");
}

#[test]
fn variables_of_kubernetes_are_left_alone() {
    let env = [
        ("HLY_SERVICE_HOST", "10.0.0.1"),
        ("HLY_PORT", "tcp://10.0.0.1:1"),
        ("HLY_PORT_50051_TCP_ADDR", "x"),
    ];
    good("", &env);
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let errors = load_with(Some(Path::new("/nowhere/hly.toml")), &[], PLUGINS).unwrap_err();
    assert!(errors.to_string().starts_with("/nowhere/hly.toml: cannot be read"), "{errors}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_file_makes_it_panic(text in "([a-z\\[\\]=\"\\n .0-9#]|provider|api|listen){0,80}") {
        let _ = read(&text, &[]);
    }
}

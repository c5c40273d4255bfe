//! Settings.

use super::*;
use crate::{
    contract::ConfigError,
    dev::testing::example,
    email::smtp::{
        DESCRIPTOR,
        config::{Config, Tls},
    },
};

fn read(text: &str) -> Result<Config, ConfigError> {
    Config::read(&settings(text))
}

#[test]
fn the_example_builds() {
    assert!(build(&example(&DESCRIPTOR), context()).is_ok());
}

#[test]
fn defaults() {
    let config = read("host = 'smtp.example.com'").unwrap();
    assert_eq!((config.tls, config.port), (Tls::Starttls, 587));
    assert_eq!((config.max_connections, config.max_messages), (20, 100));
    assert_eq!(config.patience.attempt.as_secs(), 720);
    for host in ["localhost", "127.0.0.1", "::1", "[::1]"] {
        let config = read(&format!("host = '{host}'")).unwrap();
        assert_eq!((config.tls, config.port), (Tls::None, 25), "{host}");
    }
    assert_eq!(read("host = 'a.test'\ntls = 'implicit'").unwrap().port, 465);
    assert_eq!(read("host = 'bücher.test'").unwrap().host, "xn--bcher-kva.test");
    let from = read("host = 'a.test'\nfrom = 'Bücher <ann@bücher.test>'").unwrap().from.unwrap();
    assert_eq!(from.name.as_deref(), Some("Bücher"));
    assert_eq!(from.address.to_string(), "ann@xn--bcher-kva.test");
}

#[test]
fn what_is_wrong_is_named() {
    let rows = [
        ("port = 25", "host"),
        ("host = ''", "host"),
        ("host = 'smtp.example.com:587'", "host"),
        ("host = 'a.test/x'", "host"),
        ("host = \"a.test\\r\\nQUIT\"", "host"),
        ("host = 'a.test'\nhots = 'x'", "hots"),
        ("host = 'a.test'\nport = 0", "port"),
        ("host = 'a.test'\nport = 'canary'", "port"),
        ("host = 'a.test'\nport = 70000", "port"),
        ("host = 'a.test'\ntls = 'canary'", "tls"),
        ("host = ['canary']", "host"),
        ("host = 'a.test'\nfrom = 'nobody'", "from"),
        ("host = 'a.test'\nfrom = \"a\\nb <a@b.test>\"", "from"),
        ("host = 'a.test'\nhello_name = 'a b'", "hello_name"),
        ("host = 'a.test'\nusername = 'a'", "password"),
        ("host = 'a.test'\npassword = 'a'", "username"),
        ("host = 'a.test'\nauth = 'plain'", "username"),
        ("host = 'a.test'\nusername = 'a'\npassword = 'env:HLY_NO_SUCH_VARIABLE'", "password"),
        ("host = 'a.test'\ntls = 'none'\nusername = 'a'\npassword = 'canary'", "tls"),
        ("host = 'a.test'\nmax_connections = 0", "max_connections"),
        ("host = 'a.test'\nmax_messages_per_connection = 0", "max_messages_per_connection"),
        ("host = 'a.test'\nidle_timeout = '1h'", "idle_timeout"),
        ("host = 'a.test'\ndata_timeout = 'long'", "data_timeout"),
    ];
    for (text, key) in rows {
        let error = read(text).unwrap_err();
        assert_eq!(error.key, key, "{text}: {error}");
        assert!(!format!("{error:?}").contains("canary"), "{error:?}");
    }
    let error = build(&settings("host = 'a.test'\nca_file = '/no/such/file'"), context()).unwrap_err();
    assert_eq!(error.key, "ca_file");
}

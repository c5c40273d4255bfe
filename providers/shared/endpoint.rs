//! Where a vendor is reached, and whether that is safe enough for credentials.

use reqwest::Url;
use url::Host;

use crate::contract::ConfigError;

/// Reads a base URL. Its path ends in `/` afterwards, so that paths can be joined to it.
///
/// # Errors
/// When it is not an absolute http(s) URL, carries credentials, a query or a fragment, or is clear text to another machine
/// while `allow_insecure` is false.
pub fn base_url(key: &str, text: &str, allow_insecure: bool) -> Result<Url, ConfigError> {
    let mut url = Url::parse(text).map_err(|error| {
        ConfigError::new(key, format!("is not a URL: {error}")).hint("write it as https://host")
    })?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(ConfigError::new(key, "carries credentials").hint("use the keys for credentials"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(ConfigError::new(key, "has a query or a fragment").hint("end it with the path"));
    }
    match url.scheme() {
        "https" => {}
        "http" if allow_insecure || is_loopback(&url) => {}
        "http" => {
            return Err(ConfigError::new(key, "is clear text to another machine")
                .hint("use https, or set allow_insecure = true to send credentials unencrypted"));
        }
        _ => return Err(ConfigError::new(key, "is neither https nor http").hint("write it as https://host")),
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// The URL of a path below a base that [`base_url`] made.
///
/// # Errors
/// When the path makes no URL.
pub fn join(base: &Url, path: &str) -> Result<Url, ConfigError> {
    base.join(path).map_err(|error| ConfigError::new("base_url", format!("cannot take the path: {error}")))
}

/// Whether the host is this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn accepted() {
        for (text, result) in [
            ("https://api.example.com", "https://api.example.com/"),
            ("https://api.example.com/v1", "https://api.example.com/v1/"),
            ("http://127.0.0.1:9000", "http://127.0.0.1:9000/"),
            ("http://[::1]:9000/", "http://[::1]:9000/"),
            ("http://localhost", "http://localhost/"),
        ] {
            assert_eq!(base_url("base_url", text, false).unwrap().as_str(), result);
        }
        assert!(base_url("base_url", "http://10.0.0.1", true).is_ok());
    }

    #[test]
    fn refused() {
        for text in [
            "",
            "api.example.com",
            "ftp://api.example.com",
            "http://api.example.com",
            "http://127.0.0.1.example.com",
            "https://user:pass@api.example.com",
            "https://api.example.com?x=1",
        ] {
            let error = base_url("base_url", text, false).unwrap_err();
            assert_eq!(error.key, "base_url", "{text}");
            assert!(!error.problem.contains("pass"), "{text}");
        }
    }
}

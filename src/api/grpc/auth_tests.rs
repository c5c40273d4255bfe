#![allow(clippy::unwrap_used)]

use super::*;

fn headers(name: &'static str, value: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(name, value.parse().unwrap());
    headers
}

#[test]
fn every_method_of_the_api_has_a_scope() {
    let methods = methods();
    assert!(methods.len() > 30, "{}", methods.len());
    for (service, method) in methods {
        assert!(scope_of(&format!("{service}/{method}")).is_some(), "{service}/{method}");
    }
    assert_eq!(scope_of("MessageService/DropEverything"), None);
    assert_eq!(scope_of("ApiKeyService/Create"), Some(Scopes::ADMIN));
}

#[test]
fn health_and_reflection_are_open_and_nothing_that_looks_like_them() {
    assert!(is_public("/grpc.health.v1.Health/Check"));
    assert!(is_public("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"));
    assert!(
        !is_public("/grpc.health.v1.HealthX/Check")
            && !is_public("/headlessly.communication.v1.MessageService/Send")
    );
}

#[test]
fn keys_are_read_from_one_bearer_header() {
    assert_eq!(bearer(&HeaderMap::new()), Ok(None));
    assert_eq!(bearer(&headers("authorization", "Bearer hly_sk_x")), Ok(Some("hly_sk_x")));
    assert_eq!(bearer(&headers("authorization", "bearer  hly_sk_x")), Ok(Some("hly_sk_x")));
    for bad in ["", "Bearer", "Bearer ", "Basic abc", "hly_sk_x"] {
        assert!(bearer(&headers("authorization", bad)).is_err(), "{bad}");
    }
    let mut two = headers("authorization", "Bearer a");
    two.append("authorization", "Bearer b".parse().unwrap());
    assert!(bearer(&two).is_err());
}

#[test]
fn time_limits() {
    let read = |text| budget(&headers("grpc-timeout", text));
    assert_eq!(budget(&HeaderMap::new()), Ok(None));
    assert_eq!(read("30S"), Ok(Some(Duration::from_secs(30))));
    assert_eq!(read("99999999H"), Ok(Some(Duration::from_secs(99_999_999 * 3_600))));
    assert_eq!(read("5u"), Ok(Some(Duration::from_micros(5))));
    for bad in ["99999999999H", "-1S", "1X", "S", "", "1", "1.5S", "+1S", " 1S"] {
        assert_eq!(read(bad).unwrap_err().violations[0].field, "grpc-timeout", "{bad}");
    }
    assert_eq!(read("0n").unwrap_err().kind, Kind::DeadlineExceeded);
    assert!(budget(&headers("grpc-timeout", "1é")).is_err());
}

#[test]
fn pages_of_other_sites_are_told_from_local_ones() {
    for local in [
        "http://localhost:3000",
        "http://127.0.0.1:50051",
        "http://[::1]:1",
        "https://app.localhost",
        "http://localhost",
    ] {
        assert!(!is_foreign_page(&headers("origin", local)), "{local}");
    }
    for foreign in
        ["https://evil.test", "null", "http://localhost.evil.test", "http://127.0.0.1.evil.test:50051"]
    {
        assert!(is_foreign_page(&headers("origin", foreign)), "{foreign}");
    }
    assert!(!is_foreign_page(&HeaderMap::new()));
}

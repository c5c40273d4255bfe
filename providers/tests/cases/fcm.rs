use std::sync::LazyLock;

use headlessly_providers::{contract::Channel, push::fcm, testing::Case};
use serde_json::{Value, json};

use super::transcripts;

/// A throw-away key from the vectors.
static ACCOUNT: LazyLock<String> = LazyLock::new(|| {
    let vectors: Value = serde_json::from_str(include_str!("../../push/fcm/fixtures/vectors.json")).unwrap();
    json!({
        "type": "service_account",
        "project_id": "test-project",
        "private_key_id": "520ad6c78e8ad3d0",
        "private_key": vectors["cases"][0]["input"]["test_only_private_key_pem"],
        "client_email": "hly@test-project.iam.gserviceaccount.com",
        "token_uri": "https://oauth2.googleapis.com/token",
    })
    .to_string()
});

pub(crate) fn case() -> Case {
    Case {
        descriptor: fcm::DESCRIPTOR,
        settings,
        required: &["service_account"],
        canaries: &["ya29.canary-access-token", "MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQ"],
        channel: Channel::Push,
        recipient: "registration-token-1",
        transcripts: transcripts!("push/fcm": accepted throttled server_error unauthorized bad_recipient garbage
            rich installation_id token_renewed grant_refused token_endpoint_down wrong_project malformed_token
            malformed_payload third_party_auth overloaded reserved_key proxy_page expired),
        readme: include_str!("../../push/fcm/README.md"),
        references: REFERENCES.as_slice(),
        callbacks: Vec::new(),
    }
}

static REFERENCES: LazyLock<[(&str, &str); 1]> =
    LazyLock::new(|| [("file:/etc/hly/service-account.json", ACCOUNT.as_str())]);

fn settings(url: &str) -> toml::Table {
    let mut table = toml::Table::new();
    table.insert("service_account".to_owned(), ACCOUNT.as_str().into());
    table.insert("base_url".to_owned(), url.into());
    table.insert("token_url".to_owned(), format!("{url}/token").into());
    table
}

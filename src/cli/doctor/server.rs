//! What the server tells.

use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use super::super::{Client, client::Target, providers};
use super::Finding;

/// Whether the server answers, and the way to it if it does.
pub(super) async fn reach(target: &Target) -> (Finding, Option<Client>) {
    let client = match Client::connect(target).await {
        Ok(client) => client,
        Err(failure) => {
            let text = failure.lines.first().cloned().unwrap_or_default();
            return (Finding::warn("server", text, "start it with: hly serve"), None);
        }
    };
    let request = client.request(HealthCheckRequest { service: String::new() });
    let finding = match HealthClient::new(client.channel()).check(request).await {
        Err(status) => {
            let text = format!("{} answers, but not to a health check: {}", target.server, status.message());
            Finding::fail("server", text, "is it hly that listens there?")
        }
        Ok(answer) if answer.get_ref().status() == ServingStatus::Serving => {
            Finding::ok("server", format!("{} is serving", target.server))
        }
        Ok(_) => Finding::fail(
            "server",
            format!("{} answers, but is not serving", target.server),
            "it is starting, stopping, or its store is down: look into its log",
        ),
    };
    let client = (finding.level == super::Level::Ok).then_some(client);
    (finding, client)
}

/// How the server's providers do.
pub(super) async fn providers(client: &Client) -> Vec<Finding> {
    let list = match providers::list(client).await {
        Ok(list) => list,
        Err(failure) => {
            let text = failure.lines.first().cloned().unwrap_or_default();
            let way_out = failure.lines.last().cloned().unwrap_or_default();
            return vec![Finding::fail("provider", text, way_out)];
        }
    };
    let mut found = Vec::new();
    for provider in list {
        let name = &provider.name;
        found.push(match providers::probe(client, name).await {
            Ok(answer) if answer.ok => Finding::ok("provider", format!("{name}: ready")),
            Ok(answer) => Finding::fail(
                "provider",
                format!("{name}: {}", answer.detail),
                "check its address and credentials",
            ),
            Err(failure) => {
                Finding::fail("provider", format!("{name}: {}", failure.lines.join("; ")), "ask again later")
            }
        });
    }
    found
}

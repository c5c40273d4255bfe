//! The service in this process, on ports and in a folder of its own.

use std::{net::SocketAddr, path::Path};

use headlessly_communication::{
    app::App,
    config::{self, Config},
    pb::{
        self, activity_service_client::ActivityServiceClient, api_key_service_client::ApiKeyServiceClient,
        contact_service_client::ContactServiceClient, event_service_client::EventServiceClient,
        message::Status, message_service_client::MessageServiceClient,
        provider_service_client::ProviderServiceClient, ticket_service_client::TicketServiceClient,
    },
};
use serde_json::json;
use tonic::transport::{Channel, Endpoint};

use super::{Follow, json, postgres::Database, send_new, to, within};

/// A connection to a running service, and the calls that scenarios make most.
#[derive(Clone)]
pub(crate) struct Clients {
    channel: Channel,
}

/// A service that ends with the test.
pub(crate) struct TestApp {
    /// Where the API listens.
    pub(crate) address: SocketAddr,
    /// Where the edge listens.
    pub(crate) edge: SocketAddr,
    /// Calls.
    pub(crate) api: Clients,
    app: App,
    folder: tempfile::TempDir,
}

/// What a configuration file in a test leaves open: free ports, and the store in the folder. No commit waits for the disk, for a
/// killed process loses nothing by that. How full the machine's disk is does not matter.
///
/// With `HLY_TEST_POOLER` set a pooler stands before it. With `HLY_TEST_STORE=postgres` the store is a database of its own instead; its name lies in the folder. What a killed process
/// held is free again soon there.
pub(super) fn variables(folder: &Path) -> Vec<(String, String)> {
    let mut variables = Vec::new();
    let store = if !on_sqlite() || folder.join(DATABASE).exists() {
        let soon = [("HLY_DISPATCH__LEASE", "4s"), ("HLY_DISPATCH__SWEEP", "300ms")];
        variables.extend(soon.map(|(name, value)| (name.to_owned(), value.to_owned())));
        if std::env::var("HLY_TEST_POOLER").is_ok() {
            variables.push(("HLY_STORE__POOLER".to_owned(), "true".to_owned()));
        }
        database(folder)
    } else {
        format!("sqlite://{}", folder.join("hly.db").display())
    };
    variables.extend(
        [
            ("HLY_API__LISTEN", "127.0.0.1:0"),
            ("HLY_EDGE__LISTEN", "127.0.0.1:0"),
            ("HLY_STORE__URL", &store),
            ("HLY_STORE__SYNCHRONOUS", "normal"),
            ("HLY_STORE__MIN_FREE_PERCENT", "0"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    );
    variables
}

/// Where a folder notes its database.
const DATABASE: &str = "database";

/// Gives a folder this database.
pub(crate) fn share(folder: &Path, database: &str) {
    std::fs::write(folder.join(DATABASE), database).unwrap();
}

/// The database that belongs to a folder.
fn database(folder: &Path) -> String {
    let note = folder.join(DATABASE);
    std::fs::read_to_string(&note).unwrap_or_else(|_| {
        let database = Database::new_now().expect("HLY_TEST_STORE=postgres needs a PostgreSQL");
        std::fs::write(&note, &database.url).unwrap();
        database.url
    })
}

/// Whether the scenarios run on SQLite.
pub(crate) fn on_sqlite() -> bool {
    std::env::var("HLY_TEST_STORE").as_deref() != Ok("postgres")
}

fn config(folder: &Path, toml: &str) -> Config {
    let file = folder.join("hly.toml");
    std::fs::write(&file, toml).unwrap();
    config::load(Some(&file), &variables(folder)).unwrap().config
}

impl TestApp {
    /// A new service with this configuration; with the defaults when it is empty.
    pub(crate) async fn start(toml: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), toml).await
    }

    /// A service over what an earlier one left in its folder.
    pub(crate) async fn start_in(folder: tempfile::TempDir, toml: &str) -> Self {
        // Fails when another test of the process was first, which is as good.
        rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
        let app = App::start(&config(folder.path(), toml)).await.unwrap();
        let api = Clients::connect(&format!("http://{}", app.api)).await;
        Self { address: app.api, edge: app.edge, api, app, folder }
    }

    /// Stops it and leaves its folder to the next.
    pub(crate) async fn stop(self) -> tempfile::TempDir {
        within("a clean stop", self.app.stop()).await;
        self.folder
    }

    /// Calls the edge as a vendor would; returns the status of the answer.
    pub(crate) async fn call_edge(&self, path: &str, headers: &[(&str, String)], body: String) -> u16 {
        post(self.edge, path, headers, body).await
    }
}

/// Posts a form to an edge.
pub(crate) async fn post(edge: SocketAddr, path: &str, headers: &[(&str, String)], body: String) -> u16 {
    let mut request = reqwest::Client::new()
        .post(format!("http://{edge}{path}"))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(body);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    within("an answer of the edge", request.send()).await.unwrap().status().as_u16()
}

impl Clients {
    pub(crate) async fn connect(url: &str) -> Self {
        let endpoint = Endpoint::from_shared(url.to_owned()).unwrap();
        Self { channel: within("a connection", endpoint.connect()).await.unwrap() }
    }

    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    pub(crate) fn messages(&self) -> MessageServiceClient<Channel> {
        MessageServiceClient::new(self.channel())
    }

    pub(crate) fn contacts(&self) -> ContactServiceClient<Channel> {
        ContactServiceClient::new(self.channel())
    }

    pub(crate) fn events(&self) -> EventServiceClient<Channel> {
        EventServiceClient::new(self.channel())
    }

    pub(crate) fn keys(&self) -> ApiKeyServiceClient<Channel> {
        ApiKeyServiceClient::new(self.channel())
    }

    pub(crate) fn providers(&self) -> ProviderServiceClient<Channel> {
        ProviderServiceClient::new(self.channel())
    }

    /// Sends a message that is accepted.
    pub(crate) async fn send(&self, message: pb::Message) -> pb::Message {
        self.messages().send(send_new(message)).await.unwrap().into_inner()
    }

    pub(crate) async fn get(&self, id: &str) -> pb::Message {
        let request = pb::GetMessageRequest { id: id.to_owned(), ..Default::default() };
        self.messages().get(request).await.unwrap().into_inner()
    }

    /// Waits until the message has this status.
    pub(crate) async fn reach(&self, id: &str, status: Status) -> pb::Message {
        self.until(id, status.as_str_name(), |message| message.status() == status).await
    }

    /// Waits until this holds of the message, which is looked at with each of its events.
    pub(crate) async fn until(
        &self,
        id: &str,
        what: &str,
        holds: impl Fn(&pb::Message) -> bool,
    ) -> pb::Message {
        let request =
            pb::WatchMessagesRequest { message: id.to_owned(), include_message: true, ..Default::default() };
        let mut follow = Follow::messages(self, request).await;
        let seen = follow.until(what, |seen| seen.message.as_ref().is_some_and(&holds)).await;
        seen.last().and_then(|last| last.message.clone()).unwrap()
    }

    /// The events of an entity so far, oldest first.
    pub(crate) async fn history(&self, target: &str) -> Vec<pb::Event> {
        let request =
            pb::ListEventsRequest { page_size: 1_000, target: target.to_owned(), ..Default::default() };
        self.events().list(request).await.unwrap().into_inner().events
    }

    /// The first page of what a filter finds, oldest first.
    pub(crate) async fn find(&self, filter: &serde_json::Value) -> Vec<pb::Message> {
        let request = pb::FindMessagesRequest {
            filter: json(filter),
            order_by: "created_at".to_owned(),
            page_size: 1_000,
            ..Default::default()
        };
        self.messages().find(request).await.unwrap().into_inner().messages
    }

    /// The activities about a message, once the rules have dealt with everything that happened so far.
    pub(crate) async fn activities(&self, message: &str) -> Vec<pb::Activity> {
        self.rules_caught_up().await;
        let request =
            pb::FindActivitiesRequest { filter: json(&json!({ "message": message })), ..Default::default() };
        let found = ActivityServiceClient::new(self.channel()).find(request).await;
        found.unwrap().into_inner().activities
    }

    /// The tickets about a message, once the rules have dealt with everything that happened so far.
    pub(crate) async fn tickets(&self, message: &str) -> Vec<pb::Ticket> {
        self.rules_caught_up().await;
        let request =
            pb::FindTicketsRequest { filter: json(&json!({ "message": message })), ..Default::default() };
        TicketServiceClient::new(self.channel()).find(request).await.unwrap().into_inner().tickets
    }

    /// The rules go by the log: when they made the activity of a chat message sent now, they are past all that was before it.
    pub(crate) async fn rules_caught_up(&self) {
        let (mut follow, message) = (
            Follow::events(self, &["Activity.Created"]).await,
            self.send(to(pb::message::Channel::Chat, "marker")).await.id,
        );
        follow
            .until("the activity of the marker", |event| {
                let fields = event.data.as_ref().map(|data| &data.fields);
                let about = fields.and_then(|fields| fields.get("message")).and_then(|it| it.kind.as_ref());
                matches!(about, Some(prost_types::value::Kind::StringValue(about)) if *about == message)
            })
            .await;
    }
}

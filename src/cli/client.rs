//! The way to the server.

use std::{error::Error as _, net::IpAddr, time::Duration};

use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, ClientTlsConfig, Endpoint},
};

use super::{
    Exit, Failure,
    v1::{
        activity_service_client::ActivityServiceClient, api_key_service_client::ApiKeyServiceClient,
        contact_service_client::ContactServiceClient, event_service_client::EventServiceClient,
        message_service_client::MessageServiceClient, provider_service_client::ProviderServiceClient,
        ticket_service_client::TicketServiceClient,
    },
};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How often a silent connection is asked whether it still lives.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// The largest answer taken, in bytes: a page of messages with large bodies.
const MAX_ANSWER: usize = 256 << 20;

/// Where the server is and who asks.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) server: String,
    pub(super) api_key: Option<String>,
    /// For each call that is no stream.
    pub(super) timeout: Duration,
}

/// A connection to the server.
#[derive(Clone)]
pub(super) struct Client {
    channel: Channel,
    key: Key,
    timeout: Duration,
}

/// What every service client is made of.
pub(super) type Road = InterceptedService<Channel, Key>;

/// Adds the API key to every call.
#[derive(Clone)]
pub(super) struct Key(Option<MetadataValue<Ascii>>);

impl Interceptor for Key {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

macro_rules! services {
    ($($name:ident: $client:ident),+ $(,)?) => {
        $(pub(super) fn $name(&self) -> $client<Road> {
            $client::with_interceptor(self.channel.clone(), self.key.clone()).max_decoding_message_size(MAX_ANSWER)
        })+
    };
}

impl Client {
    /// Connects.
    pub(super) async fn connect(target: &Target) -> Result<Self, Failure> {
        let key = key(target.api_key.as_deref())?;
        let endpoint = endpoint(&target.server)?;
        if key.0.is_some() && in_clear(endpoint.uri()) {
            super::note("warning: the API key crosses the network in clear text; use https://");
        }
        let channel = endpoint.connect().await.map_err(|error| unreachable(&target.server, &error))?;
        Ok(Self { channel, key, timeout: target.timeout })
    }

    /// A request with the deadline of the command line.
    pub(super) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    /// The bare connection, for services that need no key.
    pub(super) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    services!(
        activities: ActivityServiceClient,
        contacts: ContactServiceClient,
        events: EventServiceClient,
        keys: ApiKeyServiceClient,
        messages: MessageServiceClient,
        providers: ProviderServiceClient,
        tickets: TicketServiceClient,
    );
}

fn key(key: Option<&str>) -> Result<Key, Failure> {
    let Some(key) = key.map(str::trim).filter(|key| !key.is_empty()) else { return Ok(Key(None)) };
    let mut value: MetadataValue<Ascii> = format!("Bearer {key}")
        .parse()
        .map_err(|_| Failure::new(Exit::Usage, "the API key has characters that no key has"))?;
    value.set_sensitive(true);
    Ok(Key(Some(value)))
}

fn endpoint(server: &str) -> Result<Endpoint, Failure> {
    let wrong = |text: String| {
        Failure::new(Exit::Usage, text).line("like http://127.0.0.1:50051 or https://hly.example")
    };
    if !server.starts_with("http://") && !server.starts_with("https://") {
        return Err(wrong(format!("--server must begin with http:// or https://: {server}")));
    }
    let endpoint = Endpoint::from_shared(server.to_owned())
        .map_err(|error| wrong(format!("--server {server} is no URL: {error}")))?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .user_agent(concat!("hly/", env!("CARGO_PKG_VERSION")))
        .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    if server.starts_with("http://") {
        return Ok(endpoint);
    }
    endpoint
        .tls_config(ClientTlsConfig::new().with_native_roots())
        .map_err(|error| Failure::new(Exit::System, format!("TLS cannot be set up: {}", causes(&error))))
}

/// Whether what is sent there leaves this machine without TLS.
fn in_clear(uri: &http::Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    uri.scheme_str() == Some("http") && !loopback
}

fn unreachable(server: &str, error: &tonic::transport::Error) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot reach {server}: {}", causes(error)))
        .line("is the server running (hly serve), and is this its address (--server, HLY_SERVER)?")
}

/// The innermost cause, which names the actual trouble.
fn causes(error: &tonic::transport::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = error.to_string();
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn addresses_need_a_scheme() {
        assert_eq!(endpoint("127.0.0.1:50051").unwrap_err().exit, Exit::Usage);
        assert_eq!(endpoint("http://").unwrap_err().exit, Exit::Usage);
        assert!(endpoint("http://127.0.0.1:50051").is_ok());
    }

    #[test]
    fn only_other_machines_without_tls_are_in_clear() {
        for (server, clear) in [
            ("http://127.0.0.1:50051", false),
            ("http://[::1]:50051", false),
            ("http://localhost:50051", false),
            ("https://hly.example", false),
            ("http://hly.example", true),
            ("http://10.0.0.1:50051", true),
        ] {
            assert_eq!(in_clear(&server.parse().unwrap()), clear, "{server}");
        }
    }

    #[test]
    fn keys_are_header_values_and_hidden() {
        assert!(key(None).unwrap().0.is_none() && key(Some(" ")).unwrap().0.is_none());
        let value = key(Some("hly_sk_1\n")).unwrap().0.unwrap();
        assert!(value.is_sensitive() && value == "Bearer hly_sk_1");
        let failure = key(Some("secret\u{7}")).map(|_| ()).unwrap_err();
        assert!(!failure.to_string().contains("secret"));
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_said_so() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let target = Target { server, api_key: None, timeout: CONNECT };
        let failure = Client::connect(&target).await.map(|_| ()).unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.lines[1].contains("hly serve"), "{failure}");
    }
}

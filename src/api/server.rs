//! One port for gRPC, gRPC-Web and a little HTTP.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use futures_util::Stream;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::server::{Connected, Server},
};
use tonic_health::{ServingStatus, server::HealthReporter};
use tonic_web::GrpcWebLayer;

use super::{
    grpc::{self, auth::AuthLayer},
    listener::{Running, ServeError, accept, bind},
};
use crate::{pb, service::Service};

/// HTTP/2 pings: how often, and how long one may take.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Calls at once on one connection.
const MAX_STREAMS: u32 = 1_024;

/// How often the health service looks whether calls can be served.
const LOOK: Duration = Duration::from_secs(1);

/// Writes the metrics as Prometheus text.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// How the API is served.
pub struct ApiConfig {
    /// Where. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// With TLS; in clear text when `None`.
    pub tls: Option<Tls>,
    /// Calls without a key are taken as the local user's. For loopback only.
    pub open: bool,
    /// How long calls under way may take to end after the shutdown signal.
    pub drain: Duration,
}

/// A certificate chain and its private key, both PEM.
pub struct Tls {
    /// The chain, the server's own certificate first.
    pub cert: Vec<u8>,
    /// The key: PKCS #8, PKCS #1 or SEC 1.
    pub key: Vec<u8>,
}

/// Listens, then serves until `shutdown` is cancelled.
///
/// # Errors
/// The address cannot be listened on; the certificate or its key cannot be used.
pub async fn serve(
    config: ApiConfig,
    service: Service,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<Running, ServeError> {
    let acceptor = config.tls.as_ref().map(acceptor).transpose()?;
    let (listener, addr) = bind(config.listen).await?;
    let (health, routes) = routes(&service, metrics, config.open).await;
    tokio::spawn(follow(service, health.clone(), shutdown.clone()));
    let drain = config.drain;
    let task = match acceptor {
        None => {
            let incoming = accept(listener, |stream| async { Ok(stream) }, shutdown.clone());
            tokio::spawn(run(incoming, routes, health, shutdown, drain))
        }
        Some(acceptor) => {
            let handshake = move |stream| {
                let acceptor = acceptor.clone();
                async move { acceptor.accept(stream).await }
            };
            tokio::spawn(run(accept(listener, handshake, shutdown.clone()), routes, health, shutdown, drain))
        }
    };
    Ok(Running { addr, task })
}

async fn run<IO>(
    incoming: impl Stream<Item = io::Result<IO>> + Send,
    routes: Routes,
    health: HealthReporter,
    shutdown: CancellationToken,
    drain: Duration,
) where
    IO: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let serving = Server::builder()
        .accept_http1(true)
        .max_concurrent_streams(MAX_STREAMS)
        .http2_keepalive_interval(Some(KEEPALIVE.0))
        .http2_keepalive_timeout(Some(KEEPALIVE.1))
        .add_routes(routes)
        .serve_with_incoming_shutdown(incoming, shutdown.cancelled());
    let out_of_time = async {
        shutdown.cancelled().await;
        announce(&health, ServingStatus::NotServing).await;
        tokio::time::sleep(drain).await;
    };
    // A connection that never finishes its handshake would be waited for without end.
    tokio::select! {
        served = serving => if let Err(error) = served { tracing::error!(%error, "the API stopped") },
        () = out_of_time => tracing::warn!("calls were cut off: they did not end in the time to drain"),
    }
}

/// Names of what is served, as the health service knows them; the empty one is the whole server.
const SERVED: [&str; 8] = [
    "",
    "headlessly.communication.v1.MessageService",
    "headlessly.communication.v1.ContactService",
    "headlessly.communication.v1.ActivityService",
    "headlessly.communication.v1.TicketService",
    "headlessly.communication.v1.EventService",
    "headlessly.communication.v1.ProviderService",
    "headlessly.communication.v1.ApiKeyService",
];

async fn announce(health: &HealthReporter, status: ServingStatus) {
    for name in SERVED {
        health.set_service_status(name, status).await;
    }
}

/// Says by the health service whether calls can be served, for those who send them elsewhere when they cannot.
async fn follow(service: Service, health: HealthReporter, shutdown: CancellationToken) {
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was = ServingStatus::Serving;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = shutdown.cancelled() => return,
        }
        let is = match service.ready().await {
            Ok(()) => ServingStatus::Serving,
            Err(_) => ServingStatus::NotServing,
        };
        if is != was && !shutdown.is_cancelled() {
            tracing::warn!(status = ?is, "the store's state changed what the health service says");
            announce(&health, is).await;
            was = is;
        }
    }
}

async fn routes(service: &Service, metrics: Metrics, open: bool) -> (HealthReporter, Routes) {
    let (health, health_service) = tonic_health::server::health_reporter();
    announce(&health, ServingStatus::Serving).await;
    let mut builder = Routes::builder();
    builder.add_service(health_service);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(pb::DESCRIPTORS)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    // Older clients (grpcurl 1.8, grpcio-reflection) know v1alpha only.
    match (reflection().build_v1(), reflection().build_v1alpha()) {
        (Ok(v1), Ok(v1alpha)) => {
            builder.add_service(v1);
            builder.add_service(v1alpha);
        }
        (Err(error), _) | (_, Err(error)) => tracing::error!(%error, "reflection is not served"),
    }
    grpc::add_services(&mut builder, service);
    // `route_layer`, not `layer`: gRPC-Web answers 400 to everything else, also to what the fallback is for. The layer that is
    // added last is the outermost: a refusal of the authentication reaches gRPC-Web clients too.
    let grpc = builder
        .routes()
        .into_axum_router()
        .route_layer(AuthLayer::new(service.clone(), open))
        .route_layer(GrpcWebLayer::new());
    let router = grpc.merge(plain(service.clone(), metrics)).fallback(fallback);
    (health, Routes::from(router).prepare())
}

/// What is served beside gRPC, for machines that watch this one.
fn plain(service: Service, metrics: Metrics) -> Router {
    let text = |body: String| ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], body);
    let ready = move || {
        let service = service.clone();
        async move {
            match service.ready().await {
                Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
                Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", error.message)),
            }
        }
    };
    Router::new()
        .route("/metrics", get(move || std::future::ready(text(metrics()))))
        .route("/healthz", get(|| std::future::ready("ok\n")))
        .route("/readyz", get(ready))
}

async fn fallback(request: Request) -> Response {
    let content_type =
        request.headers().get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    if content_type.starts_with(b"application/grpc") {
        return tonic::Status::unimplemented("there is no such method; reflection lists what there is")
            .into_http();
    }
    super::http::problem(StatusCode::NOT_FOUND, "there is nothing here").into_response()
}

fn acceptor(tls: &Tls) -> Result<TlsAcceptor, ServeError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&tls.cert)
        .collect::<Result<_, _>>()
        .map_err(|error| ServeError::Tls(format!("the certificate is not readable as PEM: {error}")))?;
    if chain.is_empty() {
        return Err(ServeError::Tls("the certificate file holds no certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(&tls.key)
        .map_err(|error| ServeError::Tls(format!("the private key is not readable as PEM: {error}")))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| ServeError::Tls(format!("the certificate and its key cannot be used: {error}")))?;
    // Both, so that gRPC-Web and the pages beside gRPC are reached over HTTP/1.1 too.
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn certificates_that_cannot_be_used_are_named() {
        let problem = |cert: &[u8], key: &[u8]| {
            let tls = Tls { cert: cert.to_vec(), key: key.to_vec() };
            acceptor(&tls).err().map(|error| error.to_string()).unwrap_or_default()
        };
        assert!(problem(b"", b"").contains("no certificate"));
        let cert = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(problem(cert, b"").contains("private key"));
    }

    #[test]
    fn every_service_has_a_health_status() {
        let names = crate::api::grpc::auth::service_names();
        assert_eq!(
            SERVED[1..].iter().copied().collect::<std::collections::BTreeSet<_>>(),
            names.iter().map(String::as_str).collect()
        );
    }
}

#[cfg(test)]
#[path = "server_tests.rs"]
mod wire;

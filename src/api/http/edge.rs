//! The edge: the listener that may face the internet. Vendors call it; nothing else is on it.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
    routing::post,
};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    server::{conn::auto, graceful::GracefulShutdown},
    service::TowerToHyperService,
};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::problem;
use crate::{
    api::listener::{Running, ServeError, accept, bind},
    service::{
        Clock,
        intake::{InboundHttp, Intake, IntakeAnswer},
    },
};

/// Most of a body.
const MAX_BODY: usize = 1024 * 1024;
/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long its body may take.
const BODY: Duration = Duration::from_secs(30);
/// Calls at once on one HTTP/2 connection.
const MAX_STREAMS: u32 = 128;

/// How the edge is served.
pub struct EdgeConfig {
    /// Where. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// How long calls under way may take to end after the shutdown signal.
    pub drain: Duration,
}

#[derive(Clone)]
struct Edge {
    intake: Arc<dyn Intake>,
    clock: Clock,
}

/// Listens, then serves until `shutdown` is cancelled.
///
/// # Errors
/// The address cannot be listened on.
pub async fn serve(
    config: EdgeConfig,
    intake: Arc<dyn Intake>,
    clock: Clock,
    shutdown: CancellationToken,
) -> Result<Running, ServeError> {
    let (listener, addr) = bind(config.listen).await?;
    let incoming = accept(listener, |stream| async { Ok(stream) }, shutdown.clone());
    let router = router(Edge { intake, clock });
    let task = tokio::spawn(async move {
        let connections = GracefulShutdown::new();
        tokio::pin!(incoming);
        // The stream ends with the shutdown.
        while let Some(Ok(stream)) = incoming.next().await {
            tokio::spawn(connection(stream, router.clone(), &connections));
        }
        if tokio::time::timeout(config.drain, connections.shutdown()).await.is_err() {
            tracing::warn!("calls to the edge were cut off: they did not end in the time to drain");
        }
    });
    Ok(Running { addr, task })
}

/// Serves one connection to its end.
fn connection(
    stream: TcpStream,
    router: Router,
    connections: &GracefulShutdown,
) -> impl Future<Output = ()> + Send + use<> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(10));
    let service = TowerToHyperService::new(router);
    let serving = builder.serve_connection(TokioIo::new(stream), service).into_owned();
    let serving = connections.watch(serving);
    async move {
        if let Err(error) = serving.await {
            tracing::debug!(%error, "a connection to the edge ended badly");
        }
    }
}

fn router(edge: Edge) -> Router {
    Router::new()
        .route("/webhooks/{provider}", post(webhook))
        .with_state(edge)
        .fallback(|| std::future::ready(problem(StatusCode::NOT_FOUND, "there is nothing here")))
}

async fn webhook(State(edge): State<Edge>, Path(provider): Path<String>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if !is_identity(&head.headers) {
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the body without a content-encoding");
    }
    let body = match tokio::time::timeout(BODY, read(body)).await {
        Ok(Ok(body)) => body,
        Ok(Err(refusal)) => return refusal,
        Err(_) => return problem(StatusCode::REQUEST_TIMEOUT, "the body took longer than 30 seconds"),
    };
    let text = |(name, value): (&header::HeaderName, &header::HeaderValue)| {
        Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
    };
    let inbound = InboundHttp {
        method: head.method.to_string(),
        path_and_query: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers.iter().filter_map(text).collect(),
        body,
        now: (edge.clock)(),
    };
    answer(edge.intake.receive(&provider, inbound).await)
}

fn answer(answer: IntakeAnswer) -> Response {
    match answer {
        IntakeAnswer::Stored { reply: None } => StatusCode::NO_CONTENT.into_response(),
        IntakeAnswer::Stored { reply: Some(reply) } => {
            ([(header::CONTENT_TYPE, reply.content_type)], reply.body).into_response()
        }
        IntakeAnswer::UnknownProvider => {
            problem(StatusCode::NOT_FOUND, "no provider of this name takes webhooks")
        }
        IntakeAnswer::Unverified => problem(StatusCode::UNAUTHORIZED, "not verified"),
        IntakeAnswer::Malformed(what) => problem(StatusCode::BAD_REQUEST, &what),
        IntakeAnswer::Unavailable => {
            let later = [(header::RETRY_AFTER, "5")];
            (later, problem(StatusCode::SERVICE_UNAVAILABLE, "it cannot be stored now; send it again"))
                .into_response()
        }
    }
}

/// Signatures cover the bytes as they are: what is packed is refused, not unpacked.
fn is_identity(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

async fn read(body: Body) -> Result<Bytes, Response> {
    let too_large = || problem(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 1 MiB");
    let announced = http_size(&body);
    if announced > MAX_BODY {
        return Err(too_large());
    }
    let mut chunks = body.into_data_stream();
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| problem(StatusCode::BAD_REQUEST, "the body ended early"))?;
        if bytes.len() + chunk.len() > MAX_BODY {
            return Err(too_large());
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes.freeze())
}

/// The least that the body will have, as announced.
fn http_size(body: &Body) -> usize {
    let lower = axum::body::HttpBody::size_hint(body).lower();
    usize::try_from(lower).unwrap_or(usize::MAX)
}

#[cfg(test)]
#[path = "edge_tests.rs"]
mod tests;

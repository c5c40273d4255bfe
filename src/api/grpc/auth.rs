//! What happens before a handler: who calls, whether they may, and how long the call may take.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::{body::Body, extract::Request, http::HeaderMap, response::Response};
use futures_util::future::{BoxFuture, Either, FutureExt, Ready, ready};
use tower::{Layer, Service as TowerService};
use tracing::{Instrument, Span, field};

use super::{Budget, status};
use crate::service::{Caller, Error, Kind, Scopes, Service, keys};

/// What every path of this API starts with.
const PACKAGE: &str = "/headlessly.communication.v1.";

/// What a method needs; `None` when there is no such method. A method that is not in this table is not served.
fn scope_of(method: &str) -> Option<Scopes> {
    Some(match method {
        "MessageService/Create"
        | "MessageService/Update"
        | "MessageService/Delete"
        | "MessageService/Send"
        | "MessageService/SendBatch"
        | "MessageService/Deliver"
        | "MessageService/Read"
        | "MessageService/Fail"
        | "MessageService/Cancel"
        | "MessageService/Reschedule"
        | "MessageService/Retry" => Scopes::SEND,
        "MessageService/Get" | "MessageService/Find" | "MessageService/Watch" | "MessageService/Explain" => {
            Scopes::READ
        }
        "ContactService/Create"
        | "ContactService/Update"
        | "ContactService/Delete"
        | "ContactService/AddDevice"
        | "ContactService/RetireDevice" => Scopes::SEND,
        "ContactService/Get" | "ContactService/Find" => Scopes::READ,
        "ActivityService/Create" | "TicketService/Create" => Scopes::SEND,
        "ActivityService/Get" | "ActivityService/Find" | "TicketService/Get" | "TicketService/Find" => {
            Scopes::READ
        }
        "EventService/List" | "EventService/Watch" => Scopes::READ,
        "ProviderService/List" | "ProviderService/Probe" => Scopes::ADMIN,
        "ApiKeyService/Create" | "ApiKeyService/List" | "ApiKeyService/Revoke" => Scopes::ADMIN,
        _ => return None,
    })
}

/// Services that are open to everybody who reaches the port: health and reflection.
fn is_public(path: &str) -> bool {
    path.starts_with("/grpc.health.v1.Health/")
        || path.starts_with("/grpc.reflection.v1.ServerReflection/")
        || path.starts_with("/grpc.reflection.v1alpha.ServerReflection/")
}

/// Puts [`Auth`] before the handlers.
#[derive(Clone)]
pub struct AuthLayer {
    service: Service,
    /// Who calls without a key, where that is allowed.
    anonymous: Option<Arc<Caller>>,
}

impl AuthLayer {
    /// With `open`, calls without a key are the local user's.
    pub fn new(service: Service, open: bool) -> Self {
        Self { service, anonymous: open.then(|| Arc::new(Caller::local())) }
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth { inner, layer: self.clone() }
    }
}

/// Lets a call through with its caller in the extensions, or refuses it.
#[derive(Clone)]
pub struct Auth<S> {
    inner: S,
    layer: AuthLayer,
}

/// What is known about a call without asking the store.
enum Admission {
    /// It goes on.
    Pass,
    /// It goes on if this key opens the scope.
    Key(String, Scopes),
}

type Answer = Result<Response, Infallible>;

impl<S> TowerService<Request> for Auth<S>
where
    S: TowerService<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Either<S::Future, Either<Ready<Answer>, BoxFuture<'static, Answer>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let admission = match self.layer.admit(&mut request) {
            Ok(admission) => admission,
            Err(error) => return Either::Right(Either::Left(ready(Ok(refuse(error))))),
        };
        if matches!(admission, Admission::Pass) && !tracing::enabled!(tracing::Level::DEBUG) {
            return Either::Left(self.inner.call(request));
        }
        // The clone is the one that is ready; the original takes its place.
        let clone = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, clone);
        let span = tracing::debug_span!("rpc", method = request.uri().path(), code = field::Empty);
        let service = self.layer.service.clone();
        Either::Right(Either::Right(handle(inner, service, admission, request).instrument(span).boxed()))
    }
}

async fn handle<S>(mut inner: S, service: Service, admission: Admission, mut request: Request) -> Answer
where
    S: TowerService<Request, Response = Response, Error = Infallible>,
{
    let admitted = match admission {
        Admission::Pass => Ok(()),
        Admission::Key(key, needed) => match service.authenticate(&key).await {
            Ok(caller) if caller.scopes.allow(needed) => {
                request.extensions_mut().insert(caller);
                Ok(())
            }
            Ok(_) => Err(keys::permission_denied(needed)),
            Err(error) => Err(error),
        },
    };
    let response = match admitted {
        Ok(()) => inner.call(request).await?,
        Err(error) => refuse(error),
    };
    // In the head only when the call failed before its first message; the trailers of a stream are not waited for.
    let code = response.headers().get("grpc-status").and_then(|code| code.to_str().ok());
    Span::current().record("code", code.unwrap_or("0"));
    Ok(response)
}

impl AuthLayer {
    fn admit(&self, request: &mut Request) -> Result<Admission, Error> {
        let path = request.uri().path();
        if is_public(path) {
            return Ok(Admission::Pass);
        }
        let needed = path.strip_prefix(PACKAGE).and_then(scope_of).ok_or_else(unknown_method)?;
        let key = bearer(request.headers())?;
        let budget = budget(request.headers())?;
        if key.is_none() && is_foreign_page(request.headers()) {
            let message = "pages of other sites need an API key";
            return Err(Error::new(Kind::PermissionDenied, "FOREIGN_ORIGIN", message));
        }
        let key = key.map(str::to_owned);
        if let Some(budget) = budget {
            request.extensions_mut().insert(Budget(budget));
        }
        match (key, &self.anonymous) {
            (Some(key), _) => Ok(Admission::Key(key, needed)),
            (None, Some(anonymous)) => {
                request.extensions_mut().insert(anonymous.clone());
                Ok(Admission::Pass)
            }
            (None, None) => Err(keys::unauthenticated()),
        }
    }
}

fn unknown_method() -> Error {
    Error::new(
        Kind::Unimplemented,
        "UNKNOWN_METHOD",
        "there is no such method; reflection lists what there is",
    )
}

fn refuse(error: Error) -> Response {
    status::of(error).into_http::<Body>()
}

/// The key that was shown; `None` when there is no such header.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Error> {
    let mut values = headers.get_all("authorization").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let value = value.to_str().ok().filter(|_| values.next().is_none()).unwrap_or_default();
    let (scheme, key) = value.split_once(' ').unwrap_or_default();
    let key = key.trim();
    if scheme.eq_ignore_ascii_case("bearer") && !key.is_empty() {
        Ok(Some(key))
    } else {
        Err(keys::unauthenticated())
    }
}

/// Whether a browser sends this for a page that is not of this machine. Such a page may reach a loopback port under a name of its
/// own (DNS rebinding), where being local must not count.
fn is_foreign_page(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get("origin") else { return false };
    let host = origin.to_str().unwrap_or_default().split_once("://").map_or("", |(_, host)| host);
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name);
    !(name == "localhost" || name.ends_with(".localhost") || name == "127.0.0.1" || name == "[::1]")
}

/// The value of `grpc-timeout`: up to 8 digits and a unit (gRPC over HTTP/2, "Requests").
fn budget(headers: &HeaderMap) -> Result<Option<Duration>, Error> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let wrong =
        || Error::invalid("grpc-timeout", "must be 1 to 8 digits and one of H, M, S, m, u, n, such as `30S`");
    let text = value.to_str().map_err(|_| wrong())?;
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let budget = match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return Err(wrong()),
    };
    if budget.is_zero() {
        return Err(Error::new(
            Kind::DeadlineExceeded,
            "DEADLINE_EXCEEDED",
            "the call came with no time left; nothing was done",
        ));
    }
    Ok(Some(budget))
}

/// The services of this API by full name, as compiled.
#[cfg(test)]
pub(crate) fn service_names() -> Vec<String> {
    methods().into_iter().map(|(service, _)| format!("{}{service}", &PACKAGE[1..])).collect()
}

#[cfg(test)]
fn methods() -> Vec<(String, String)> {
    let set: prost_types::FileDescriptorSet =
        prost::Message::decode(crate::pb::DESCRIPTORS).unwrap_or_default();
    let ours = set.file.into_iter().filter(|file| file.package() == "headlessly.communication.v1");
    let services = ours.flat_map(|file| file.service);
    let methods = services.flat_map(|service| {
        let name = service.name().to_owned();
        service.method.into_iter().map(move |method| (name.clone(), method.name().to_owned()))
    });
    methods.collect()
}

#[cfg(test)]
#[path = "auth_tests.rs"]
mod tests;

//! One exchange over HTTP, with the question "may the vendor have taken it?" answered on every way out.

use std::{error::Error as _, time::Duration};

use reqwest::{Client, Method, RequestBuilder, Url, redirect::Policy};

use super::{
    answer::{Answer, BODY_LIMIT},
    endpoint,
};
use crate::contract::{ConfigError, Fault, SendError};

/// How long a connection may take to stand, name look-up and TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The HTTP client of one provider instance: its own pool, no redirects, time-outs set.
#[derive(Clone, Debug)]
pub struct Http {
    client: Client,
}

impl Http {
    /// A client for the endpoint at `base`. Loopback endpoints are reached without the proxy of the environment.
    ///
    /// # Errors
    /// When TLS cannot be set up, as on a machine without root certificates.
    pub fn new(base: &Url) -> Result<Self, ConfigError> {
        install_crypto();
        let mut builder = Client::builder()
            .user_agent(concat!("headlessly-communication/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .tcp_keepalive(Duration::from_secs(30))
            // Shorter than the idle limit of common load balancers (60 s), so that we close first: a request written
            // into a connection that the other end is closing is an ambiguous one.
            .pool_idle_timeout(Duration::from_secs(50))
            .pool_max_idle_per_host(64)
            .http2_keep_alive_interval(Duration::from_secs(30))
            .http2_keep_alive_timeout(Duration::from_secs(10))
            .http2_max_header_list_size(64 * 1024);
        if endpoint::is_loopback(base) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| {
            ConfigError::new("base_url", format!("cannot be reached from here: {}", root_cause(&error)))
                .hint("TLS needs the root certificates of the system, such as the package ca-certificates")
        })?;
        Ok(Self { client })
    }

    /// A request to this URL.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends the request and reads the whole answer, both within `deadline`.
    ///
    /// # Errors
    /// - [`Fault::Transient`]: no connection stood (name, TCP, TLS), so nothing was sent.
    /// - [`Fault::Rejected`]: the request could not be built.
    /// - [`Fault::Ambiguous`]: the time ran out or the connection broke later, or the answer says 2xx and its body is cut
    ///   or exceeds [`BODY_LIMIT`].
    pub async fn exchange(&self, request: RequestBuilder, deadline: Duration) -> Result<Answer, SendError> {
        let request = request.timeout(deadline).build().map_err(|error| failed(error, deadline))?;
        let mut response = self.client.execute(request).await.map_err(|error| failed(error, deadline))?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = Vec::new();
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= BODY_LIMIT => body.extend_from_slice(&chunk),
                Ok(None) => break,
                // A refusal is a refusal, however its explanation ends.
                _ if !status.is_success() => break,
                Ok(Some(_)) => {
                    return Err(SendError::new(Fault::Ambiguous, "the answer is longer than 1 MiB"));
                }
                Err(error) => return Err(failed(error, deadline)),
            }
        }
        Ok(Answer { status, headers, body: body.into() })
    }
}

/// Makes aws-lc-rs the crypto of this process, unless one is chosen already.
pub fn install_crypto() {
    // An error means that somebody was first, which is as good.
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
}

fn failed(error: reqwest::Error, deadline: Duration) -> SendError {
    // The URL may carry secrets in its path or query.
    let error = error.without_url();
    let (fault, detail) = if error.is_builder() {
        (Fault::Rejected, "the request cannot be built".to_owned())
    } else if error.is_connect() {
        (Fault::Transient, format!("no connection: {}", root_cause(&error)))
    } else if error.is_timeout() {
        (Fault::Ambiguous, format!("no complete answer within {} s", deadline.as_secs_f32()))
    } else {
        (
            Fault::Ambiguous,
            format!("the connection broke before the answer was complete: {}", root_cause(&error)),
        )
    };
    SendError::new(fault, detail).source(error)
}

/// The innermost error: the operating system's or the TLS library's own words.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(next) = cause.and_then(std::error::Error::source) {
        cause = Some(next);
    }
    cause.map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::testing::{Step, Wire};

    const DEADLINE: Duration = Duration::from_secs(20);

    async fn exchange(url: &str, deadline: Duration) -> Result<Answer, SendError> {
        let url = Url::parse(url).unwrap();
        let http = Http::new(&url).unwrap();
        http.exchange(http.request(Method::POST, url).body("x"), deadline).await
    }

    async fn raw(answer: &[u8]) -> Result<Answer, SendError> {
        let wire = Wire::start(vec![Step::Raw(answer.to_vec())]).await.unwrap();
        exchange(&wire.url(), DEADLINE).await
    }

    #[tokio::test]
    async fn whole_answers() {
        let answer =
            raw(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 2\r\n\r\nhi").await;
        let answer = answer.unwrap();
        assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (302, b"hi".as_slice()));
    }

    #[tokio::test]
    async fn broken_answers() {
        let limit = BODY_LIMIT + 1;
        let long =
            [format!("HTTP/1.1 200 OK\r\ncontent-length: {limit}\r\n\r\n").into_bytes(), vec![b'x'; limit]];
        let table: [(&[u8], Fault); 5] = [
            (b"", Fault::Ambiguous),
            (b"nonsense\r\n\r\n", Fault::Ambiguous),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhi", Fault::Ambiguous),
            (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nhi!", Fault::Ambiguous),
            (&long.concat(), Fault::Ambiguous),
        ];
        for (bytes, fault) in table {
            let error = raw(bytes).await.unwrap_err();
            assert_eq!(error.fault, fault, "{error:?}");
        }
        let refused = raw(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nhi").await.unwrap();
        assert_eq!(refused.refusal(Default::default()).fault, Fault::Rejected);
    }

    #[tokio::test]
    async fn silence_is_ambiguous() {
        let wire = Wire::start(vec![Step::Hold]).await.unwrap();
        let error = exchange(&wire.url(), Duration::from_millis(200)).await.unwrap_err();
        assert_eq!(error.fault, Fault::Ambiguous);
        assert_eq!(wire.seen().len(), 1);
    }

    #[tokio::test]
    async fn what_never_connected_is_transient() {
        // A server that speaks no TLS, and a port where nobody listens.
        let wire = Wire::start(Vec::new()).await.unwrap();
        let plain = wire.url().replace("http://", "https://");
        for url in [plain, Wire::nobody().unwrap()] {
            let error = exchange(&format!("{url}/secret-path"), DEADLINE).await.unwrap_err();
            assert_eq!(error.fault, Fault::Transient, "{url}: {error:?}");
            assert!(!format!("{error:?}").contains("secret-path"), "the URL is shown: {error:?}");
        }
        assert!(wire.seen().is_empty());
    }
}

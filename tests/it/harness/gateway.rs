//! A vendor's HTTP interface on the loopback interface, played by a function.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Method, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::within;

/// A request that came.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) time: std::time::SystemTime,
}

impl Received {
    /// A field of a form.
    pub(crate) fn form(&self, name: &str) -> Option<String> {
        let query = String::from_utf8(self.body.to_vec()).unwrap();
        let url = reqwest::Url::parse(&format!("http://x/?{query}")).unwrap();
        url.query_pairs().find(|(have, _)| have == name).map(|(_, value)| value.into_owned())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// A string of the body.
    pub(crate) fn text(&self, pointer: &str) -> String {
        self.json().pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// Listens until it is dropped.
pub(crate) struct Gateway {
    url: String,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Seen {
    requests: Mutex<Vec<Received>>,
    count: watch::Sender<usize>,
}

impl Gateway {
    /// A vendor that answers by this function, in JSON.
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Received) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = (u16, Value)> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Seen::default());
        let handle = move |State(seen): State<Arc<Seen>>,
                           method: Method,
                           uri: Uri,
                           headers: HeaderMap,
                           body: Bytes| async move {
            let (path, time) = (uri.path().to_owned(), std::time::SystemTime::now());
            let received = Received { method, path, headers, body, time };
            seen.requests.lock().unwrap_or_else(PoisonError::into_inner).push(received.clone());
            seen.count.send_modify(|count| *count += 1);
            let (status, body) = answer(received).await;
            let json = [("content-type", "application/json")];
            let response: Response =
                (StatusCode::from_u16(status).unwrap(), json, body.to_string()).into_response();
            response
        };
        let router = Router::new().fallback(handle).with_state(seen.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, seen, task }
    }

    /// Without a slash at the end.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Received> {
        self.seen.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The requests, once there are so many.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Received> {
        let mut have = self.seen.count.subscribe();
        within(&format!("request {count} to the vendor"), have.wait_for(|have| *have >= count))
            .await
            .unwrap();
        self.seen()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.task.abort();
    }
}

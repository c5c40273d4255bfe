use std::fmt;

use http::{HeaderName, HeaderValue, header::CONTENT_TYPE};
use reqwest::{Method, RequestBuilder, Url};
use secrecy::{ExposeSecret, SecretString};

use super::template::{Engine, Escape, TemplateId, Tree};
use crate::{
    contract::{ConfigError, Dispatch, Fault, SendError},
    shared::{endpoint, http::Http},
};

/// How the request proves who sends it.
pub(super) enum Auth {
    Bearer(SecretString),
    Basic(String, SecretString),
}

impl Auth {
    pub(super) fn secret(&self) -> &SecretString {
        match self {
            Self::Bearer(secret) | Self::Basic(_, secret) => secret,
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer(_) => "Bearer(redacted)",
            Self::Basic(..) => "Basic(redacted)",
        })
    }
}

/// What the request carries.
#[derive(Debug)]
pub(super) enum Payload {
    Empty,
    Json(Tree),
    Form(Vec<(String, TemplateId)>),
    Text { template: TemplateId, content_type: HeaderValue },
}

/// The request of a message, with holes.
#[derive(Debug)]
pub(super) struct Template {
    engine: Engine,
    method: Method,
    origin: Url,
    url: TemplateId,
    headers: Vec<(HeaderName, TemplateId)>,
    auth: Option<Auth>,
    payload: Payload,
}

impl Template {
    pub(super) fn new(
        mut engine: Engine,
        method: Method,
        url: &str,
        allow_insecure: bool,
        headers: Vec<(HeaderName, TemplateId)>,
        auth: Option<Auth>,
        payload: Payload,
    ) -> Result<Self, ConfigError> {
        let origin = origin(url, allow_insecure)?;
        let url = engine.add("url", url, Escape::Url)?;
        Ok(Self { engine, method, origin, url, headers, auth, payload })
    }

    /// Scheme, host and port; the same for every message.
    pub(super) fn origin(&self) -> &Url {
        &self.origin
    }

    /// Whether the vendor is told by what to know a repetition.
    pub(super) fn names_the_message(&self) -> bool {
        self.engine.uses("idempotency_key") || self.engine.uses("message.id")
    }

    /// The request of this message.
    ///
    /// # Errors
    /// [`Fault::Rejected`] when the message does not fit into it.
    pub(super) fn render(
        &self,
        http: &Http,
        dispatch: &Dispatch,
        max_body: usize,
    ) -> Result<RequestBuilder, SendError> {
        let length = dispatch.body.len();
        if length > max_body {
            return Err(refuse(format!("the text has {length} bytes, max_body_bytes allows {max_body}")));
        }
        if !dispatch.attachments.is_empty() {
            return Err(refuse("attachments cannot be sent by this provider".to_owned()));
        }
        let context = self.engine.context(dispatch);
        let mut request = http.request(self.method.clone(), self.url(&context)?);
        for (name, template) in &self.headers {
            request = request.header(name, header_value(name, &self.engine.render(*template, &context)?)?);
        }
        request = match &self.auth {
            Some(Auth::Bearer(token)) => request.bearer_auth(token.expose_secret()),
            Some(Auth::Basic(user, password)) => request.basic_auth(user, Some(password.expose_secret())),
            None => request,
        };
        Ok(match &self.payload {
            Payload::Empty => request,
            Payload::Json(tree) => request.json(&self.engine.render_tree(tree, &context)?),
            Payload::Form(fields) => {
                let mut form = Vec::with_capacity(fields.len());
                for (name, template) in fields {
                    form.push((name.as_str(), self.engine.render(*template, &context)?));
                }
                request.form(&form)
            }
            Payload::Text { template, content_type } => request
                .header(CONTENT_TYPE, content_type.clone())
                .body(self.engine.render(*template, &context)?),
        })
    }

    fn url(&self, context: &minijinja::Value) -> Result<Url, SendError> {
        let text = self.engine.render(self.url, context)?;
        let url = Url::parse(&text).map_err(|_| refuse("the template `url` gives no URL".to_owned()))?;
        // Cannot happen while values are percent-encoded, and must not.
        if url.origin() == self.origin.origin() {
            Ok(url)
        } else {
            Err(refuse("the template `url` leads to another host".to_owned()))
        }
    }
}

/// The part of a URL template that names the host: fixed, so that no message decides where credentials go.
fn origin(url: &str, allow_insecure: bool) -> Result<Url, ConfigError> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    let origin = &url[..end];
    if origin.contains(['{', '}']) {
        return Err(
            ConfigError::new("url", "has a template in its host").hint("use templates in the path and query")
        );
    }
    endpoint::base_url("url", origin, allow_insecure)
}

/// No line ends and no control characters: a value cannot become a header of its own (RFC 9110 section 5.5).
fn header_value(name: &HeaderName, text: &str) -> Result<HeaderValue, SendError> {
    let mut value = HeaderValue::from_bytes(text.as_bytes())
        .map_err(|_| refuse(format!("the header {name} would hold a line end or a control character")))?;
    value.set_sensitive(true);
    Ok(value)
}

fn refuse(detail: String) -> SendError {
    SendError::new(Fault::Rejected, detail)
}

//! A request to a directory, while it is put together.

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use serde::Serialize;
use url::Url;

use super::holds::{Holds, Kind};

/// See the module. What does not fit together is told when it is built.
#[derive(Debug)]
pub(super) struct RequestBuilder {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Vec<u8>,
    wrong: Option<String>,
}

impl RequestBuilder {
    /// For something of the directory.
    pub fn new(method: Method, url: Url) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("chatd/", env!("CARGO_PKG_VERSION"))));
        Self { method, url, headers, body: Vec::new(), wrong: None }
    }

    /// With a header.
    pub fn header(mut self, name: &'static str, value: impl AsRef<str>) -> Self {
        match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.as_ref())) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            // The value may be a secret.
            _ => self.wrong = Some(format!("{name} cannot be sent")),
        }
        self
    }

    /// As the member whose session has this token.
    pub fn bearer_auth(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// With these bytes as they are.
    pub fn body(mut self, body: Vec<u8>) -> Self {
        self.body = body;
        self
    }

    /// With a value as JSON.
    pub fn json(mut self, value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.body = body,
            Err(error) => self.wrong = Some(error.to_string()),
        }
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    /// The request, and what kind of request it is.
    ///
    /// # Errors
    /// What cannot be sent.
    pub fn build(self) -> Result<(Kind, Request<Full<Bytes>>), String> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        let kind = Holds::kind(&self.method, &self.url);
        let mut request = Request::builder().method(self.method).uri(self.url.as_str());
        if let Some(headers) = request.headers_mut() {
            *headers = self.headers;
        }
        Ok((kind, request.body(Full::new(Bytes::from(self.body))).map_err(|error| error.to_string())?))
    }
}

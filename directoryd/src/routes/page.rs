//! `GET /`: a small page for people. Under `--list public` it shows who is there, else the domain and a count.

use std::fmt::Write;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Extension, Query, State};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use proto::name::Name;
use serde::Deserialize;

use crate::config::ListPolicy;
use crate::http::answer::Operation;
use crate::http::extract::query_refused;
use crate::http::limits::Peer;
use crate::metrics::Op;
use crate::state::{App, Directory};

/// Names on one page.
const NAMES: usize = 500;
/// Nothing but the page's own style: no script, no image, no frame, nowhere to send a form.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Sent along: a header that every answer could do without, and that costs a browser's mistakes.
const NO_SNIFF: (HeaderName, HeaderValue) = (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem}\
ul{list-style:none;padding:0;columns:12rem}li::before{content:'\\25cb';margin-right:.5rem;color:#888}\
li.online::before{content:'\\25cf';color:#080}";

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PageQuery {
    after: Option<String>,
}

pub(super) async fn page(
    State(directory): App,
    Extension(peer): Extension<Peer>,
    headers: axum::http::HeaderMap,
    query: Result<Query<PageQuery>, QueryRejection>,
) -> Response {
    let operation = Operation::new(Op::Other, peer.address, "page", &directory.front.metrics);
    let result = directory.lookup_allowed(peer, &headers).and_then(|_| {
        let Query(query) = query.map_err(|rejection| query_refused(&rejection))?;
        Ok(render(&directory, query.after.as_deref()))
    });
    operation.end(result.map(|html: String| {
        let policy = (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        ([policy, NO_SNIFF], Html(html)).into_response()
    }))
}

fn render(directory: &Directory, after: Option<&str>) -> String {
    let origin = escape(&directory.config.origin);
    let count = directory.cluster.accounts();
    let people = if count == 1 { "1 person".to_owned() } else { format!("{count} people") };
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{origin}</title><style>{STYLE}</style><h1>{origin}</h1><p>A chat directory: {people}, {} connected.</p>",
        directory.cluster.connected().len()
    );
    if directory.front.live.get().list == ListPolicy::Public {
        let after = after.and_then(|text| Name::parse(text).ok());
        let (entries, more) = directory.cluster.page(after.as_ref(), NAMES, &|_| true);
        out.push_str("<ul>");
        for entry in &entries {
            let online = entry.show_online && directory.cluster.status(entry.account).online;
            let class = if online { " class=\"online\" title=\"online\"" } else { "" };
            let _ = write!(out, "<li{class}>{}</li>", escape(entry.name.as_str()));
        }
        out.push_str("</ul>");
        if let Some(last) = entries.last().filter(|_| more) {
            let _ = write!(out, "<p><a href=\"/?after={}\">more</a></p>", percent(last.name.as_str()));
        }
    }
    out.push_str("<p><a href=\"/openapi.json\">API</a></p></html>\n");
    out
}

/// For element content and quoted attributes. Names hold none of these; the page does not rely on it.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// For a value in a URL's query (RFC 3986, section 2.3).
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_gets_out_of_its_place() {
        assert_eq!(escape("<b a='1' b=\"2\">&"), "&lt;b a=&#39;1&#39; b=&quot;2&quot;&gt;&amp;");
        assert_eq!(percent("a+b c&é"), "a%2Bb%20c%26%C3%A9");
    }
}

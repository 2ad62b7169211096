//! Where a directory is: which URLs this build may use.

use reqwest::Url;

use super::error::DirectoryError;

/// A URL that this build may use.
pub(super) fn parse_base(text: &str) -> Result<Url, DirectoryError> {
    let bad = |reason: &str| DirectoryError::BadUrl { url: text.to_owned(), reason: reason.to_owned() };
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&full).map_err(|error| bad(&error.to_string()))?;
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it names no host"))?.to_owned();
    let loopback = match host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback(),
        Err(_) => host == "localhost",
    };
    match url.scheme() {
        "https" => return Err(DirectoryError::TlsNotSupported(text.to_owned())),
        "http" if loopback => {}
        "http" if !text.contains("://") => return Err(DirectoryError::DomainNotSupported(text.to_owned())),
        "http" => return Err(DirectoryError::PlainHttp(host)),
        _ => return Err(bad("its scheme is neither https nor http")),
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.path() != "/" {
        return Err(bad("it has more than scheme, host and port"));
    }
    Ok(url)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn urls_that_may_be_used() {
        for (given, url) in [
            ("http://127.0.0.1:7470", "http://127.0.0.1:7470"),
            ("http://127.0.0.1:7470/", "http://127.0.0.1:7470"),
            ("127.0.0.1:7470", "http://127.0.0.1:7470"),
            ("localhost:7470", "http://localhost:7470"),
            ("http://[::1]:7470", "http://[::1]:7470"),
        ] {
            assert_eq!(parse_base(given).unwrap().as_str().trim_end_matches('/'), url);
        }
    }

    #[test]
    fn urls_that_may_not() {
        type Is = fn(&DirectoryError) -> bool;
        let cases: &[(&str, Is)] = &[
            ("http://example.org:7470", |e| matches!(e, DirectoryError::PlainHttp(_))),
            ("http://192.0.2.1", |e| matches!(e, DirectoryError::PlainHttp(_))),
            ("http://localhost.example.org", |e| matches!(e, DirectoryError::PlainHttp(_))),
            ("https://example.org", |e| matches!(e, DirectoryError::TlsNotSupported(_))),
            ("example.org", |e| matches!(e, DirectoryError::DomainNotSupported(_))),
            ("ftp://127.0.0.1", |e| matches!(e, DirectoryError::BadUrl { .. })),
            ("http://me:secret@127.0.0.1", |e| matches!(e, DirectoryError::BadUrl { .. })),
            ("http://127.0.0.1/path", |e| matches!(e, DirectoryError::BadUrl { .. })),
            ("http://", |e| matches!(e, DirectoryError::BadUrl { .. })),
            ("", |e| matches!(e, DirectoryError::BadUrl { .. })),
        ];
        for (url, expected) in cases {
            let error = parse_base(url).unwrap_err();
            assert!(expected(&error), "{url}: {error:?}");
        }
    }
}

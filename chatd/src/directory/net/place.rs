//! Where a directory is, in the words of whoever names it: the URL of one, or the domain that it serves.

use std::fmt;
use std::net::IpAddr;

use proto::directory::SpkiPin;
use proto::name::parse_domain;
use url::Url;

use crate::directory::error::DirectoryError;

/// A directory that this program may ask.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On this machine, by plain HTTP: `http://127.0.0.1:7470`.
    Near(Url),
    /// At a URL, by TLS: `https://dir.example.org:7470`.
    Host {
        /// Without the pin.
        url: Url,
        /// As it stands in the URL, an IPv6 address without its brackets.
        host: String,
        /// Of TCP.
        port: u16,
        /// The key that it must show. Without one its certificate must be an authority's, for this host.
        pin: Option<SpkiPin>,
    },
    /// Wherever the DNS says that the directory of this domain is, by TLS with a certificate for the domain: `example.org`.
    Domain {
        /// In lower case.
        domain: String,
        /// What is asked for there.
        url: Url,
    },
}

/// In its normal form, from which it can be made again.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Near(url) | Self::Host { url, pin: None, .. } => f.write_str(bare(url)),
            Self::Host { url, pin: Some(pin), .. } => write!(f, "{}#{pin}", bare(url)),
            Self::Domain { domain, .. } => f.write_str(domain),
        }
    }
}

fn bare(url: &Url) -> &str {
    url.as_str().trim_end_matches('/')
}

impl Place {
    /// Reads it: a URL, a domain, or `127.0.0.1:7470` for a directory of this machine.
    ///
    /// # Errors
    /// When it is neither, or would send names over a network unprotected.
    pub fn parse(text: &str) -> Result<Self, DirectoryError> {
        let bad = |reason: &str| DirectoryError::BadUrl { url: shortened(text), reason: reason.to_owned() };
        if text.contains("://") {
            return Self::of_url(text);
        }
        let near = Url::parse(&format!("http://{text}")).ok().filter(is_loopback);
        if near.is_some() {
            return Self::of_url(&format!("http://{text}"));
        }
        let domain = parse_domain(text).ok().filter(|domain| domain.contains('.') && domain.parse::<IpAddr>().is_err());
        let domain = domain.ok_or_else(|| {
            bad("a directory elsewhere is named by its domain, or by a URL that begins with https://")
        })?;
        let url = Url::parse(&format!("https://{domain}")).map_err(|error| bad(&error.to_string()))?;
        Ok(Self::Domain { domain, url })
    }

    fn of_url(text: &str) -> Result<Self, DirectoryError> {
        let bad = |reason: &str| DirectoryError::BadUrl { url: shortened(text), reason: reason.to_owned() };
        let mut url = Url::parse(text).map_err(|error| bad(&error.to_string()))?;
        let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| bad("it names no host"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.path() != "/" {
            return Err(bad("it has more than scheme, host and port"));
        }
        let pin = url.fragment().map(str::parse::<SpkiPin>).transpose().map_err(|error| bad(&error.to_string()))?;
        url.set_fragment(None);
        match url.scheme() {
            "https" => {
                let port = url.port_or_known_default().unwrap_or(443);
                Ok(Self::Host { url, host, port, pin })
            }
            "http" if pin.is_some() => Err(bad("a key is pinned for https alone")),
            "http" if is_loopback(&url) => Ok(Self::Near(url)),
            "http" => Err(DirectoryError::PlainHttp(host)),
            _ => Err(bad("its scheme is neither https nor http")),
        }
    }

    /// Below what URL things are asked for.
    pub fn url(&self) -> &Url {
        match self {
            Self::Near(url) | Self::Host { url, .. } | Self::Domain { url, .. } => url,
        }
    }

    /// Whether it is on this machine, by the word of whoever named it: what the DNS says counts for nothing.
    pub fn is_near(&self) -> bool {
        is_loopback(self.url())
    }

    /// The domain that it must serve, if it was named by one.
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::Domain { domain, .. } => Some(domain),
            Self::Near(_) | Self::Host { .. } => None,
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(host)) => host == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const PIN: &str = "#sha256-AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    #[test]
    fn places_that_may_be_used() {
        for (given, normal, near) in [
            ("http://127.0.0.1:7470", "http://127.0.0.1:7470", true),
            ("http://127.0.0.1:7470/", "http://127.0.0.1:7470", true),
            ("127.0.0.1:7470", "http://127.0.0.1:7470", true),
            ("localhost:7470", "http://localhost:7470", true),
            ("http://[::1]:7470", "http://[::1]:7470", true),
            ("https://127.0.0.1:7470", "https://127.0.0.1:7470", true),
            ("https://Dir.Example.org", "https://dir.example.org", false),
            ("https://dir.example.org:443/", "https://dir.example.org", false),
            ("https://[2001:db8::1]:7470", "https://[2001:db8::1]:7470", false),
            ("example.org", "example.org", false),
            ("Example.ORG.", "example.org", false),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", false),
            (&format!("https://192.0.2.1:7470{PIN}"), &format!("https://192.0.2.1:7470{PIN}"), false),
        ] {
            let place = Place::parse(given).unwrap();
            assert_eq!(place.to_string(), normal);
            assert_eq!(place.is_near(), near, "{given}");
            assert_eq!(Place::parse(normal).unwrap(), place, "the normal form is read as the same");
        }
        let Place::Host { host, port, .. } = Place::parse("https://[2001:db8::1]").unwrap() else { panic!() };
        assert_eq!((host.as_str(), port), ("2001:db8::1", 443));
        assert_eq!(Place::parse("example.org").unwrap().domain(), Some("example.org"));
        assert_eq!(Place::parse("https://example.org").unwrap().domain(), None);
    }

    #[test]
    fn places_that_may_not() {
        type Is = fn(&DirectoryError) -> bool;
        let bad: Is = |error| matches!(error, DirectoryError::BadUrl { .. });
        let plain: Is = |error| matches!(error, DirectoryError::PlainHttp(_));
        for (text, expected) in [
            ("http://example.org:7470", plain),
            ("http://192.0.2.1", plain),
            ("http://localhost.example.org", plain),
            ("example.org:7470", bad),
            ("192.0.2.1", bad),
            ("192.0.2.1:7470", bad),
            ("example", bad),
            ("exa mple.org", bad),
            ("ftp://127.0.0.1", bad),
            ("http://me:secret@127.0.0.1", bad),
            ("https://me@example.org", bad),
            ("http://127.0.0.1/path", bad),
            ("https://example.org/?a", bad),
            ("https://example.org/#sha256-AAAA", bad),
            ("https://example.org/#", bad),
            (&format!("http://127.0.0.1{PIN}"), bad),
            ("http://", bad),
            ("", bad),
        ] {
            let error = Place::parse(text).unwrap_err();
            assert!(expected(&error), "{text}: {error:?}");
        }
    }
}

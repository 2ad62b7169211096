//! Whether a request is meant for this directory, and where it came from.
//!
//! A browser on this machine can be made to ask us by a page from anywhere (DNS rebinding, forms): it then names that page
//! in `Host` or `Origin`. So both are compared with exact lists, before anything else is looked at. And whoever connects
//! can write `X-Forwarded-For`: only proxies that the operator has named are believed.
//!
//! Invariant: what cannot be understood makes nobody more than the address that the connection came from, and exempts
//! nobody from any limit.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, Uri, header};
use ipnet::IpNet;
use proto::directory::api::ErrorCode;
use proto::name::parse_domain;

use super::answer::Refusal;
use super::limits::Peer;
use crate::config::{Config, ConfigError};

/// Entries of `X-Forwarded-For` that are looked at, from the last one on: more proxies than that stand behind nobody.
const MAX_HOPS: usize = 8;

/// What requests are measured by.
#[derive(Debug)]
pub struct Gate {
    proxies: Vec<IpNet>,
    hosts: Vec<String>,
    origins: Vec<String>,
    limit_loopback: bool,
}

impl Gate {
    /// What the configuration says.
    ///
    /// # Errors
    /// The value that is no network, host or origin.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let network = |text: &String| {
            let one = text.parse().map(|ip: IpAddr| IpNet::from(ip.to_canonical()));
            one.or_else(|_| text.parse()).map_err(|_| {
                ConfigError::Value(format!("proxies: {text:?} is no address and no network such as 10.0.0.0/8"))
            })
        };
        let mut hosts = vec![config.origin.clone(), "localhost".into(), "127.0.0.1".into(), "[::1]".into()];
        if !config.listen.ip().is_unspecified() {
            hosts.push(literal(config.listen.ip()));
        }
        for host in &config.hosts {
            let ip = host.trim_matches(['[', ']']).parse().map(literal);
            hosts.push(match ip {
                Ok(ip) => ip,
                Err(_) => parse_domain(host).map_err(|error| ConfigError::Value(format!("hosts: {error}")))?,
            });
        }
        Ok(Self {
            proxies: config.proxies.iter().map(network).collect::<Result<_, _>>()?,
            hosts,
            origins: config.origins.clone(),
            limit_loopback: config.limit_loopback,
        })
    }

    /// Whether connections from an address are those of a proxy.
    pub fn is_proxy(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.proxies.iter().any(|network| network.contains(&address))
    }

    /// Who asks, on a connection from `address`.
    pub fn peer(&self, address: IpAddr, headers: &HeaderMap) -> Peer {
        let address = address.to_canonical();
        if !self.is_proxy(address) {
            return Peer { address, exempt: address.is_loopback() && !self.limit_loopback };
        }
        Peer { address: self.forwarded(headers).unwrap_or(address), exempt: false }
    }

    /// The last address that no proxy of ours has; what is left of it anybody could have written.
    fn forwarded(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let lines = headers.get_all("x-forwarded-for").iter().rev();
        let entries = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for entry in entries.take(MAX_HOPS) {
            let address = one_address(std::str::from_utf8(entry).ok()?.trim())?;
            if !self.is_proxy(address) {
                return Some(address);
            }
        }
        None
    }

    /// Whether the request is for this directory, and not from somebody else's page.
    ///
    /// # Errors
    /// What is wrong with `Host` or `Origin`.
    pub fn admit(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
        let mut named = headers.get_all(header::HOST).iter();
        let host = match (named.next(), named.next()) {
            (Some(host), None) => host.to_str().ok(),
            _ => None,
        };
        let listed = |host: &str| self.hosts.iter().any(|known| known.eq_ignore_ascii_case(without_port(host)));
        let absolute = uri.authority().is_none_or(|authority| listed(authority.as_str()));
        if !host.is_some_and(listed) || !absolute {
            return Err(Refusal::misdirected(
                "this directory is not called so; ask by its domain, or by a name that is listed under hosts in its \
                 configuration",
            ));
        }
        let mut origins = headers.get_all(header::ORIGIN).iter();
        if !origins.all(|origin| self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())) {
            return Err(Refusal::new(
                ErrorCode::NotAllowed,
                "pages of this origin may not use this directory; its operator can list it under origins",
            ));
        }
        Ok(())
    }
}

/// An address as proxies write it: bare, with a port, an IPv6 in brackets or not.
fn one_address(text: &str) -> Option<IpAddr> {
    let bare = text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    bare.or_else(with_port).or_else(bracketed).map(|ip| ip.to_canonical())
}

/// As it stands in a URL.
fn literal(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// `host` of `host:port`; brackets stay.
fn without_port(host: &str) -> &str {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !port.is_empty() => name,
        _ => host,
    };
    if name.starts_with('[') == name.ends_with(']') { name } else { host }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn gate(change: impl FnOnce(&mut Config)) -> Gate {
        let mut config = Config { origin: "example.org".into(), ..Config::default() };
        change(&mut config);
        Gate::new(&config).unwrap()
    }

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse::<header::HeaderName>().unwrap(), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn only_named_proxies_are_believed_and_nothing_unclear_is() {
        let proxied = gate(|config| config.proxies = vec!["127.0.0.1".into(), "10.0.0.0/8".into(), "::1".into()]);
        let said =
            |text: &'static str| proxied.peer("127.0.0.1".parse().unwrap(), &headers(&[("x-forwarded-for", text)]));
        for (text, client) in [
            ("192.0.2.7", "192.0.2.7"),
            ("192.0.2.7:4711", "192.0.2.7"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("198.51.100.1, 192.0.2.7", "192.0.2.7"),
            ("unknown, 192.0.2.7 , 10.1.2.3", "192.0.2.7"),
            // Not clear: the proxy itself.
            ("unknown", "127.0.0.1"),
            ("", "127.0.0.1"),
            ("_hidden", "127.0.0.1"),
            ("192.0.2.7, unknown", "127.0.0.1"),
            ("192.0.2.7,", "127.0.0.1"),
            ("192.0.2.7:port", "127.0.0.1"),
            ("127.0.0.1", "127.0.0.1"),
            ("10.0.0.1, 10.0.0.2", "127.0.0.1"),
        ] {
            assert_eq!(said(text), Peer { address: client.parse().unwrap(), exempt: false }, "{text:?}");
        }
        let absent = proxied.peer("127.0.0.1".parse().unwrap(), &HeaderMap::new());
        assert_eq!(absent, Peer { address: "127.0.0.1".parse().unwrap(), exempt: false });
        let lines = headers(&[("x-forwarded-for", "198.51.100.1"), ("x-forwarded-for", "192.0.2.7")]);
        assert_eq!(proxied.peer("10.9.9.9".parse().unwrap(), &lines).address, "192.0.2.7".parse::<IpAddr>().unwrap());
        // Who is not named writes what it likes.
        let forged = headers(&[("x-forwarded-for", "127.0.0.1")]);
        let address = "203.0.113.5".parse().unwrap();
        assert_eq!(proxied.peer(address, &forged), Peer { address, exempt: false });
        let here = "127.0.0.1".parse().unwrap();
        assert_eq!(
            gate(|_| {}).peer(here, &headers(&[("x-forwarded-for", "192.0.2.7")])),
            Peer { address: here, exempt: true }
        );
        assert!(!gate(|config| config.limit_loopback = true).peer(here, &HeaderMap::new()).exempt);
        assert!(Gate::new(&Config { proxies: vec!["a proxy".into()], ..Config::default() }).is_err());
    }

    #[test]
    fn hosts_and_origins_are_exact() {
        let gate = gate(|config| {
            config.hosts = vec!["Dir.example.net".into(), "192.0.2.1".into(), "2001:db8::1".into()];
            config.origins = vec!["https://app.example.org".into()];
        });
        let path: Uri = "/v1/nonce".parse().unwrap();
        let host = |host: &'static str| gate.admit(&path, &headers(&[("host", host)])).is_ok();
        for good in [
            "example.org",
            "EXAMPLE.org:443",
            "localhost:7470",
            "127.0.0.1:7470",
            "[::1]:7470",
            "[::1]",
            "dir.example.net",
            "192.0.2.1:80",
            "[2001:db8::1]:1",
        ] {
            assert!(host(good), "{good}");
        }
        for bad in [
            "",
            "evil.example.org",
            "example.org.",
            "example.org.evil.net",
            "127.0.0.1.evil.net",
            "localhost@evil.net",
            "evil.net:7470",
            "example.org:",
            "example.org:80:80",
            "[::1",
            "127.0.0.2",
        ] {
            assert!(!host(bad), "{bad}");
        }
        assert!(gate.admit(&path, &HeaderMap::new()).is_err(), "none");
        assert!(gate.admit(&path, &headers(&[("host", "localhost"), ("host", "evil.net")])).is_err(), "two");
        let whole: Uri = "http://evil.net/v1/nonce".parse().unwrap();
        assert!(gate.admit(&whole, &headers(&[("host", "localhost")])).is_err());
        let origin =
            |origin: &'static str| gate.admit(&path, &headers(&[("host", "localhost"), ("origin", origin)])).is_ok();
        assert!(origin("https://app.example.org"));
        for bad in [
            "https://evil.net",
            "null",
            "",
            "http://app.example.org",
            "https://app.example.org:8443",
            "http://localhost",
        ] {
            assert!(!origin(bad), "{bad}");
        }
    }
}

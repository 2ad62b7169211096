//! What an operator pastes elsewhere: the URL of a directory, the line by which people register, the records of its zone.

use proto::name::parse_domain;

use crate::config::{Config, Tls};
use crate::identity::Identity;
use crate::tls::certificate::Source;

/// Seconds for which resolvers keep a record: an hour, so that a directory that moves is found again within one.
const TTL_SECONDS: u32 = 3_600;

/// How clients write an address that is served with a certificate from `source`.
pub fn url(source: Option<&Source>, address: &str) -> String {
    match source.map(Source::pin) {
        None => format!("http://{address}"),
        Some(None) => format!("https://{address}"),
        Some(Some(pin)) => format!("https://{address}#{pin}"),
    }
}

/// What `--init` tells of a directory that has its key: what it is, and how people register.
pub fn init(config: &Config, identity: &Identity, source: Option<&Source>) -> String {
    let (origin, listen) = (&config.origin, config.listen);
    let host = match source {
        // Certificates of authorities name the domain.
        Some(Source::Files { .. }) => format!("{origin}:{}", listen.port()),
        _ if listen.ip().is_unspecified() => format!("{}:{}", target(config), listen.port()),
        _ => listen.to_string(),
    };
    let url = url(source, &host);
    let mut lines = vec![
        format!("{:<10}{origin}", "origin"),
        format!("{:<10}{identity}", "key"),
        format!("{:<10}{}", "data", config.data_dir.display()),
        format!("{:<10}{url}", "url"),
        format!("{:<10}chatctl register NAME --directory '{url}'", "register"),
    ];
    match config.tls() {
        Tls::Off if config.proxies.is_empty() => lines.push(format!(
            "Only people of this machine can use it, as it listens on {}. For others: listen = \"0.0.0.0:{}\"",
            listen.ip(),
            listen.port()
        )),
        Tls::Off => lines.push("Others give the URL of the proxy that stands in front.".to_owned()),
        Tls::Own if listen.ip().is_unspecified() => lines.push(format!(
            "{0} has to lead to this machine; otherwise write its name or address in the place of it, and list it under hosts.",
            target(config)
        )),
        Tls::Own => {}
        Tls::Files { .. } => {
            lines.push("Once the records that `directoryd dns-records` prints are in the zone, this is enough:".to_owned());
            lines.push(format!("{:<10}chatctl register NAME@{origin}", ""));
        }
    }
    lines.join("\n")
}

/// The name under which this machine is found: the first of `hosts` that is a domain, or else the origin.
fn target(config: &Config) -> String {
    let named = config.hosts.iter().find_map(|host| {
        let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
        parse_domain(host).ok().filter(|_| ip.is_err())
    });
    named.unwrap_or_else(|| config.origin.clone())
}

/// The records by which clients find the directory of a domain, for its zone file.
pub fn dns_records(config: &Config) -> String {
    let (origin, target) = (&config.origin, target(config));
    let mut lines = vec![
        format!("; the directory of {origin}"),
        format!("_chatd-directory._tcp.{origin}. {TTL_SECONDS} IN SRV 10 10 {} {target}.", config.listen.port()),
        format!(
            "; {target} needs an address (A, AAAA) and may be no alias (CNAME). Another machine that leads to the same directory"
        ),
        "; gets a line of its own: the lowest first number is asked first, and equal ones share by the second number."
            .to_owned(),
    ];
    match config.tls() {
        Tls::Files { .. } => {
            lines.push(format!("; The certificate has to name {origin}, whatever the machine is called."));
        }
        Tls::Own => lines.push(format!(
            "; Not yet: it shows a certificate of its own key, which is known by the URL of --init alone. Get one for {origin} from an\n\
             ; authority, and name it: tls_cert, tls_key."
        )),
        Tls::Off if config.proxies.is_empty() => lines.push(format!(
            "; Not yet: it listens on {} by plain HTTP, where only this machine reaches it. Listen on another address, with a\n\
             ; certificate for {origin}: listen, tls_cert, tls_key.",
            config.listen
        )),
        Tls::Off => lines.push(format!(
            "; Write the port of the proxy in the place of {}. Its certificate has to name {origin}.",
            config.listen.port()
        )),
    }
    lines.join("\n")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::TlsMode;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config { origin: "example.org".into(), ..Config::default() };
        change(&mut config);
        config.validated().unwrap()
    }

    #[test]
    fn the_record_names_the_machine_and_says_what_is_missing() {
        let files = |config: &mut Config| {
            config.listen = "0.0.0.0:7470".parse().unwrap();
            config.tls_cert = Some(PathBuf::from("c.pem"));
            config.tls_key = Some(PathBuf::from("k.pem"));
        };
        let record = |text: &str| text.lines().find(|line| !line.starts_with(';')).unwrap().to_owned();
        let text = dns_records(&config(files));
        assert_eq!(record(&text), "_chatd-directory._tcp.example.org. 3600 IN SRV 10 10 7470 example.org.");
        assert!(!text.contains("Not yet"), "{text}");
        let text = dns_records(&config(|config| {
            files(config);
            config.hosts = vec!["192.0.2.1".into(), "Dir.example.org".into()];
        }));
        assert!(record(&text).ends_with(" dir.example.org."), "{text}");
        assert!(dns_records(&config(|config| config.tls = TlsMode::Own)).contains("authority"));
        assert!(dns_records(&config(|_| {})).contains("only this machine"));
        assert!(dns_records(&config(|config| config.proxies = vec!["10.0.0.1".into()])).contains("proxy"));
        for text in [dns_records(&config(|_| {})), text] {
            assert_eq!(text.lines().filter(|line| !line.starts_with(';')).count(), 1, "all else is comment: {text}");
        }
    }

    #[test]
    fn what_is_served_by_which_certificate() {
        let at = |listen: &str, proxies: &[&str]| {
            config(|config| {
                config.listen = listen.parse().unwrap();
                config.proxies = proxies.iter().map(ToString::to_string).collect();
            })
        };
        assert_eq!(at("127.0.0.1:1", &[]).tls(), Tls::Off);
        assert_eq!(at("[::1]:1", &[]).tls(), Tls::Off);
        assert_eq!(at("0.0.0.0:1", &["10.0.0.1"]).tls(), Tls::Off);
        assert_eq!(at("0.0.0.0:1", &[]).tls(), Tls::Own, "nothing crosses a network unprotected");
        assert_eq!(at("192.0.2.1:1", &[]).tls(), Tls::Own);
        assert_eq!(config(|config| config.tls = TlsMode::Own).tls(), Tls::Own);
        let half = Config { tls_cert: Some(PathBuf::from("c.pem")), ..Config::default() };
        assert!(half.validated().unwrap_err().to_string().contains("tls_key"));
        let both = Config {
            tls: TlsMode::Own,
            tls_cert: Some(PathBuf::from("c.pem")),
            tls_key: Some(PathBuf::from("k.pem")),
            ..Config::default()
        };
        assert!(both.validated().is_err());
    }
}

#![allow(clippy::unwrap_used)]

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(Path::new("d.toml"), text)
}

#[test]
fn an_unknown_key_is_named_with_the_nearest() {
    for (text, message) in [
        ("orgin = 'a'", "d.toml:1: there is no key `orgin`; the nearest is `origin`"),
        (
            "origin = 'a'\n[limits]\nlookup_brust = 3",
            "d.toml:3: there is no key `lookup_brust`; the nearest is `lookup_burst`",
        ),
        ("colour = 'blue'", "d.toml:1: there is no key `colour`"),
    ] {
        assert_eq!(parse(text).unwrap_err().to_string(), message);
    }
    assert!(matches!(parse("listen = 7"), Err(ConfigError::Syntax { .. })));
    assert!(matches!(parse("["), Err(ConfigError::Syntax { .. })));
}

#[test]
fn what_may_change_in_a_running_directory_is_taken_over_and_the_rest_named() {
    let running = parse("origin = 'a.test'\nlog = 'info'").unwrap();
    let new = parse(
        "origin = 'b.test'\nlog = 'debug'\nhosts = ['dir.a.test']\nmailbox_envelopes = 7\n[limits]\nlookup_burst = 3",
    );
    let new = new.unwrap();
    let (live, restart) = running.changed(&new);
    assert_eq!(live, ["hosts", "mailbox_envelopes", "log", "limits.lookup_burst"]);
    assert_eq!(restart, ["origin"]);
    let adopted = running.adopting(new.clone());
    assert_eq!(adopted, Config { origin: "a.test".into(), ..new.clone() });
    assert_eq!(adopted.changed(&new).1, ["origin"], "it is named again until it has had its restart");
}

#[test]
fn each_key_is_taken_over_or_named_until_it_has_had_its_restart() {
    let old = Config::default();
    for section in Config::SECTIONS {
        for setting in section.settings.iter().filter(|setting| !["limits", "relay", "groups"].contains(&setting.name))
        {
            let mut table = old.table();
            let part = match section.name {
                "" => &mut table,
                name => table.get_mut(name).unwrap().as_table_mut().unwrap(),
            };
            let other = match (setting.name, part.get(setting.name).unwrap_or(&toml::Value::Boolean(false))) {
                ("tls", _) => "own".into(),
                ("tls_cert" | "tls_key", _) => "/another".into(),
                ("list", _) => "public".into(),
                ("log_format", _) => "json".into(),
                ("listen", _) => "127.0.0.1:1".into(),
                (_, toml::Value::Integer(number)) => (number + 1).into(),
                (_, toml::Value::Boolean(yes)) => (!yes).into(),
                (_, toml::Value::String(text)) => format!("{text}.test").into(),
                (_, toml::Value::Array(_)) => toml::Value::Array(vec!["a.test".into()]),
                (key, other) => panic!("{key}: {other}"),
            };
            part.insert(setting.name.to_owned(), other);
            let new: Config = table.try_into().unwrap();
            let dot = if section.name.is_empty() { "" } else { "." };
            let key = format!("{}{dot}{}", section.name, setting.name);
            let (live, restart) = old.changed(&new);
            assert_eq!([live.clone(), restart.clone()].concat(), std::slice::from_ref(&key));
            let adopted = old.adopting(new.clone());
            assert_eq!(adopted.changed(&new), (vec![], restart), "{key}, at the next reload");
            assert!(live.is_empty() || adopted == new, "{key}");
        }
    }
}

#[test]
fn plain_http_stays_on_loopback() {
    let public = || parse("listen = '0.0.0.0:7470'").unwrap();
    assert_eq!(public().validated().unwrap().tls(), Tls::Own);
    assert_eq!(Config { proxies: vec!["127.0.0.1".into()], ..public() }.validated().unwrap().tls(), Tls::Off);
    assert_eq!(parse("origin = 'Example.ORG'").unwrap().validated().unwrap().origin, "example.org");
    assert!(parse("origin = 'no domain'").unwrap().validated().is_err());
    assert!(parse("[limits]\nlookup_burst = 0").unwrap().validated().is_err());
}

//! What the manual page of `directoryd` says beyond its flags.

use daemonkit::man::Section;

/// In the order of a page.
pub const SECTIONS: [Section; 4] = [
    (
        "EXAMPLES",
        &[
            (
                "directoryd --origin example.org",
                "a directory for example.org, on loopback; a proxy that ends TLS stands in front",
            ),
            (
                "directoryd --init --listen 0.0.0.0:7470 --origin home.example",
                "make the key of a directory that needs no certificate, and print its URL and how people register",
            ),
            (
                "directoryd --origin example.org --listen 0.0.0.0:7470 --tls-cert fullchain.pem --tls-key privkey.pem",
                "a directory that the domain names by the records of `directoryd dns-records`",
            ),
            (
                "directoryd --check --config /etc/directoryd/directoryd.toml",
                "whether a start would succeed, and with what",
            ),
            ("directoryd --print-config > directoryd.toml", "a config file with every key and what it does"),
            ("kill -HUP PID", "read the config file again; the log names what needs a restart"),
        ],
    ),
    (
        "FILES",
        &[
            ("/etc/directoryd/directoryd.toml", "a config file, if --config names it: there is no default"),
            ("/var/lib/directoryd, ~/.local/state/directoryd", "the data folder; used by one directory at a time"),
            (
                "DATA-DIR/identity.pem",
                "the directory's own key, which members know it by; keep a copy in a safe place: without it every member has to \
                 accept a new key",
            ),
            (
                "DATA-DIR/directory.db",
                "names, records, mail; copy it while the directory is stopped, together with the key",
            ),
            (
                "DATA-DIR/directory.db.vN.bak",
                "as it was before an upgrade from schema N; may be deleted once all is well",
            ),
        ],
    ),
    ("ENVIRONMENT", &[("XDG_STATE_HOME", "where a user's data is kept, unless --data-dir or the config file says so")]),
    (
        "EXIT STATUS",
        &[
            ("0", "SIGTERM or SIGINT stopped it; with --check, nothing is wrong"),
            (
                "1",
                "it could not start, --check found something wrong, or its disk failed; standard error says what to do",
            ),
            ("2", "a flag is not known, or its value cannot be read"),
        ],
    ),
];

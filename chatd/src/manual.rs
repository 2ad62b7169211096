//! What the manual page of `chatd` says beyond its flags.

use daemonkit::man::Section;

/// In the order of a page.
pub const SECTIONS: [Section; 4] = [
    (
        "EXAMPLES",
        &[
            ("chatd", "one's own daemon: its data in ~/.local/state/chatd, for this user alone"),
            ("chatd --check --config /etc/chatd/chatd.toml", "whether a start would succeed, and with what"),
            (
                "chatd --directory http://127.0.0.1:7470 --daemonize --pid-file /run/user/1000/chatd.pid",
                "without systemd",
            ),
            ("chatd --print-config > chatd.toml", "a config file with every key and what it does"),
            ("kill -HUP PID", "read the config file again; the log names what needs a restart"),
        ],
    ),
    (
        "FILES",
        &[
            (
                "/etc/chatd/chatd.toml, ~/.config/chatd/chatd.toml",
                "the config file of the system's daemon, and of a user's",
            ),
            (
                "/var/lib/chatd, ~/.local/state/chatd",
                "accounts, keys and messages; closed to others, and used by one daemon at a time",
            ),
            ("/run/chatd/chatd.sock, $XDG_RUNTIME_DIR/chatd/chatd.sock", "where clients connect"),
            ("DATA-DIR/chatd.log", "the log of a daemon started with --daemonize"),
        ],
    ),
    (
        "ENVIRONMENT",
        &[
            ("CHATD_LOG", "what to log, before the key `log` of the config file: info, or warn,chatd=debug"),
            ("CHATD_SOCKET", "where clients connect, unless --socket says so"),
            (
                "XDG_CONFIG_HOME, XDG_STATE_HOME, XDG_RUNTIME_DIR",
                "where a user's files are looked for; empty ones count as unset",
            ),
        ],
    ),
    (
        "EXIT STATUS",
        &[
            ("0", "SIGTERM or SIGINT stopped it; with --daemonize, it is ready; with --check, nothing is wrong"),
            (
                "1",
                "it could not start, --check found something wrong, or its disk failed; standard error says what to do",
            ),
            ("2", "a flag is not known, or its value cannot be read"),
        ],
    ),
];

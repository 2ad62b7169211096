//! docs/configuration.md is made from the types: `UPDATE_DOCS=1 cargo test -p chatd --test config_doc` writes it anew.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use daemonkit::settings::reference;

#[test]
fn the_reference_of_settings_is_that_of_the_types() {
    let (chatd, directoryd) = (chatd::service::config::Config::default(), directoryd::Config::default());
    let text = format!(
        "# Configuration\n\nMade from the programs' types. `chatd --print-config` and `directoryd --print-config` print what is in \
         force as a file that may be edited; `--check` tries what a start would meet. Every key may be left out, and one that \
         is not known is an error.\n\n## chatd\n\n`/etc/chatd/chatd.toml` for root, `$XDG_CONFIG_HOME/chatd/chatd.toml` else. \
         Flags go before the file. `SIGHUP` reads it again, and tells in the log what needs a restart. By default data are in \
         `/var/lib/chatd` or `$XDG_STATE_HOME/chatd`, and the socket is `/run/chatd/chatd.sock`, \
         `$XDG_RUNTIME_DIR/chatd/chatd.sock`, `/run/user/UID/chatd/chatd.sock`, or beside the data, the first that can be; \
         `CHATD_SOCKET` goes before. Variables that are empty count as unset; relative ones are errors.\n\n{}\n## directoryd\n\n\
         The file is named by `--config`; `SIGHUP` reads it again, and tells in the log what needs a restart. Data are in `/var/lib/directoryd` for root, else in `$XDG_STATE_HOME/directoryd`.\n\n{}",
        reference(&chatd::service::config::Config::SECTIONS, &chatd.table(), &["data_dir", "socket"]),
        reference(&directoryd::Config::SECTIONS, &directoryd.table(), &["data_dir"]),
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap_or_default(), text, "set UPDATE_DOCS=1 to write it");
}

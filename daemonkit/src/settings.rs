//! Settings that explain themselves: one declaration makes the type that a config file is read into, its defaults, and the
//! reference that `--print-config` and docs/configuration.md show.
//!
//! A derive of JSON schemas (`schemars`) was looked at: it brings a schema, and would still leave the reference to be written.

use toml::{Table, Value};

/// One key of a config file.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its name.
    pub name: &'static str,
    /// What it does: the lines of its documentation.
    pub doc: &'static [&'static str],
}

/// A table of a config file: the keys at its top, or those below a `[name]`.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// The table's name; empty for the top.
    pub name: &'static str,
    /// Its keys.
    pub settings: &'static [Setting],
}

/// Declares a struct of settings, each with its documentation and its default:
///
/// ```ignore
/// settings! {
///     /// What a daemon grants.
///     pub struct Limits {
///         /// Links at one time.
///         connections: u32 = 256,
///     }
/// }
/// ```
///
/// Makes the struct (with serde's traits, unknown keys denied), its `Default`, and `Limits::SETTINGS`. Fields after `hidden:` are
/// no keys of the file.
#[macro_export]
macro_rules! settings {
    (
        $(#[doc = $about:expr])+
        $visibility:vis struct $name:ident {
            $($(#[doc = $doc:expr])+ $field:ident: $type:ty = $default:expr,)*
            $(hidden: $($(#[doc = $hidden_doc:expr])+ $hidden:ident: $hidden_type:ty = $hidden_default:expr,)*)?
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
        #[serde(deny_unknown_fields, default)]
        $visibility struct $name {
            $($(#[doc = $doc])+ pub $field: $type,)*
            $($($(#[doc = $hidden_doc])+ #[serde(skip)] pub $hidden: $hidden_type,)*)?
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* $($($hidden: $hidden_default,)*)? }
            }
        }

        impl $name {
            /// The keys and what they do.
            pub const SETTINGS: &[$crate::settings::Setting] =
                &[$($crate::settings::Setting { name: stringify!($field), doc: &[$($doc),+] }),*];
        }
    };
}

fn value_of<'a>(values: &'a Table, section: &str, key: &str) -> Option<&'a Value> {
    let table = if section.is_empty() { Some(values) } else { values.get(section).and_then(Value::as_table) };
    table.and_then(|table| table.get(key))
}

/// A config file with these values, and what each of them does. What has no value is commented out.
pub fn file(sections: &[Section], values: &Table) -> String {
    let mut out = String::new();
    for section in sections {
        if !section.name.is_empty() {
            out.push_str(&format!("[{}]\n", section.name));
        }
        for setting in section.settings {
            // A key that is a table of its own stands at the end.
            if sections.iter().any(|other| other.name == setting.name) {
                continue;
            }
            setting.doc.iter().for_each(|line| out.push_str(&format!("#{line}\n")));
            match value_of(values, section.name, setting.name) {
                Some(value) => out.push_str(&format!("{} = {value}\n\n", setting.name)),
                None => out.push_str(&format!("# {} = (not set)\n\n", setting.name)),
            }
        }
    }
    out
}

/// The same as Markdown tables, with `defaults` as values. Values that depend on the machine are left out by their key.
pub fn reference(sections: &[Section], defaults: &Table, varies: &[&str]) -> String {
    let mut out = String::new();
    for section in sections {
        if !section.name.is_empty() {
            out.push_str(&format!("\n`[{}]`:\n\n", section.name));
        }
        out.push_str("| key | default | what it does |\n| --- | --- | --- |\n");
        for setting in section.settings {
            let doc = setting.doc.iter().map(|line| line.trim()).collect::<Vec<_>>().join(" ").replace('|', "\\|");
            let default = match value_of(defaults, section.name, setting.name) {
                _ if varies.contains(&setting.name) => "see above".to_owned(),
                Some(Value::Table(_)) => "a table".to_owned(),
                Some(value) => format!("`{value}`"),
                None => "not set".to_owned(),
            };
            out.push_str(&format!("| `{}` | {default} | {doc} |\n", setting.name));
        }
    }
    out
}

/// Takes these keys, written as `key` or `section.key`, over from `new`.
pub fn adopt(values: &mut Table, new: &Table, keys: &[&str]) {
    for key in keys {
        let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
        let table =
            if section.is_empty() { Some(&mut *values) } else { values.get_mut(section).and_then(Value::as_table_mut) };
        let Some(table) = table else { continue };
        match value_of(new, section, name) {
            Some(value) => drop(table.insert(name.to_owned(), value.clone())),
            None => drop(table.remove(name)),
        }
    }
}

/// Keys in which two sets of values differ, as `key` or `section.key`.
pub fn changed(sections: &[Section], old: &Table, new: &Table) -> Vec<String> {
    let mut found = Vec::new();
    for section in sections {
        for setting in section.settings {
            let is_section = section.name.is_empty() && sections.iter().any(|other| other.name == setting.name);
            if !is_section && value_of(old, section.name, setting.name) != value_of(new, section.name, setting.name) {
                let dot = if section.name.is_empty() { "" } else { "." };
                found.push(format!("{}{dot}{}", section.name, setting.name));
            }
        }
    }
    found
}

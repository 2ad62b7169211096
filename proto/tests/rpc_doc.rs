//! docs/rpc.md says what the types say: its reference part is written from the sources, and this test fails when the two
//! differ. `UPDATE_DOCS=1 cargo test -p proto --test rpc_doc` writes it anew.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use proto::rpc::event::EventType;
use proto::rpc::methods::{METHODS, carries_secrets};

const SOURCES: [&str; 15] = [
    include_str!("../src/rpc/types/account.rs"),
    include_str!("../src/rpc/types/backup.rs"),
    include_str!("../src/rpc/types/common.rs"),
    include_str!("../src/rpc/types/contact.rs"),
    include_str!("../src/rpc/types/directory.rs"),
    include_str!("../src/rpc/types/feed.rs"),
    include_str!("../src/rpc/types/key.rs"),
    include_str!("../src/rpc/types/invite.rs"),
    include_str!("../src/rpc/types/message.rs"),
    include_str!("../src/rpc/types/system.rs"),
    include_str!("../src/rpc/types/token.rs"),
    include_str!("../src/scope.rs"),
    include_str!("../src/advice.rs"),
    include_str!("../src/rpc/event.rs"),
    include_str!("../src/rpc/mod.rs"),
];
const BEGIN: &str =
    "<!-- From here to the end of the file: written by `UPDATE_DOCS=1 cargo test -p proto --test rpc_doc`. -->\n";

/// A field, or a variant of an enum.
#[derive(Debug, Default, Clone)]
struct Member {
    name: String,
    /// Empty for a variant.
    rust_type: String,
    doc: String,
    optional: bool,
}

#[derive(Debug, Default)]
struct Type {
    doc: String,
    is_enum: bool,
    members: Vec<Member>,
}

/// Without the targets of links to other files of the folder.
fn unlinked(doc: &str) -> String {
    let mut parts = doc.split("](super::");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push(']');
        text.push_str(part.split_once(')').map_or(part, |(_, rest)| rest));
    }
    text
}

/// Structs and enums of the sources, in rustfmt's layout: one member a line, attributes and docs above it.
fn parse() -> BTreeMap<String, Type> {
    let mut types = BTreeMap::new();
    let mut open: Option<(String, Type)> = None;
    let (mut docs, mut attributes) = (Vec::new(), String::new());
    for line in SOURCES.iter().flat_map(|source| source.lines()) {
        let text = line.trim();
        if let Some(doc) = text.strip_prefix("/// ") {
            docs.push(unlinked(doc));
        } else if text.starts_with("#[") {
            attributes.push_str(text);
        } else {
            let doc = docs.join(" ");
            let words: Vec<&str> = text.split_whitespace().collect();
            match (&mut open, words.as_slice()) {
                (None, ["pub", kind @ ("struct" | "enum"), name, rest @ ..]) => {
                    let new = Type { doc, is_enum: *kind == "enum", members: Vec::new() };
                    match rest {
                        ["{"] => open = Some(((*name).to_owned(), new)),
                        ["{}"] => drop(types.insert((*name).to_owned(), new)),
                        _ => {}
                    }
                }
                (Some(_), ["}"]) => types.extend(open.take()),
                (Some((_, parent)), ["pub", name, rust_type @ ..]) => parent.members.push(Member {
                    name: rename(&attributes).unwrap_or_else(|| name.trim_end_matches(':').to_owned()),
                    rust_type: rust_type.concat().trim_end_matches(',').to_owned(),
                    doc,
                    optional: attributes.contains("default"),
                }),
                (Some((_, parent)), [name]) if parent.is_enum => parent.members.push(Member {
                    name: rename(&attributes).unwrap_or_else(|| snake_case(name.trim_end_matches(','))),
                    doc,
                    ..Member::default()
                }),
                _ => {}
            }
            docs.clear();
            attributes.clear();
        }
    }
    types
}

fn rename(attributes: &str) -> Option<String> {
    let (_, after) = attributes.split_once("rename = \"")?;
    Some(after.split_once('"')?.0.to_owned())
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for character in name.chars() {
        if character.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.extend(character.to_lowercase());
    }
    out
}

struct Reference {
    types: BTreeMap<String, Type>,
    /// Types that are written about under a heading of their own.
    objects: Vec<String>,
    out: String,
}

impl Reference {
    fn get(&self, name: &str) -> &Type {
        self.types.get(name).unwrap_or_else(|| panic!("{name} is in none of the sources"))
    }

    /// What a client's language calls it.
    fn show_type(&mut self, rust_type: &str) -> String {
        if let Some(inner) = rust_type.strip_prefix("Option<") {
            return self.show_type(inner.trim_end_matches('>'));
        }
        if rust_type == "Vec<u8>" {
            return "binary".to_owned();
        }
        if let Some(inner) = rust_type.strip_prefix("Vec<") {
            return format!("array of {}", self.show_type(inner.trim_end_matches('>')));
        }
        match rust_type {
            "String" | "Secret" => "string".to_owned(),
            "u64" | "u32" | "u8" | "i64" => "integer".to_owned(),
            "bool" => "boolean".to_owned(),
            "Timestamp" => "time".to_owned(),
            "AccountId" | "ConversationId" | "MessageId" | "NodeId" => "id".to_owned(),
            name => {
                assert!(self.types.contains_key(name), "{name} has no name in the documentation");
                if !self.objects.iter().any(|known| known == name) {
                    self.objects.push(name.to_owned());
                }
                format!("[{name}](#{})", name.to_lowercase())
            }
        }
    }

    /// rustdoc's links mean nothing to a client.
    fn show_doc(&self, doc: &str) -> String {
        let refers_to = doc.strip_prefix("See [`").and_then(|rest| rest.strip_suffix("`].")?.split_once("::"));
        if let Some((name, field)) = refers_to {
            let member = self.get(name).members.iter().find(|member| member.name == field);
            return self.show_doc(&member.unwrap_or_else(|| panic!("{doc}")).doc);
        }
        doc.replace("[`crate::rpc::API_VERSION`]", &format!("{}, the version of the API", proto::rpc::API_VERSION))
            .replace("[`", "`")
            .replace("`]", "`")
            .replace('|', "\\|")
    }

    fn members(&mut self, name: &str) {
        let members = self.get(name).members.clone();
        for member in members {
            let rust_type = self.show_type(&member.rust_type);
            let optional = if member.optional { ", optional" } else { "" };
            let doc = self.show_doc(&member.doc);
            writeln!(self.out, "- `{}`: {rust_type}{optional}. {doc}", member.name).unwrap();
        }
    }

    fn object(&mut self, name: &str) {
        let (doc, is_enum) = (self.show_doc(&self.get(name).doc), self.get(name).is_enum);
        write!(self.out, "\n### {name}\n\n{doc}\n\n").unwrap();
        if !is_enum {
            return self.members(name);
        }
        let variants = self.get(name).members.clone();
        for variant in variants {
            writeln!(self.out, "- `{}`: {}", variant.name, self.show_doc(&variant.doc)).unwrap();
        }
    }
}

fn reference() -> String {
    let mut reference = Reference { types: parse(), objects: Vec::new(), out: BEGIN.to_owned() };
    reference.out.push_str("\n## Methods\n");
    for method in METHODS {
        write!(reference.out, "\n### {}\n\n{}\n\nScope: {}.\n\n", method.name, method.doc, method.needs.words())
            .unwrap();
        let is_shared =
            |name: &str| !name.ends_with("Params") && !name.ends_with("Result") && name != "Empty" && name != "Done";
        for (role, name) in [("Parameters", method.params), ("Result", method.result)] {
            if reference.get(name).members.is_empty() {
                writeln!(reference.out, "{role}: an empty map.\n").unwrap();
            } else if is_shared(name) {
                let link = reference.show_type(name);
                writeln!(reference.out, "{role}: {link}.\n").unwrap();
            } else {
                writeln!(reference.out, "{role}:\n").unwrap();
                reference.members(name);
                reference.out.push('\n');
            }
        }
        let trimmed = reference.out.trim_end().len();
        reference.out.truncate(trimmed + 1);
    }
    reference.out.push_str("\n## Event fields\n");
    reference.object("Event");
    reference.object("EventType");
    reference.out.push_str("\n## Objects\n");
    let mut next = 0;
    while let Some(name) = reference.objects.get(next).cloned() {
        next += 1;
        if !name.starts_with("Event") {
            reference.object(&name);
        }
    }
    reference.out.push_str("\n## Errors\n");
    reference.object("ErrorCode");
    reference.object("Advice");
    reference.out.push_str(&steps());
    reference.out.push_str("\n### Reason\n\n");
    reference.out.push_str(&reasons());
    reference.out
}

/// The steps that advice names.
fn steps() -> String {
    let (_, source) = include_str!("../src/advice.rs").split_once("\nsteps! {").unwrap();
    let (source, _) = source.split_once("\n}").unwrap();
    let (mut out, mut meaning) = (String::from("\n### Step\n\n| word | |\n| --- | --- |\n"), String::new());
    for line in source.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match line.strip_prefix("/// ") {
            Some(text) => meaning = text.to_owned(),
            None => writeln!(out, "| `{}` | {meaning} |", snake_case(line.trim_end_matches(','))).unwrap(),
        }
    }
    assert_eq!(out.lines().count(), 5 + proto::advice::Step::ALL.len(), "{out}");
    out
}

/// The words of reasons, and what they mean.
fn reasons() -> String {
    let (_, source) = include_str!("../src/reason.rs").split_once("\nreasons! {").unwrap();
    let (source, _) = source.split_once("\n}").unwrap();
    let (mut out, mut meaning) = (String::from("| word | |\n| --- | --- |\n"), String::new());
    for line in source.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("/// ") {
            meaning.push_str(if meaning.is_empty() { "" } else { " " });
            meaning.push_str(text);
        } else if let Some((_, word)) = line.split_once(' ') {
            writeln!(out, "| `{}` | {} |", word.trim_matches(['"', ';']), std::mem::take(&mut meaning)).unwrap();
        }
    }
    assert_eq!(out.lines().count(), 2 + proto::reason::Reason::ALL.len(), "{out}");
    out
}

#[test]
fn the_documentation_says_what_the_types_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/rpc.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (guide, written) = document.split_once(BEGIN).expect("docs/rpc.md lacks the line where the reference begins");
    let expected = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, format!("{guide}{expected}")).unwrap();
        return;
    }
    let written = format!("{BEGIN}{written}");
    let difference = written.lines().zip(expected.lines()).find(|(left, right)| left != right);
    assert!(
        written == expected,
        "docs/rpc.md differs from the types, first at {difference:?}; run UPDATE_DOCS=1 cargo test -p proto --test rpc_doc"
    );
}

/// Against a parser that overlooks something: what it found is compared with what the program itself knows.
#[test]
fn the_sources_are_read_completely() {
    let types = parse();
    let words: Vec<&str> = types["EventType"].members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(words, EventType::ALL.map(EventType::as_str));
    assert_eq!(types["ErrorCode"].members.len(), 28);
    assert_eq!(types["ErrorCode"].members[0].name, "malformed");
    let known: Vec<&str> = types.values().flat_map(|known| &known.members).map(|member| member.name.as_str()).collect();
    for line in SOURCES.iter().flat_map(|source| source.lines()) {
        let Some((name, _)) = line.strip_prefix("    pub ").and_then(|rest| rest.split_once(": ")) else { continue };
        // Constants and functions have a word before the name; `kind` travels as `type`, `step` as `do`, `within` as `in`.
        assert!(
            name.contains(' ') || matches!(name, "kind" | "step" | "within") || known.contains(&name),
            "{name} was overlooked"
        );
    }
    for method in METHODS {
        assert!(types.contains_key(method.params) && types.contains_key(method.result), "{}", method.name);
    }
    assert_eq!(types["SendParams"].members.iter().filter(|member| !member.optional).count(), 2);
}

/// Whether a value of this type has a [`proto::rpc::secret::Secret`] in it, however deep.
fn holds_a_secret(types: &BTreeMap<String, Type>, rust_type: &str) -> bool {
    rust_type.split(|c: char| !c.is_alphanumeric()).any(|word| {
        let inside = || types.get(word).is_some_and(|t| t.members.iter().any(|m| holds_a_secret(types, &m.rust_type)));
        word == "Secret" || inside()
    })
}

#[test]
fn each_method_with_a_secret_is_named() {
    let types = parse();
    for method in METHODS {
        let holds = [method.params, method.result].iter().any(|name| holds_a_secret(&types, name));
        assert_eq!(
            carries_secrets(method.name),
            holds,
            "{}: see `WITH_SECRETS` in proto/src/rpc/methods.rs",
            method.name
        );
    }
    // And what is one by its name has the type.
    for (name, of) in &types {
        for member in of.members.iter().filter(|_| !of.is_enum) {
            let secret =
                ["passphrase", "recovery_key", "identities", "secret", "private_key", "token"].contains(&&*member.name);
            let secret = secret && member.rust_type != "Option<Token>";
            assert!(!secret || holds_a_secret(&types, &member.rust_type), "{name}::{} is no Secret", member.name);
        }
    }
}

/// What may be in a result without pages, and what bounds it.
const BOUNDED: [(&str, &str); 15] = [
    ("HelloResult.accounts", "limits.accounts_per_uid"),
    ("AccountListResult.accounts", "limits.accounts_per_uid"),
    ("StatusResult.accounts", "limits.accounts_per_uid"),
    ("StatusResult.addresses", "sockets that the configuration names"),
    ("StatusResult.own_clients", "limits.rpc_clients, 120 bytes each"),
    ("StatusResult.user_clients", "limits.rpc_clients, 40 bytes each"),
    ("TraceResult.steps", "the newest attempts"),
    ("MessageFindResult.messages", "10"),
    ("InviteListResult.invites", "64"),
    ("Message.tags", "16"),
    ("DoctorResult.checks", "3, and 46 for each account at most"),
    ("NetcheckResult.checks", "4, and 3 for each of 16 accounts at most"),
    ("Token.allow", "4"),
    ("Token.in", "64"),
    ("Token.send_to", "64"),
];

/// Every array in a result is one page of a list, or is bounded by something else: a list that grows would one day fit no
/// message of the RPC.
#[test]
fn whatever_may_grow_comes_in_pages() {
    let types = parse();
    let has = |name: &str, words: &[&str]| types[name].members.iter().any(|member| words.contains(&&*member.name));
    let (mut paged, mut bounded) = (BTreeMap::new(), Vec::new());
    for method in METHODS {
        let comes_in_pages = has(method.result, &["next", "more"]) && has(method.params, &["after", "before"]);
        let mut names = vec![method.result];
        while let Some(name) = names.pop() {
            for member in &types[name].members {
                let inner = member.rust_type.replace("Option<", "").replace("Vec<", "").replace('>', "");
                names.extend(types.keys().filter(|known| **known == inner).map(String::as_str));
                if !member.rust_type.contains("Vec<") || inner == "u8" {
                    continue;
                }
                let place = format!("{name}.{}", member.name);
                if BOUNDED.iter().any(|(known, _)| *known == place) {
                    bounded.push(place);
                } else {
                    assert!(
                        name == method.result && comes_in_pages,
                        "{}: {place} has neither pages nor a bound",
                        method.name
                    );
                    paged.insert(method.name, place);
                }
            }
        }
    }
    let lists: Vec<&str> = paged.into_keys().collect();
    println!("figure: lists that come in pages: {}", lists.join(", "));
    assert!(lists.len() >= 8, "{lists:?}");
    let gone: Vec<_> = BOUNDED.iter().filter(|(known, _)| !bounded.iter().any(|place| place == known)).collect();
    assert!(gone.is_empty(), "in no result any more: {gone:?}");
}

//! Who may import whom: modules stand in rows, and each imports only from rows before its own.

use std::collections::{BTreeMap, BTreeSet};

use tests::sources::sources;

use crate::{code, is_test_file, without_comments};

/// Rooms of chatctl, from the bottom up. A room imports only from rows before its own.
const CHATCTL: [&[&str]; 8] = [
    &["term"],
    &["help", "show"],
    &["failure"],
    &["client", "new_file"],
    &["input"],
    &["verbs"],
    &["cli"],
    &["main", "lib"],
];

/// Modules of chatd, from the bottom up. A module imports only from rows before its own.
const LAYERS: [&[&str]; 10] = [
    &["model"],
    &["crypto", "policy", "events"],
    &["store"],
    &["link", "directory"],
    &["delivery", "receive"],
    &["peer"],
    &["service"],
    &["rpc"],
    // What a program needs around the layers: it stands on top of them and nothing imports it.
    &["daemon"],
    &["manual", "main", "lib"],
];

#[test]
fn chatd_imports_downwards_only() {
    imports_downwards_only("chatd", &LAYERS);
}

#[test]
fn chatctl_imports_downwards_only() {
    imports_downwards_only("chatctl", &CHATCTL);
}

fn imports_downwards_only(program: &str, layers: &[&[&str]]) {
    let rank = |module: &str| layers.iter().position(|row| row.contains(&module));
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for (name, text) in sources() {
        let Some(inside) = name.strip_prefix(&format!("{program}/src/")) else { continue };
        if is_test_file(&name) {
            continue;
        }
        let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        let Some(own) = rank(module) else {
            wrong.push(format!("{name}: module {module} is in no layer; give it a place in its rows"));
            continue;
        };
        seen.insert(module.to_owned());
        for used in crate_paths(&code(&text)) {
            match rank(&used) {
                _ if used == module => {}
                Some(other) if other < own => {}
                // lib.rs and main.rs put everything together.
                _ if own == layers.len() - 1 => {}
                Some(_) => wrong.push(format!("{name}: {module} imports {used}, which stands beside or above it")),
                None => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(seen.contains("lib") && seen.len() > 3, "found too little of {program} to judge: {seen:?}");
}

/// Modules of directoryd, from the bottom up, by the same rule.
const DIRECTORY_LAYERS: [&[&str]; 13] = [
    &["metrics", "identity", "live"],
    &["cluster"],
    &["store"],
    &["config"],
    &["tls"],
    &["setup"],
    &["http"],
    &["relay"],
    &["state"],
    &["session"],
    &["routes"],
    &["run"],
    &["manual", "pulse", "main", "lib"],
];

/// Sources of directoryd that are no tests, by their path below `src`, without comments and tests at the end.
fn directory_sources() -> Vec<(String, String)> {
    let own = sources().filter(|(name, _)| !is_test_file(name));
    own.filter_map(|(name, text)| Some((name.strip_prefix("directoryd/src/")?.to_owned(), code(&text)))).collect()
}

#[test]
fn rooms_of_directoryd_import_downwards_only() {
    let rank = |module: &str| DIRECTORY_LAYERS.iter().position(|row| row.contains(&module));
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for (name, code) in directory_sources() {
        let module = name.split('/').next().unwrap().trim_end_matches(".rs").to_owned();
        let Some(own) = rank(&module) else {
            wrong.push(format!("{name}: {module} is in no layer; give it a place in DIRECTORY_LAYERS"));
            continue;
        };
        for used in crate_paths(&code).into_iter().filter(|used| *used != module) {
            if rank(&used).is_some_and(|other| other >= own) && own != DIRECTORY_LAYERS.len() - 1 {
                wrong.push(format!("{name}: {module} imports {used}, which stands beside or above it"));
            }
        }
        // What one process knows by itself is made in one place, and asked through the seam everywhere else.
        let local = paths_of("cluster", &code).contains("Local") || code.contains("Local::new");
        if (local || code.contains(" Local}")) && !name.starts_with("cluster/") && name != "run.rs" {
            wrong.push(format!("{name}: uses cluster::Local; ask the trait Cluster"));
        }
        if !name.starts_with("store/sqlite/") && !name.starts_with("store/error.rs") && code.contains("rusqlite") {
            wrong.push(format!("{name}: names rusqlite, which is the business of store/sqlite alone"));
        }
        seen.insert(module);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let rooms: BTreeSet<String> =
        DIRECTORY_LAYERS.iter().flat_map(|row| row.iter().map(|room| room.to_string())).collect();
    assert_eq!(seen, rooms, "a room was not found");
}

/// Files in one folder of directoryd at most, so that each room is seen at a glance.
const MAX_FILES_IN_A_FOLDER: usize = 12;

#[test]
fn directoryd_has_small_folders_and_no_ring_of_files() {
    let (mut folders, mut files) = (BTreeMap::<String, usize>::new(), BTreeMap::new());
    for (name, code) in directory_sources() {
        *folders.entry(name.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned()).or_default() += 1;
        let path = name.trim_end_matches(".rs").trim_end_matches("/mod").split('/').map(str::to_owned);
        files.insert(path.collect::<Vec<_>>(), code);
    }
    let crowded: Vec<_> = folders.iter().filter(|(_, count)| **count > MAX_FILES_IN_A_FOLDER).collect();
    assert!(crowded.is_empty(), "more than {MAX_FILES_IN_A_FOLDER} files in a folder: {crowded:?}");
    let edges: BTreeMap<_, _> = files.iter().map(|(own, code)| (own, imports(own, code, &files))).collect();
    assert!(edges.values().map(BTreeSet::len).sum::<usize>() > 60, "imports were not found: {edges:?}");
    // What imports nothing that is left stands on firm ground; what is left at the end is rings, or stands on them.
    let mut left: BTreeSet<_> = edges.keys().copied().collect();
    while let Some(firm) = left.iter().copied().find(|own| edges[*own].iter().all(|used| !left.contains(used))) {
        left.remove(firm);
    }
    let rings: Vec<String> = left.iter().map(|own| own.join("::")).collect();
    assert!(rings.is_empty(), "files that import each other in a ring, or stand on one: {rings:?}");
}

/// The files, by their module paths, that a file imports from: the one with the longest path that begins what it names.
fn imports(own: &[String], code: &str, files: &BTreeMap<Vec<String>, String>) -> BTreeSet<Vec<String>> {
    let mut named = Vec::new();
    for (root, base) in [("crate", &[][..]), ("super", &own[..own.len() - 1]), ("self", own)] {
        for tail in tails_of(root, code) {
            let (mut path, mut tail) = (base.to_vec(), tail.as_slice());
            while tail.first().is_some_and(|word| word == "super") {
                path.pop();
                tail = &tail[1..];
            }
            path.extend_from_slice(tail);
            named.push(path);
        }
    }
    // A folder's own file names the files beside it without more.
    for child in files.keys().filter(|path| path.len() == own.len() + 1 && path.starts_with(own)) {
        if !paths_of(&child[own.len()], code).is_empty() {
            named.push(child.clone());
        }
    }
    let longest = |path: &Vec<String>| {
        let known = (1..=path.len()).rev().find(|end| files.contains_key(&path[..*end]))?;
        Some(path[..known].to_vec())
    };
    named.iter().filter_map(longest).filter(|used| used != own).collect()
}

/// Up to three words that follow `root::`, for each path of a group.
fn tails_of(root: &str, code: &str) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let first = paths_of(root, code);
    for word in first {
        let deeper = |root: &str| paths_of(root, code);
        let here = format!("{root}::{word}");
        let second = deeper(&here);
        if second.is_empty() {
            found.push(vec![word.clone()]);
        }
        for next in second {
            let third = deeper(&format!("{here}::{next}"));
            if third.is_empty() {
                found.push(vec![word.clone(), next.clone()]);
            }
            found.extend(third.into_iter().map(|last| vec![word.clone(), next.clone(), last]));
        }
    }
    found
}

/// The first row of [`LAYERS`] whose rooms speak to clients: what is below it knows no types of the RPC.
const CLIENTS_FROM: &str = "rpc";

#[test]
fn rooms_below_the_rpc_know_no_rpc() {
    let below: Vec<&str> =
        LAYERS.iter().take_while(|row| !row.contains(&CLIENTS_FROM)).flat_map(|row| row.iter().copied()).collect();
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    // Tests included: what a room is asked and answers are words of `model`, whoever asks.
    for (name, text) in sources() {
        let Some(inside) = name.strip_prefix("chatd/src/") else { continue };
        let module = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if !below.contains(&module) {
            continue;
        }
        seen.insert(module.to_owned());
        if paths_of("proto", &without_comments(&text)).contains("rpc") {
            wrong.push(format!("{name}: {module} uses proto::rpc; say it in `model`, and convert it in `rpc/view`"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen.len(), below.len(), "a room was not found: {below:?}, {seen:?}");
}

/// The rooms of chatd's store, from what knows least to what knows most. A room uses those before it only.
const STORE: &[&str] = &[
    "disk", "error", "engine", "account", "peers", "delivery", "log", "history", "contacts", "feed", "prune", "handle",
    "snapshot",
];

/// What one room of the store uses of a later one, as bad as a ring: `error` is at home below all that fail by it.
const STORE_EXCEPTIONS: &[(&str, &str)] = &[("disk", "error")];

#[test]
fn rooms_of_the_store_stand_in_their_order() {
    let place = |room: &str| STORE.iter().position(|known| *known == room);
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::new());
    for (name, text) in sources() {
        let Some(inside) = name.strip_prefix("chatd/src/store/") else { continue };
        let room = inside.split('/').next().unwrap_or(inside).trim_end_matches(".rs");
        if matches!(room, "mod" | "tests") || inside.ends_with("tests.rs") {
            continue;
        }
        let Some(own) = place(room) else {
            wrong.push(format!("{name}: {room} has no place in the order"));
            continue;
        };
        seen.insert(own);
        let code = without_comments(&text);
        // Tests at the end of a file may set up what they like.
        let code = code.split("#[cfg(test)]\n#[allow(clippy::unwrap_used)]\nmod tests").next().unwrap_or(&code);
        for used in paths_of("crate::store", code) {
            match place(&used) {
                _ if used == "tests" => {}
                Some(at) if at <= own || STORE_EXCEPTIONS.contains(&(room, &used)) => {}
                Some(_) => wrong.push(format!("{name}: {room} uses {used}, which stands above it")),
                None => wrong.push(format!("{name}: `crate::store::{used}` hides in which room it is")),
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(seen.len(), STORE.len(), "a room was not found: {seen:?} of {STORE:?}");
}

/// What the core of delivery names nowhere: whoever drives it does all IO, and has the time and the dice.
const IO: [&str; 20] = [
    "tokio",
    "rusqlite",
    "crate::store",
    "crate::link",
    "crate::directory",
    "crate::receive",
    "Store",
    "OpenLink",
    "Instant::now",
    "SystemTime",
    "Timestamp::now",
    "rand::random",
    "rand::rng",
    "std::sync",
    "std::thread",
    "std::fs",
    "std::net",
    "mpsc",
    "async ",
    ".await",
];

#[test]
fn the_core_of_delivery_does_no_io() {
    names_no_io("chatd/src/delivery/core/", &[]);
}

/// Rules of groups know no key either: what is signed was checked before they see it.
#[test]
fn the_rules_of_groups_do_no_io() {
    names_no_io("chatd/src/policy/group/", &["crate::crypto", "ed25519_dalek", "Ed25519"]);
}

fn names_no_io(room: &str, more: &[&str]) {
    let (mut wrong, mut files) = (Vec::new(), 0);
    for (name, text) in sources().filter(|(name, _)| name.starts_with(room)) {
        if is_test_file(&name) {
            continue;
        }
        files += 1;
        let code = code(&text);
        let names = |word: &str| {
            code.match_indices(word).any(|(at, _)| {
                let within = |c: char| c.is_alphanumeric() || c == '_';
                let (before, after) = (code[..at].chars().next_back(), code[at + word.len()..].chars().next());
                let whole = word.chars().next_back().is_some_and(|last| !within(last)) || !after.is_some_and(within);
                !before.is_some_and(within) && whole
            })
        };
        wrong.extend(IO.iter().chain(more).filter(|word| names(word)).map(|word| format!("{name}: {word}")));
    }
    assert!(wrong.is_empty(), "an effect for it, or an event that brings it: {wrong:#?}");
    assert!(files > 8, "found too little of {room} to judge: {files} files");
}

#[test]
fn the_transaction_is_a_small_handle() {
    let mut files = Vec::new();
    for (name, text) in sources().filter(|(name, _)| name.starts_with("chatd/src/")) {
        let code = without_comments(&text);
        if code.lines().any(|line| line.starts_with("impl") && line.contains(" Tx<") && !line.contains(" for ")) {
            let block = code.split("\nimpl").filter(|block| block.lines().next().is_some_and(|l| l.contains("Tx<")));
            files.push((name, block.map(|block| block.matches("    pub").count()).sum::<usize>()));
        }
    }
    assert!(matches!(files[..], [(_, methods)] if methods <= 12), "functions of rooms, not methods of Tx: {files:?}");
}

fn crate_paths(code: &str) -> BTreeSet<String> {
    paths_of("crate", code)
}

/// First segments of all paths that begin with `root`, those in `use root::{a, b::c}` included.
fn paths_of(root: &str, code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let root = format!("{root}::");
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    for (at, _) in code.match_indices(&root) {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') {
            continue;
        }
        let rest = &code[at + root.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            found.insert(word(rest));
            continue;
        };
        let (mut depth, mut start) = (0, true);
        for (index, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => start = true,
                c if start && !c.is_whitespace() => {
                    found.insert(word(&group[index..]));
                    start = false;
                }
                _ => {}
            }
        }
    }
    found
}

#[test]
fn crate_paths_are_found() {
    let text = "use crate::a::b;\nuse crate::{c, d::{e, f}, g};\nlet x = crate::h::i(); $crate::no; mycrate::no";
    let expected = ["a", "c", "d", "g", "h"].map(String::from);
    assert_eq!(crate_paths(text), BTreeSet::from(expected));
    let text = "use proto::{ids::A, rpc::types::{B, C}};\nlet x = proto::wire::d(); myproto::no";
    assert_eq!(paths_of("proto", text), BTreeSet::from(["ids", "rpc", "wire"].map(String::from)));
}

/// Every program that talks to the daemon has commands of its own: an error names the step that helps
/// (`proto::advice`), and chatctl words it.
#[test]
fn chatd_names_no_command_of_chatctl() {
    let mut wrong = Vec::new();
    for (name, text) in sources().filter(|(name, _)| name.starts_with("chatd/src/") && !is_test_file(name)) {
        let names = code(&text)
            .lines()
            .any(|line| line.split("chatctl ").skip(1).any(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase())));
        if names {
            wrong.push(name);
        }
    }
    assert!(wrong.is_empty(), "say which step helps by `ServiceError::advise`: {wrong:#?}");
}

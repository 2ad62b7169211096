//! How large rooms may be, and that no ring of files is in one.

use std::collections::{BTreeMap, BTreeSet};

use tests::sources::sources;

use crate::is_test_file;
use crate::modules::Modules;

/// Files flat in a folder at most: more want rooms.
const MAX_FILES: usize = 12;
/// Files that may have an `impl` of one type at most: more make it a context object for everything.
const MAX_IMPLS: usize = 2;

const PACKAGES: [&str; 8] = ["proto", "daemonkit", "hybrid", "chatd", "chatctl", "directoryd", "tests", "xtask"];

#[test]
fn folders_hold_few_files() {
    let mut folders: BTreeMap<String, usize> = BTreeMap::new();
    for (name, _) in sources().filter(|(name, _)| !is_test_file(name)) {
        let Some((folder, _)) = name.rsplit_once('/') else { continue };
        if PACKAGES.iter().any(|package| folder.starts_with(&format!("{package}/src"))) {
            *folders.entry(folder.to_owned()).or_default() += 1;
        }
    }
    assert!(folders.len() > 30, "found too little: {folders:?}");
    folders.retain(|_, files| *files > MAX_FILES);
    assert!(folders.is_empty(), "more than {MAX_FILES} files; group them by what they are about: {folders:#?}");
}

#[test]
fn methods_of_a_type_stand_together() {
    let mut wrong = Vec::new();
    for package in PACKAGES {
        let modules = Modules::of(package);
        let defined = |name: &str, code: &str| {
            ["struct", "enum", "union"].iter().any(|word| {
                code.match_indices(&format!("{word} {name}")).any(|(at, found)| {
                    let next = code[at + found.len()..].chars().next();
                    !next.is_some_and(|c| c.is_alphanumeric() || c == '_')
                })
            })
        };
        let mut files: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (file, code) in modules.files() {
            for name in types_with_methods(code) {
                // Two files may each have a type of that name: one that defines it has its own.
                let owner =
                    if defined(&name, code) { format!("{name} of {file}") } else { owner(&modules, &name, &defined) };
                files.entry(owner).or_default().insert(file);
            }
        }
        for (name, files) in files {
            if files.len() > MAX_IMPLS {
                wrong.push(format!("{package}: {name} has methods in {files:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "in {MAX_IMPLS} files at most; make functions of the rest: {wrong:#?}");
}

/// The file that defines a type, if only one does.
fn owner(modules: &Modules, name: &str, defined: &impl Fn(&str, &str) -> bool) -> String {
    let found: Vec<&str> = modules.files().filter(|(_, code)| defined(name, code)).map(|(file, _)| file).collect();
    match found.as_slice() {
        [only] => format!("{name} of {only}"),
        _ => name.to_owned(),
    }
}

/// Types that a file has an `impl` of that is of no trait.
fn types_with_methods(code: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in code.lines().filter(|line| line.starts_with("impl")) {
        let rest = &line["impl".len()..];
        // Behind the parameters, which may have angle brackets themselves.
        let rest = match rest.strip_prefix('<') {
            Some(generic) => {
                let mut depth = 1;
                let end = generic.find(|c| {
                    depth += i32::from(c == '<') - i32::from(c == '>');
                    depth == 0
                });
                &generic[end.map_or(generic.len(), |end| end + 1)..]
            }
            None => rest,
        };
        if rest.contains(" for ") {
            continue;
        }
        let name: String = rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        found.insert(name);
    }
    found
}

/// Imports are counted, and what modules pass on as imports from where it is; calls of methods are not, which is why their
/// number of files has a bound of its own ([`methods_of_a_type_stand_together`]).
#[test]
fn no_room_has_a_ring_of_files() {
    let mut rings = Vec::new();
    for package in PACKAGES {
        let modules = Modules::of(package);
        let imports = modules.imports();
        assert!(imports.values().any(|targets| !targets.is_empty()) || imports.len() < 10, "{package}: {imports:?}");
        for ring in rings_of(&imports) {
            // Two rooms that import each other are a matter of layers.
            let room = |file: &str| file.split_once('/').map_or("", |(room, _)| room).to_owned();
            let rooms: BTreeSet<String> = ring.iter().map(|file| room(file)).collect();
            let shown: Vec<String> = ring.iter().map(|file| format!("{package}/src/{file}")).collect();
            rings.push(format!("{rooms:?}: {shown:?}"));
        }
    }
    assert!(rings.is_empty(), "files that import each other in a ring: {rings:#?}");
}

/// Sets of files of which each leads to each other.
fn rings_of<'a>(imports: &BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<BTreeSet<&'a str>> {
    let reached: BTreeMap<&str, BTreeSet<&str>> = imports
        .keys()
        .map(|start| {
            let (mut seen, mut open) = (BTreeSet::new(), vec![*start]);
            while let Some(file) = open.pop() {
                open.extend(imports.get(file).into_iter().flatten().filter(|target| seen.insert(**target)));
            }
            (*start, seen)
        })
        .collect();
    let ring = |file: &str| -> BTreeSet<&'a str> {
        imports
            .keys()
            .filter(|other| reached[file].contains(**other) && reached[**other].contains(file))
            .copied()
            .collect()
    };
    imports.keys().map(|file| ring(file)).filter(|ring| !ring.is_empty()).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn rings_are_found() {
    let graph = BTreeMap::from([
        ("a", BTreeSet::from(["b"])),
        ("b", BTreeSet::from(["c"])),
        ("c", BTreeSet::from(["a", "d"])),
        ("d", BTreeSet::from(["e"])),
        ("e", BTreeSet::new()),
    ]);
    assert_eq!(rings_of(&graph), [BTreeSet::from(["a", "b", "c"])]);
    let code = "impl A {\nimpl<T: Into<B>> C<T> {\nimpl Drop for D {\nimpl<'a> E<'a> {\n    impl F {";
    assert_eq!(types_with_methods(code), BTreeSet::from(["A", "C", "E"].map(String::from)));
}

//! A program's files as modules, and which of them each file's paths lead to.

use std::collections::{BTreeMap, BTreeSet};

use tests::sources::sources;

use crate::{code, is_test_file};

/// The modules of one package, without its tests.
pub struct Modules {
    /// By path from the root, such as `["store", "tx"]`; the root itself is the empty one. File below `src`, and code.
    by_path: BTreeMap<Vec<String>, (String, String)>,
}

impl Modules {
    /// Those of the package in this folder of the repository.
    pub fn of(package: &str) -> Self {
        let mut by_path = BTreeMap::new();
        let start = format!("{package}/src/");
        for (name, text) in sources().filter(|(name, _)| !is_test_file(name)) {
            let Some(file) = name.strip_prefix(&start) else { continue };
            let mut path: Vec<String> = file.trim_end_matches(".rs").split('/').map(str::to_owned).collect();
            // A program beside its library imports that from outside.
            if path == ["main"] && tests::binaries::repository().join(&start).join("lib.rs").exists() {
                continue;
            }
            if matches!(path.last().map(String::as_str), Some("mod" | "lib" | "main")) {
                path.pop();
            }
            by_path.insert(path, (file.to_owned(), code(&text)));
        }
        Self { by_path }
    }

    /// Files with their code.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.by_path.values().map(|(file, code)| (file.as_str(), code.as_str()))
    }

    /// From each file to those that it imports from. What a module only passes on (`pub use`) is imported from where it is
    /// by those who name it, and not by the module.
    pub fn imports(&self) -> BTreeMap<&str, BTreeSet<&str>> {
        let mut found = BTreeMap::new();
        for (module, (file, code)) in &self.by_path {
            let own = without_passed_on(code);
            let mut targets: BTreeSet<&str> = BTreeSet::new();
            for path in paths(&own) {
                targets.extend(self.target(module, &path));
            }
            for child in self.children(module).filter(|child| mentions(&own, child)) {
                targets.extend(self.target(module, &["self".to_owned(), child.to_owned()]));
            }
            targets.remove(file.as_str());
            found.insert(file.as_str(), targets);
        }
        found
    }

    fn children<'a>(&'a self, module: &'a [String]) -> impl Iterator<Item = &'a str> {
        let below = |path: &&Vec<String>| path.len() == module.len() + 1 && path.starts_with(module);
        self.by_path.keys().filter(below).filter_map(|path| path.last().map(String::as_str))
    }

    /// What a module passes on: by which name, and from which of its modules.
    fn passed_on(&self, module: &[String]) -> BTreeMap<String, Vec<String>> {
        let Some((_, code)) = self.by_path.get(module) else { return BTreeMap::new() };
        let mut names = BTreeMap::new();
        for statement in uses(code).filter(|statement| statement.public) {
            for path in expand(&statement.tree) {
                let relative = !matches!(path.first().map(String::as_str), Some("crate" | "super" | "self"));
                let path = if relative { [vec!["self".to_owned()], path].concat() } else { path };
                if let Some(name) = path.last() {
                    names.insert(name.clone(), path);
                }
            }
        }
        names
    }

    /// The file that a path of `module` leads to, as far as modules go.
    fn target(&self, module: &[String], path: &[String]) -> Option<&str> {
        let mut at = module.to_vec();
        for (n, segment) in path.iter().enumerate() {
            match segment.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => drop(at.pop()),
                word => {
                    let mut below = at.clone();
                    below.push(word.to_owned());
                    if self.by_path.contains_key(&below) {
                        at = below;
                        continue;
                    }
                    // Passed on by a module: it is where that has it from.
                    if at.as_slice() != module
                        && let Some(from) = self.passed_on(&at).get(word)
                    {
                        let from = [&from[..], &path[n + 1..]].concat();
                        return self.target(&at, &from);
                    }
                    break;
                }
            }
        }
        self.by_path.get(&at).map(|(file, _)| file.as_str())
    }
}

/// A `use` statement.
struct Use {
    public: bool,
    tree: String,
}

fn uses(code: &str) -> impl Iterator<Item = Use> {
    code.match_indices("use ").filter_map(|(at, word)| {
        let line = code[..at].rfind('\n').map_or(0, |at| at + 1);
        let before = code[line..at].trim();
        let public = before.starts_with("pub");
        let plain = before.is_empty() || before == "pub" || before.starts_with("pub(") && before.ends_with(')');
        let rest = &code[at + word.len()..];
        plain.then(|| Use { public, tree: rest[..rest.find(';').unwrap_or(rest.len())].to_owned() })
    })
}

/// The code without its `pub use` statements.
fn without_passed_on(code: &str) -> String {
    let mut own = code.to_owned();
    for statement in uses(code).filter(|statement| statement.public) {
        own = own.replace(&format!("use {};", statement.tree), "");
    }
    own
}

/// All paths of a tree, such as `a::{b, c::{self, d}}`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let tree = tree.split(" as ").next().filter(|_| !tree.contains('{')).unwrap_or(tree).trim();
    if let Some(group) = tree.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
        return parts(group).into_iter().flat_map(expand).collect();
    }
    match tree.split_once("::") {
        Some((first, rest)) if !first.contains('{') => expand(rest)
            .into_iter()
            .map(|path| if path == ["self"] { vec![first.to_owned()] } else { [vec![first.to_owned()], path].concat() })
            .collect(),
        _ if tree.is_empty() => Vec::new(),
        _ => vec![vec![tree.to_owned()]],
    }
}

/// What stands between the commas of a group, groups in it left whole.
fn parts(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                found.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(&group[start..]);
    found
}

/// All paths of a file that begin with `crate`, `super` or `self`.
fn paths(code: &str) -> Vec<Vec<String>> {
    let mut found: Vec<_> = uses(code).flat_map(|statement| expand(&statement.tree)).collect();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            if code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$' | ':')) {
                continue;
            }
            // A group is a part of a `use`, which is read already.
            if code[at + root.len()..].starts_with('{') {
                continue;
            }
            let end =
                code[at..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(code.len() - at);
            found.push(code[at..at + end].split("::").filter(|word| !word.is_empty()).map(str::to_owned).collect());
        }
    }
    found.retain(|path| matches!(path.first().map(String::as_str), Some("crate" | "super" | "self")));
    found
}

/// Whether a module is named by its parent: `child::...`, and not as a part of another path.
fn mentions(code: &str, child: &str) -> bool {
    code.match_indices(&format!("{child}::"))
        .any(|(at, _)| !code[..at].chars().next_back().is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | ':')))
}

#[test]
fn trees_of_imports_are_expanded() {
    let shown = |tree: &str| expand(tree).into_iter().map(|path| path.join("::")).collect::<Vec<_>>();
    assert_eq!(shown("a::b"), ["a::b"]);
    assert_eq!(shown("a::{self, b, c::{d, e as f}, g::*}"), ["a", "a::b", "a::c::d", "a::c::e", "a::g::*"]);
    let code = "use super::{a, b::C};\npub use x::Y;\nfn f() { crate::d::e(); mycrate::no(); self::g::h }";
    let shown: Vec<_> = paths(code).into_iter().map(|path| path.join("::")).collect();
    assert_eq!(shown, ["super::a", "super::b::C", "crate::d::e", "self::g::h"]);
    assert!(mentions("render::text()", "render") && !mentions("term::render::text()", "render"));
    assert!(!without_passed_on(code).contains("x::Y"));
}

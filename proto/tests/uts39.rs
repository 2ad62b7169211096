//! Names, by the Unicode consortium's own files for UTS 39, and not by what a library makes of them. They are copies from
//! unicodetools, shortened; `data/uts39/LICENSE` is theirs.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proto::name::Name;
use unicode_normalization::UnicodeNormalization;

const STATUS: &str = include_str!("data/uts39/IdentifierStatus.txt");
const CONFUSABLES: &str = include_str!("data/uts39/confusables.txt");
const INTENTIONAL: &str = include_str!("data/uts39/intentional.txt");

fn text_of(hex: &str) -> String {
    hex.split_whitespace().map(|code| char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap()).collect()
}

fn rows(file: &str) -> impl Iterator<Item = (&str, &str)> {
    let lines = file.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(';').unwrap_or_else(|| panic!("{line}")))
}

/// The prototype of each character that has one.
fn prototypes() -> BTreeMap<char, String> {
    let rows = rows(CONFUSABLES).map(|(from, to)| (text_of(from).chars().next().unwrap(), text_of(to)));
    rows.collect()
}

/// As UTS 39, section 4 defines it.
fn skeleton(prototypes: &BTreeMap<char, String>, text: &str) -> String {
    let mapped: String = text.nfd().map(|c| prototypes.get(&c).cloned().unwrap_or_else(|| c.to_string())).collect();
    mapped.nfd().collect()
}

#[test]
fn the_files_are_of_the_version_that_names_are_judged_by() {
    let (major, minor, patch) = unicode_security::UNICODE_VERSION;
    for file in [STATUS, CONFUSABLES, INTENTIONAL] {
        assert!(file.contains(&format!("# Version: {major}.{minor}.{patch}\n")), "{}", &file[..300]);
    }
}

#[test]
fn names_hold_what_identifiers_may_hold() {
    let mut allowed = BTreeSet::new();
    for (range, status) in rows(STATUS) {
        assert_eq!(status, "Allowed");
        let (first, last) = range.split_once("..").unwrap_or((range, range));
        let of = |hex: &str| u32::from_str_radix(hex, 16).unwrap();
        allowed.extend((of(first)..=of(last)).filter_map(char::from_u32));
    }
    let mut names = BTreeSet::new();
    for c in (0..=0x0010_ffff).filter_map(char::from_u32) {
        for text in [c.to_string(), format!("a{c}")] {
            let Ok(name) = Name::parse(&text) else { continue };
            let odd = name.as_str().chars().find(|c| !allowed.contains(c) && !"-_.+".contains(*c));
            assert_eq!(odd, None, "{text:?} became {name}");
            names.extend(name.as_str().chars());
        }
    }
    println!("figure: of {} characters that identifiers may have, names have {}", allowed.len(), names.len());
    assert!(names.len() > 30_000 && allowed.len() > names.len(), "{} of {}", names.len(), allowed.len());
}

#[test]
fn what_the_files_call_confusable_is_one_name() {
    let prototypes = prototypes();
    let mut groups: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (from, to) in rows(CONFUSABLES).chain(rows(INTENTIONAL)) {
        for text in [text_of(from), text_of(to)] {
            groups.entry(skeleton(&prototypes, &text)).or_default().insert(text);
        }
    }
    let (mut both, mut alone) = (0, 0);
    for group in groups.values() {
        // Capitals are names in small letters: what counts is what is shown.
        let names: BTreeSet<Name> = group
            .iter()
            .filter_map(|text| Name::parse(text).ok().filter(|name| name.as_str() == text.nfc().collect::<String>()))
            .collect();
        let skeletons: BTreeSet<String> = names.iter().map(Name::skeleton).collect();
        assert!(skeletons.len() <= 1, "{names:?} look the same: {skeletons:?}");
        both += names.len() * names.len().saturating_sub(1) / 2;
        alone += usize::from(names.len() < 2);
    }
    println!("figure: {both} pairs of names that look the same, each one name; of {alone} looks one name at most");
    assert!(both > 500, "{both}");
}

/// Each letter of a name in the place of each that looks like it: no name, or one of that look.
#[test]
fn no_letter_of_alice_bob_or_carol_can_be_exchanged() {
    let prototypes = prototypes();
    let (mut refused, mut found) = (0, 0);
    for taken in ["alice", "bob", "carol", "modern", "w0rld"].map(|name| Name::parse(name).unwrap()) {
        for (at, letter) in taken.as_str().char_indices() {
            let look = skeleton(&prototypes, letter.encode_utf8(&mut [0; 4]));
            for other in prototypes.keys().filter(|c| skeleton(&prototypes, &c.to_string()) == look) {
                let mut text = taken.as_str().to_owned();
                text.replace_range(at..=at, other.encode_utf8(&mut [0; 4]));
                match Name::parse(&text) {
                    // A capital, for one: shown as the small letter that it is.
                    Ok(name) if skeleton(&prototypes, name.as_str()) == skeleton(&prototypes, taken.as_str()) => {
                        assert_eq!(name.skeleton(), taken.skeleton(), "{text} for {taken}");
                        found += 1;
                    }
                    Ok(_) => {}
                    Err(_) => refused += 1,
                }
            }
        }
    }
    println!("figure: of letters exchanged for what looks like them {refused} make no name, {found} one that is taken");
    assert!(refused > 500 && found > 5, "{refused}, {found}");
}

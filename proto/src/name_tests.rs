#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

#[test]
fn one_form_for_all_spellings() {
    for (typed, kept) in [
        ("bob", "bob"),
        ("Bob", "bob"),
        ("ＢＯＢ", "bob"),
        ("Ame\u{301}lie", "am\u{e9}lie"),
        ("ИВАН", "иван"),
        ("o.k-1_2+3", "o.k-1_2+3"),
        ("山田たろう", "山田たろう"),
        ("김철수", "김철수"),
        ("שלום", "שלום"),
        ("محمد", "محمد"),
        ("7of9", "7of9"),
    ] {
        assert_eq!(Name::parse(typed).map(|n| n.to_string()), Ok(kept.to_owned()), "{typed}");
    }
}

#[test]
fn the_broken_rule_is_named() {
    let long = "b".repeat(33);
    let huge = "b".repeat(5_000);
    for (typed, error) in [
        ("", NameError::Empty),
        (long.as_str(), NameError::TooLong(33)),
        (huge.as_str(), NameError::TooLong(5_000)),
        ("bob smith", NameError::Character(' ')),
        ("bob@home", NameError::Character('@')),
        ("＃bob", NameError::Character('#')),
        ("a/b", NameError::Character('/')),
        ("a:b", NameError::Character(':')),
        ("a\u{7}b", NameError::Character('\u{7}')),
        ("a\u{1b}[31m", NameError::Character('\u{1b}')),
        ("bob\u{200b}", NameError::Character('\u{200b}')),
        ("bob\u{202e}", NameError::Character('\u{202e}')),
        ("😀", NameError::Character('😀')),
        ("$HOME", NameError::Character('$')),
        ("-bob", NameError::Start('-')),
        ("..", NameError::Start('.')),
        ("bоb", NameError::MixedScripts("Latin", "Cyrillic")),
        ("αlice", NameError::MixedScripts("Greek", "Latin")),
    ] {
        assert_eq!(Name::parse(typed), Err(error), "{typed:?}");
    }
    assert!(Name::parse(&"b".repeat(32)).is_ok());
    assert!(Name::parse("e\u{301}\u{302}\u{303}\u{304}\u{305}\u{306}").is_err(), "stacked marks");
    assert!(Name::parse("שלוםbob").is_err());
}

#[test]
fn look_alikes_share_a_skeleton() {
    // Of the last pair a fuzzer found that both are "ΓΙΩΡΓΟΣ" in capitals.
    for (a, b) in [
        ("сосо", "coco"),
        ("bob", "b0b"),
        ("paypal", "paypa1"),
        ("рора", "popa"),
        ("modern", "modem"),
        ("γιωργος", "γιωργοσ"),
    ] {
        assert_eq!(Name::parse(a).unwrap().skeleton(), Name::parse(b).unwrap().skeleton(), "{a} {b}");
    }
    for (a, b) in [("alice", "bob"), ("user1", "user2"), ("zoe", "zoë"), ("иван", "ivan")] {
        assert_ne!(Name::parse(a).unwrap().skeleton(), Name::parse(b).unwrap().skeleton(), "{a} {b}");
    }
}

/// What somebody registered beside alice, bob and carol: no name at all, or one that the directory finds to look like theirs.
#[test]
fn nobody_looks_like_alice_bob_or_carol() {
    let taken: Vec<String> = ["alice", "bob", "carol"].map(|name| Name::parse(name).unwrap().skeleton()).into();
    for typed in [
        "ali\u{307}ce",
        "b\u{1d0f}b",
        "car\u{1d0f}l",
        "\u{1d04}arol",
        "a\u{1c0}ice",
        "\u{44c}\u{43e}\u{44c}",
        "a1ice",
        "alıce",
        "al\u{456}ce",
        "b0b",
        "c\u{1d00}rol",
        "al\u{268}\u{307}ce",
        "al\u{307}ice",
        "bo\u{185}",
        "ɑlice",
        "αlice",
        "b\u{585}b",
    ] {
        let refused = Name::parse(typed).map_or(true, |name| taken.contains(&name.skeleton()));
        assert!(refused, "{typed:?}: {:?}", Name::parse(typed).map(|name| name.skeleton()));
    }
    // With and without a joiner; the two kafs.
    for (a, b) in [("क\u{94d}षत्र", "क\u{94d}\u{200d}षत्र"), ("\u{643}ريم", "\u{6a9}ريم"), ("نامه", "نا\u{200c}مه")]
    {
        let skeleton = Name::parse(a).unwrap().skeleton();
        assert!(Name::parse(b).map_or(true, |name| name.skeleton() == skeleton), "{a} {b}");
    }
    for good in [
        "alicia",
        "rob",
        "karol",
        "zoë",
        "jürgen",
        "žofia",
        "иван",
        "ελένη",
        "नीता",
        "สมชาย",
        "محمد",
        "שלמה",
        "김철수",
        "山田",
    ] {
        assert!(
            Name::parse(good).is_ok_and(|name| !taken.contains(&name.skeleton())),
            "{good}: {:?}",
            Name::parse(good)
        );
    }
}

/// Of every character there is, by the consortium's data as `unicode-security` has them: one that looks like letters of ASCII
/// cannot stand for them in a name beside another of that look.
#[test]
fn no_character_at_all_registers_beside_what_it_looks_like() {
    let (mut looking, mut refused) = (0u32, 0u32);
    for c in (0x80..=0x0010_ffff).filter_map(char::from_u32) {
        // Alone, and among letters of ASCII, where one script decides as well.
        for (before, after) in [("", ""), ("x", "z")] {
            let Ok(name) = Name::parse(&format!("{before}{c}{after}")) else {
                refused += 1;
                continue;
            };
            // As it is shown: in its normal form, which has no capitals.
            let look: String = skeleton(name.as_str()).collect::<String>().to_lowercase();
            if name.as_str().is_ascii() || !look.chars().all(|c| c.is_ascii_alphanumeric()) {
                continue;
            }
            looking += 1;
            match Name::parse(&look) {
                Ok(taken) => assert_eq!(name.skeleton(), taken.skeleton(), "{name} (U+{:04X}) as {look}", u32::from(c)),
                Err(error) => panic!("{name} looks like {look:?}, which is no name: {error}"),
            }
        }
    }
    println!(
        "figure: of all characters in two places {refused} are refused; {looking} look like ASCII, each is of that look"
    );
    assert!(looking > 100, "the data are there: {looking}");
}

/// What UTS 39 says that identifiers are made of, of every character: nothing else is in a name, whatever stands beside it.
#[test]
fn no_character_that_identifiers_do_not_have_is_in_a_name() {
    let (mut allowed, mut restricted) = (0u32, 0u32);
    for c in (0..=0x0010_ffff).filter_map(char::from_u32) {
        for text in [c.to_string(), format!("a{c}")] {
            let Ok(name) = Name::parse(&text) else {
                restricted += 1;
                continue;
            };
            allowed += 1;
            let odd = name.as_str().chars().find(|c| !PUNCTUATION.contains(c) && !c.identifier_allowed());
            assert_eq!(odd, None, "{text:?} became {name}");
            let letters: String = name.as_str().chars().filter(|c| !PUNCTUATION.contains(c)).collect();
            assert!(letters.check_restriction_level(RestrictionLevel::HighlyRestrictive), "{text:?} became {name}");
        }
    }
    println!("figure: of all characters, in two places: {allowed} names, {restricted} refused");
    assert!(allowed > 10_000, "the data are there: {allowed}");
}

#[test]
fn addresses() {
    let home: Address = "Bob".parse().unwrap();
    assert_eq!((home.name.as_str(), home.domain.as_deref()), ("bob", None));
    let away: Address = "bob@Example.ORG.".parse().unwrap();
    assert_eq!(away.to_string(), "bob@example.org");
    for bad in ["bob@", "bob@-x", "bob@a..b", "bob@exa mple", "bob@@x", "bob@ex/ample", "@x", "bob@é.org"] {
        assert!(bad.parse::<Address>().is_err(), "{bad}");
    }
    assert!(format!("bob@{}", "a.".repeat(200)).parse::<Address>().is_err());
}

proptest! {
    #[test]
    fn any_text_is_a_stable_name_or_an_error(text in ".{0,40}") {
        if let Ok(name) = Name::parse(&text) {
            prop_assert_eq!(&Name::parse(name.as_str()).unwrap(), &name);
            let chars = name.as_str().chars().count();
            prop_assert!((1..=MAX_NAME_CHARS).contains(&chars));
            let reserved = name.as_str().contains(['@', '#', '/', ':', ' ', '\n', '\u{1b}', '%', '?']);
            prop_assert!(!reserved);
            let letters: String = name.as_str().chars().filter(|c| !PUNCTUATION.contains(c)).collect();
            prop_assert!(letters.check_restriction_level(RestrictionLevel::HighlyRestrictive), "{name}");
            let _ = name.skeleton();
        }
    }

    #[test]
    fn case_never_tells_names_apart(text in "[a-zA-Z0-9]{1,20}") {
        let expected = text.to_lowercase();
        prop_assert_eq!(Name::parse(&text).unwrap().to_string(), expected);
        prop_assert_eq!(Name::parse(&text.to_uppercase()).unwrap(), Name::parse(&text).unwrap());
    }

    #[test]
    fn an_address_reads_back(name in "[a-z][a-z0-9]{0,10}", domain in proptest::option::of("[a-z]{1,9}(\\.[a-z]{2,5}){0,2}")) {
        let address = Address { name: Name::parse(&name).unwrap(), domain };
        prop_assert_eq!(address.to_string().parse::<Address>().unwrap(), address);
    }
}

//! Names of people and addresses: what is taken is in its one form, and says the same when it is read again. No files
//! are transferred in this version; their names join here when they are.
#![no_main]

use libfuzzer_sys::fuzz_target;
use proto::name::{Address, MAX_DOMAIN_BYTES, MAX_NAME_CHARS, Name, fold_query, parse_domain};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(name) = Name::parse(text) {
        assert!((1..=MAX_NAME_CHARS).contains(&name.as_str().chars().count()), "{name}");
        assert_eq!(Name::parse(name.as_str()).as_ref(), Ok(&name), "a name has one form");
        let quiet =
            |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '/' | '\\' | '@' | '#' | ':' | '"' | '\'');
        assert!(name.as_str().chars().all(quiet), "{name:?}");
        assert!(name.as_str().starts_with(char::is_alphanumeric), "{name:?}");
        assert!(!name.skeleton().is_empty());
        let upper = name.as_str().to_uppercase();
        // Not all letters come back from their capitals (of "ß" they are "SS"), and some capitals are too new to be allowed.
        if let Ok(shouted) = Name::parse(&upper)
            && upper.to_lowercase() == name.as_str()
        {
            // A sigma has two small letters: the directory gives only one of the two names away.
            assert_eq!(shouted.skeleton(), name.skeleton(), "capitals make another name: {upper}");
        }
    }
    if let Ok(domain) = parse_domain(text) {
        assert!(domain.len() <= MAX_DOMAIN_BYTES);
        assert_eq!(parse_domain(&domain).as_ref(), Ok(&domain), "a domain has one form");
    }
    if let Ok(address) = text.parse::<Address>() {
        assert_eq!(address.to_string().parse::<Address>().as_ref(), Ok(&address));
    }
    let _ = fold_query(text);
});

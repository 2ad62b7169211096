//! Search against a scan that knows nothing of FTS5.

use proptest::prelude::*;

use crate::model::ids::ConversationRow;
use crate::store::history::search::tests::{Alice, until_indexed};

/// Words with accents, cut and folded without FTS5's help.
fn naive(body: &str) -> Vec<String> {
    let fold = |c: char| match c {
        'é' | 'è' | 'É' => 'e',
        'ä' | 'Å' | 'å' | 'à' => 'a',
        'ñ' | 'Ñ' => 'n',
        c => c.to_ascii_lowercase(),
    };
    body.split([' ', '-', '!']).filter(|w| !w.is_empty()).map(|w| w.chars().map(fold).collect()).collect()
}

/// Every word is there; the last one, from two letters on, as the beginning of a word.
fn all_in(words: &[String], body: &[String]) -> bool {
    let Some((last, rest)) = words.split_last() else { return false };
    let begins = |w: &String| if last.chars().count() < 2 { w == last } else { w.starts_with(last.as_str()) };
    rest.iter().all(|w| body.contains(w)) && body.iter().any(begins)
}

/// Scripts with spaces, by a few of their letters; every letter of a pair counts as the other.
const SPACED: [(&str, [[&str; 2]; 4]); 8] = [
    ("Latin", [["é", "E"], ["ß", "ss"], ["ø", "Ø"], ["a", "å"]]),
    ("Greek", [["ά", "Α"], ["σ", "ς"], ["β", "Β"], ["ω", "Ώ"]]),
    ("Cyrillic", [["ё", "Е"], ["ж", "Ж"], ["и", "Й"], ["я", "Я"]]),
    ("Armenian", [["ա", "Ա"], ["բ", "Բ"], ["գ", "Գ"], ["դ", "Դ"]]),
    ("Hebrew", [["ש", "שׁ"], ["ל", "לָ"], ["ו", "וֹ"], ["ם", "ם"]]),
    ("Arabic", [["م", "مُ"], ["ح", "حَ"], ["د", "دّ"], ["ه", "ه"]]),
    ("Devanagari", [["मी", "मी"], ["टिं", "टिं"], ["ग", "ग"], ["क्ष", "क्ष"]]),
    ("Hangul", [["회", "회"], ["의", "의"], ["는", "는"], ["장", "장"]]),
];
/// Scripts without spaces.
const UNSPACED: [(&str, [[&str; 2]; 4]); 6] = [
    ("Han", [["会", "会"], ["议", "议"], ["室", "室"], ["的", "的"]]),
    ("Kana", [["か", "か"], ["が", "か\u{3099}"], ["カ", "ｶ"], ["ー", "ｰ"]]),
    ("Thai", [["ป", "ป"], ["ระ", "ระ"], ["ชุ", "ชุ"], ["ม", "ม"]]),
    ("Lao", [["ກ", "ກ"], ["ຂ", "ຂ"], ["ຄ", "ຄ"], ["ງ", "ງ"]]),
    ("Khmer", [["ក", "ក"], ["ខ", "ខ"], ["គ", "គ"], ["ឃ", "ឃ"]]),
    ("Burmese", [["က", "က"], ["ခ", "ခ"], ["ဂ", "ဂ"], ["ဃ", "ဃ"]]),
];

/// A text by number of letter, its form, and whether a space follows: as it is written, and with one form only.
fn write(letters: &[[&str; 2]; 4], picks: &[(usize, usize, bool)]) -> (String, Vec<String>) {
    let (mut text, mut words) = (String::new(), vec![String::new()]);
    for (letter, form, space) in picks {
        text.push_str(letters[*letter][*form]);
        words.last_mut().unwrap().push(char::from_digit(u32::try_from(*letter).unwrap(), 10).unwrap());
        if *space {
            text.push_str(", ");
            words.push(String::new());
        }
    }
    words.retain(|word| !word.is_empty());
    (text, words)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    /// Fourteen scripts: what a scan finds is found, and nothing else, in the index as in the tail.
    #[test]
    fn every_script_is_found_as_a_scan_finds_it(
        texts in prop::collection::vec(prop::collection::vec((0..4_usize, 0..2_usize, prop::bool::weighted(0.3)), 1..10), 1..20),
        queries in prop::collection::vec(prop::collection::vec((0..4_usize, 0..2_usize, prop::bool::weighted(0.2)), 1..4), 1..6),
        indexed in any::<bool>(),
    ) {
        for (spaced, (script, letters)) in
            SPACED.iter().map(|s| (true, s)).chain(UNSPACED.iter().map(|s| (false, s)))
        {
            let alice = Alice::new();
            let search = alice.search();
            let stored: Vec<(i64, Vec<String>)> = texts.iter().map(|picks| {
                let (text, words) = write(letters, picks);
                (alice.store(1, &text), words)
            }).collect();
            if indexed {
                until_indexed(&search, stored[stored.len() - 1].0);
            }
            for picks in &queries {
                let (query, words) = write(letters, picks);
                // One letter of a pair may be two on the screen (`ss`): such a word is long enough to be a prefix.
                let long = |w: &str| w.len() > 1 || (*script == "Latin" && w == "1") || (*script == "Devanagari" && w != "2");
                let last = words.len() - 1;
                let matches = |body: &Vec<String>| words.iter().enumerate().all(|(i, word)| body.iter().any(|w| match spaced {
                    false => w.contains(word.as_str()),
                    true if i == last && long(word) => w.starts_with(word.as_str()),
                    true => w == word,
                }));
                let want: Vec<i64> = stored.iter().rev().filter(|(_, body)| matches(body)).map(|(id, _)| *id).collect();
                prop_assert_eq!(super::find(&search, &query), want, "{}: {:?}", script, query);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn search_finds_what_a_scan_finds(
        bodies in prop::collection::vec(("[abéÉèäÅàñÑN]{1,2}([ !-]{1,2}[abéÉèäÅàñÑN]{1,2}){0,4}", 0..3_i64), 1..40),
        queries in prop::collection::vec(("[abeénñ]{1,2}( [aåäbè]{1,2}){0,2}", any::<bool>(), prop::option::of(0..3_i64)), 1..12),
        indexed in 0..40_usize,
        deleted in prop::collection::vec(0..40_usize, 0..6),
        before in prop::option::of(1..40_i64),
        limit in 1..12_usize,
    ) {
        let alice = Alice::new();
        let search = alice.search();
        let mut left = Vec::new();
        let mut blocked = None;
        for (i, (body, conversation)) in bodies.iter().enumerate() {
            left.push((alice.store(*conversation, body), *conversation, naive(body)));
            if i == indexed {
                until_indexed(&search, left[i].0);
                blocked = Some(alice.block_indexer());
            }
        }
        for i in deleted {
            if i < left.len() {
                alice.delete(left.remove(i).0);
            }
        }
        for (query, phrase, conversation) in &queries {
            let words = naive(query);
            let text = if *phrase { format!("\"{query}\"") } else { query.clone() };
            let want: Vec<i64> = left
                .iter()
                .rev()
                .filter(|(id, c, body)| {
                    before.is_none_or(|b| *id < b)
                        && conversation.is_none_or(|wanted| wanted == *c)
                        && if *phrase { body.windows(words.len()).any(|w| w == words) } else { all_in(&words, body) }
                })
                .map(|(id, ..)| *id)
                .take(limit)
                .collect();
            prop_assert_eq!(search.query(&text, conversation.map(ConversationRow), limit, before).unwrap(), want, "{} in {:?}", text, conversation);
        }
        drop(blocked);
    }
}

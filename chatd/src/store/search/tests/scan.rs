//! Search against a scan that knows nothing of FTS5.

use proptest::prelude::*;

use super::{Alice, until_indexed};

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
                        && if *phrase { body.windows(words.len()).any(|w| w == words) } else { words.iter().all(|w| body.contains(w)) }
                })
                .map(|(id, ..)| *id)
                .take(limit)
                .collect();
            prop_assert_eq!(search.query(&text, *conversation, limit, before).unwrap(), want, "{} in {:?}", text, conversation);
        }
        drop(blocked);
    }
}

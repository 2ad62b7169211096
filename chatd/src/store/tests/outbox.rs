//! What waits for its recipient: stored once, and the same bytes whenever it is read.

use proto::ids::sha256;
use proto::wire::envelope::Core;

use crate::model::{Format, Priority};
use crate::store::log::outgoing::{self, NewMessage};
use crate::store::tests::fixture::{Person, message};

#[test]
fn what_waits_is_made_again_in_the_bytes_that_were_hashed() {
    let (alice, bob) = (Person::new("alice"), Person::new("bob"));
    alice.befriend(&bob);
    let to = alice.id(&bob);
    let priorities = [Priority::Low, Priority::Normal, Priority::High];
    let tag_lists: [&[&str]; 4] = [&[], &[""], &["a", "", "b c"], &["один", "🎉"]];
    let mut sent: Vec<NewMessage> = Vec::new();
    for (format, priority) in [(Format::Plain, priorities), (Format::Markdown, priorities)]
        .into_iter()
        .flat_map(|(format, priorities)| priorities.map(|priority| (format, priority)))
    {
        for tags in tag_lists {
            for body in ["", "text", "a\0b\n\u{202e}", "会議 🎉"] {
                let reply_to = sent.last().map(|before| before.id).filter(|_| sent.len() % 2 == 1);
                let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
                sent.push(NewMessage { body: body.to_owned(), format, priority, tags, reply_to, ..message("") });
            }
        }
    }
    let messages = sent.clone();
    alice.write(move |tx| outgoing::send(tx, to, &messages)).unwrap();
    assert_eq!(alice.count("SELECT sum(length(core)) FROM outbox"), 0, "the text is stored once");
    let cores = alice.outbox(&bob);
    assert_eq!(cores.len(), sent.len());
    assert_eq!(alice.count("SELECT sum(bytes) FROM outbox"), cores.iter().map(|core| core.len() as i64).sum::<i64>());
    let mut before = [0; 32];
    for core in &cores {
        assert_eq!(Core::decode(core).unwrap().prev, before, "a core does not follow from the one before it");
        before = sha256(&[core]);
    }
    let hashed: Vec<u8> = alice.read(|conn| Ok(conn.query_row("SELECT prev FROM streams_out", [], |row| row.get(0))?));
    assert_eq!(hashed, before, "what was hashed when it was stored is not what is sent");
    let received = bob.receive(&alice, &cores);
    assert!(!received.chain_broken && received.shown == sent.len(), "{received:?}");
}

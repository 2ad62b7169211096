//! What backups that are on their way may take.

use std::sync::Arc;

use crate::model::Caller;
use crate::service::backup::transfers::{Owner, Transfers};
use crate::store::disk::reserve::Space;

#[test]
fn places_are_shared_and_given_back_and_a_transfer_is_its_users_alone() {
    let folder = tempfile::tempdir().unwrap();
    let transfers = Transfers::new(Space::open(folder.path()));
    let owner = |uid, has_account| Owner { uid, has_account };
    let first = transfers.place(owner(1, true)).unwrap();
    let second = transfers.place(owner(1, true)).unwrap();
    assert!(transfers.place(owner(1, true)).is_err(), "two for each user");
    let stranger = transfers.place(owner(2, false)).unwrap();
    assert!(transfers.place(owner(2, false)).is_err(), "one without an account");
    drop((first, second, stranger));
    let caller = |uid| Caller { uid, user: None, pid: None, grant: None };
    let file = tempfile::tempfile().unwrap();
    let id = transfers.add(1, true, file, 10).unwrap();
    let _third = transfers.place(owner(1, true)).unwrap();
    assert!(transfers.place(owner(1, true)).is_err(), "what is on its way has a place, too");
    assert!(transfers.touch(&caller(2), &id, true, Ok).is_err(), "somebody else's");
    assert!(transfers.touch(&caller(1), &id, false, Ok).is_err(), "an upload is no backup to read");
    let (file, size) = transfers.touch(&caller(1), &id, true, |size| Ok(size + 5)).unwrap();
    assert_eq!((size, Arc::strong_count(&file) > 1), (10, true));
    assert_eq!(transfers.take(&caller(1), &id, true).map(|(_, size)| size), Some(15));
    assert!(transfers.take(&caller(1), &id, true).is_none(), "it is taken once");
}

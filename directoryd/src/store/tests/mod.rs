//! One suite for whatever carries the commands out: SQLite, and a model in memory. Each case runs against both, and long
//! random lives of a directory have to end with the same answers.
#![allow(clippy::unwrap_used)]

mod group_room;
mod groups;
mod house;
mod mailboxes;
mod memory;
mod memory_groups;
mod names;
mod random;
mod random_groups;
mod team;

use std::fmt::Debug;

use rusqlite::Connection;

use super::command::Commands;
use super::sqlite::queries::Sql;
use super::sqlite::schema;

/// Something that carries the commands out.
trait Engine {
    type Transaction<'t>: Commands<Error: Debug>
    where
        Self: 't;

    fn begin(&mut self) -> Self::Transaction<'_>;
    fn end(transaction: Self::Transaction<'_>, commit: bool);
}

/// SQLite, with the schema of a real directory.
struct Sqlite {
    connection: Connection,
    _folder: tempfile::TempDir,
}

impl Default for Sqlite {
    fn default() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let connection = schema::open(&folder.path().join("directory.db"), None).unwrap();
        // The disk is not what is tested here.
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        Self { connection, _folder: folder }
    }
}

impl Engine for Sqlite {
    type Transaction<'t> = Sql<'t>;

    fn begin(&mut self) -> Sql<'_> {
        self.connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        Sql(&self.connection)
    }

    fn end(transaction: Sql<'_>, commit: bool) {
        transaction.0.execute_batch(if commit { "COMMIT" } else { "ROLLBACK" }).unwrap();
    }
}

/// Makes each case a test of each engine.
macro_rules! conformance {
    ($($room:ident: $($case:ident),+;)+) => {
        mod sqlite {
            $($(#[test] fn $case() { super::$room::$case(super::house::House::<super::Sqlite>::default()); })+)+
        }
        mod in_memory {
            $($(#[test] fn $case() { super::$room::$case(super::house::House::<super::memory::Model>::default()); })+)+
        }
    };
}

conformance! {
    names:
        a_name_is_taken_once_and_records_only_go_forward,
        a_name_that_was_given_up_rests_for_others,
        the_recovery_key_takes_a_resting_name_at_once,
        accounts_and_resting_names_share_the_room,
        what_a_device_told_goes_with_it,
        tokens_have_a_bound_and_are_refused_as_a_whole;
    mailboxes:
        numbers_are_counted_for_the_account_and_for_each_token,
        a_stranger_is_told_no_number_and_lies_there_once,
        numbers_go_on_after_the_mail_and_the_name_are_gone,
        the_same_bytes_of_another_token_are_others,
        lanes_are_apart_and_work_opens_the_second,
        the_room_for_all_holds_within_one_transaction,
        nobody_has_more_than_is_left_for_others,
        what_has_expired_is_not_there_and_in_nobodys_way,
        mail_is_given_in_order_and_in_parts,
        what_is_rolled_back_was_never_there,
        uptime_never_goes_back;
    groups:
        a_log_is_named_by_its_root_key_and_made_once,
        entries_are_numbered_and_each_lies_there_once,
        of_several_events_one_is_the_next,
        whoever_loses_three_races_has_a_turn,
        staged_keys_come_with_their_event_or_not_at_all,
        tokens_that_were_in_force_read_events_and_keys_and_write_their_slot,
        only_the_last_tokens_are_remembered,
        statements_only_go_forward_by_the_keys_in_force,
        what_was_lost_is_brought_back_to_its_place,
        a_proof_for_what_was_forgotten_is_none;
    group_room:
        one_writer_has_an_eighth_and_the_log_key_the_last,
        bytes_are_shared_as_entries_are,
        appends_are_counted_by_the_minute_and_lost_races_are_not,
        events_stay_and_the_rest_has_its_time,
        slots_only_go_forward_and_are_bounded,
        logs_of_an_account_that_left_stay_while_its_name_rests;
}

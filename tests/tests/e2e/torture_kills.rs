//! The kill oracle in small; `cargo xtask torture --only kills` does the same a hundred times as long.

use tests::oracle::{Plan, Who, run};

#[test]
fn nothing_acknowledged_is_lost_whoever_is_killed() {
    let report = run(&Plan::new(1, 12, 1_000)).unwrap();
    println!("figure: {}; {:?}", report.deaths, report.verdict);
    assert!(report.verdict.is_clean(), "{report:#?}");
    assert!(report.deaths.total() >= 12 && report.verdict.acknowledged > 500, "{report:#?}");
}

#[test]
fn a_disk_that_forgets_is_noticed() {
    // The control: an oracle that finds nothing here would find nothing anywhere.
    let weights = [(Who::Bob, 3), (Who::Alice, 1), (Who::Directory, 0)];
    let report = run(&Plan { weights, faults: false, forget: true, ..Plan::new(1, 12, 1_000) }).unwrap();
    println!("figure: control, bob's disk goes back by 100 messages or more: {:?}", report.verdict);
    // What was lost with it comes again, as it should; that the feed's numbers went back shows.
    assert!(report.verdict.feed_broken > 0 && !report.verdict.is_clean(), "{report:#?}");
}

//! The kill oracle in small; `cargo xtask torture --only kills` does the same a hundred times as long.

use tests::oracle::{Plan, run};

#[test]
fn nothing_acknowledged_is_lost_whoever_is_killed() {
    let report = run(&Plan::new(1, 12, 1_000)).unwrap();
    eprintln!("{report:#?}");
    assert!(report.verdict.is_clean(), "{report:#?}");
    assert!(report.deaths.total() >= 12 && report.verdict.acknowledged > 500, "{report:#?}");
}

//! What whoever is on call works with: figures, health, cutting, a stop, a start.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use e2e::https;

use crate::support::shared;

#[test]
fn every_figure_that_is_exported_is_documented_and_the_other_way_round() {
    let facts = shared();
    facts.api.psql("select 1").unwrap().expect_success().unwrap();
    let exported = https::get(&facts.reach, "/metrics", None).unwrap().body;
    let exported: BTreeSet<String> = exported
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .map(|(name, kind)| format!("{name}{}", if kind == "counter" { "_total" } else { "" }))
        .collect();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/metrics.md");
    let page = fs::read_to_string(page).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| name.to_owned()).collect();
    assert_eq!(exported, documented);
    assert!(exported.len() > 20, "{exported:?}");
}

//! The tables that rows come from, as their descriptions say.

use std::sync::Arc;

use wire::pg::limits::RELATIONS_MAX;

use crate::message;
use crate::session::{
    Session, bind, complete, describe, described, done, ended, error, execute, failed, from, parse,
    query, ready, sync,
};

#[test]
fn a_query_has_the_tables_of_all_its_descriptions() {
    let mut session = Session::new();
    session.client(&[query("select a, b, 1 from x, y; select a from x; select c from z")]);
    let outcomes = session.server(&[
        described(&[7, 7, 9, 0]),
        complete("SELECT 0"),
        described(&[7]),
        complete("SELECT 0"),
        described(&[8]),
        complete("SELECT 0"),
        ready(b'I'),
    ]);
    let tags = ["SELECT 0", "SELECT 0", "SELECT 0"];
    assert_eq!(outcomes, [from(&[7, 9, 8], ended(1, &tags, 0))]);
    session.client(&[query("begin")]);
    assert_eq!(session.server(&[complete("BEGIN"), ready(b'T')]), [ended(2, &["BEGIN"], 0)]);
}

#[test]
fn one_description_serves_every_execute_and_the_list_is_made_once() {
    let mut session = Session::new();
    session.client(&[parse("s", "select"), describe('S', "s"), sync()]);
    session.server(&[done(b'1'), message(b't', b"\0\0"), described(&[5]), ready(b'I')]);
    let mut lists = Vec::new();
    for number in 1..4 {
        session.client(&[bind("", "s"), execute(""), sync()]);
        let outcomes = session.server(&[done(b'2'), complete("SELECT 1"), ready(b'I')]);
        assert_eq!(outcomes, [from(&[5], ended(number, &["SELECT 1"], 1))]);
        lists.push(Arc::clone(&outcomes[0].relations));
        // Described again with the same answer, as libpq does before every Execute.
        session.client(&[bind("", "s"), describe('P', ""), sync()]);
        session.server(&[done(b'2'), described(&[5]), ready(b'I')]);
    }
    assert!(lists.iter().all(|list| Arc::ptr_eq(list, &lists[0])));
}

#[test]
fn the_same_query_again_makes_no_other_list() {
    let mut session = Session::new();
    let mut ask = || {
        session.client(&[query("select")]);
        let answer = [described(&[3, 4]), complete("SELECT 1"), ready(b'I')];
        session.server(&answer).remove(0).relations
    };
    assert!(Arc::ptr_eq(&ask(), &ask()));
}

#[test]
fn a_later_description_replaces_the_former() {
    let mut session = Session::new();
    let mut run = |table| {
        session.client(&[bind("", "s"), describe('P', ""), execute(""), sync()]);
        session.server(&[done(b'2'), described(&[table]), complete("SELECT 1"), ready(b'I')])
    };
    // The statement is one that SQL prepared, and its table was made anew in between.
    assert_eq!(run(5), [from(&[5], ended(1, &["SELECT 1"], 1))]);
    assert_eq!(run(6), [from(&[6], ended(2, &["SELECT 1"], 1))]);
}

#[test]
fn a_statement_that_fails_half_way_has_its_tables_and_the_next_one_has_not() {
    let mut session = Session::new();
    session.client(&[query("select 1/x from t"), query("selec")]);
    let outcomes = session.server(&[
        described(&[5]),
        error("22012"),
        ready(b'I'),
        error("42601"),
        ready(b'I'),
    ]);
    assert_eq!(outcomes, [from(&[5], failed(1, "22012")), failed(2, "42601")]);
}

#[test]
fn tables_beyond_the_bound_are_left_out() {
    let mut session = Session::new();
    session.client(&[query("select")]);
    let tables: Vec<u32> = (1..=100).collect();
    let outcomes = session.server(&[described(&tables), complete("SELECT 0"), ready(b'I')]);
    assert_eq!(outcomes, [from(&tables[..RELATIONS_MAX], ended(1, &["SELECT 0"], 0))]);
}

//! The index says where not to look, is made anew when it is damaged, and never hides what is there.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use audit::index::{Index, Part, Term};
use audit::search::{self, Query};
use model::event::{Event, EventBody};
use model::{SessionId, Timestamp};
use tempfile::TempDir;

use crate::fixture::statement;

/// Records in a segment; a part of the index has some hundreds of them.
const RECORDS: u64 = 3_000;

fn append(folder: &Path, first: u64, events: &[Event]) {
    let path = folder.join(format!("{first:020}.log"));
    let mut text = fs::read(&path).unwrap_or_default();
    for event in events {
        text.extend_from_slice(format!("{:064x} ", event.sequence).as_bytes());
        text.extend_from_slice(&serde_json::to_vec(event).unwrap());
        text.push(b'\n');
    }
    fs::write(path, text).unwrap();
}

/// Each session has ten statements, one after the other.
fn events(from: u64, count: u64) -> Vec<Event> {
    let event = |sequence: u64| {
        let EventBody::Statement(mut body) = statement(sequence) else { panic!() };
        body.session = session(sequence / 10);
        body.sql = "x".repeat(300);
        let time = Timestamp::EPOCH.plus(std::time::Duration::from_secs(sequence));
        Event { sequence, time, body: EventBody::Statement(body) }
    };
    (from..from + count).map(event).collect()
}

fn session(number: u64) -> SessionId {
    format!("00000000-0000-4000-8000-{number:012x}").parse().unwrap()
}

struct Bench {
    folder: TempDir,
    /// Events that were looked at to make an index.
    looked: Arc<AtomicUsize>,
}

impl Bench {
    /// A full segment and one that is being written.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        append(folder.path(), 1, &events(1, RECORDS));
        append(folder.path(), RECORDS + 1, &events(RECORDS + 1, 100));
        Self { folder, looked: Arc::default() }
    }

    fn index(&self) -> Index {
        let looked = Arc::clone(&self.looked);
        let terms = Box::new(move |event: &Event, terms: &mut BTreeSet<Term>| {
            looked.fetch_add(1, Ordering::Relaxed);
            search::terms(event, terms);
        });
        Index::new(self.folder.path(), terms)
    }

    fn looked(&self) -> u64 {
        self.looked.swap(0, Ordering::Relaxed) as u64
    }

    fn kept(&self) -> PathBuf {
        self.folder.path().join(format!("{:020}.index", 1))
    }
}

/// What is found by the index, and in how many parts of how many.
fn found(index: &Index, session: SessionId) -> (Vec<u64>, usize, usize) {
    let query = Query { session: Some(session), ..Query::default() };
    let groups = query.terms();
    let (mut found, mut looked_at, mut all) = (Vec::new(), 0, 0);
    for (first, _) in index.segments().unwrap() {
        let parts = index.parts(first).unwrap();
        all += parts.len();
        let may = |part: &&Part| groups.iter().all(|any| part.may_have(any));
        for part in parts.iter().filter(may) {
            looked_at += 1;
            let events = index.events(part).unwrap();
            found.extend(events.iter().filter(|event| query.matches(event)).map(|it| it.sequence));
        }
    }
    (found, looked_at, all)
}

#[test]
fn only_the_parts_that_may_have_it_are_looked_at() {
    let bench = Bench::new();
    let index = bench.index();
    for number in [0, 7, RECORDS / 20, RECORDS / 10, RECORDS / 10 + 9] {
        let (found, looked_at, all) = found(&index, session(number));
        let expected: Vec<u64> =
            (1..=RECORDS + 100).filter(|sequence| sequence / 10 == number).collect();
        assert_eq!(found, expected);
        assert!(all > 5 && looked_at <= 2, "{looked_at} of {all}");
    }
    assert_eq!(found(&index, session(1_000_000)).0, [] as [u64; 0]);
    assert_eq!(bench.looked(), RECORDS + 100);
}

#[test]
fn the_index_of_a_full_segment_is_kept_and_the_other_one_is_carried_on() {
    let bench = Bench::new();
    found(&bench.index(), session(3));
    bench.looked();
    let index = bench.index();
    assert_eq!(found(&index, session(3)).0.len(), 10);
    assert_eq!(bench.looked(), 100);
    append(bench.folder.path(), RECORDS + 1, &events(RECORDS + 101, 2_000));
    assert_eq!(found(&index, session(RECORDS / 10 + 100)).0.len(), 10);
    assert_eq!(bench.looked(), 2_100);
    append(bench.folder.path(), RECORDS + 1, &events(RECORDS + 2_101, 1));
    assert_eq!(found(&index, session((RECORDS + 2_101) / 10)).0.len(), 2);
    // Only what came after the last whole part.
    assert!(bench.looked() < 1_500);
}

#[test]
fn a_record_that_is_half_written_is_looked_at_when_it_is_whole() {
    let bench = Bench::new();
    let index = bench.index();
    let last = session((RECORDS + 101) / 10);
    assert_eq!(found(&index, last).0, [RECORDS + 100]);
    append(bench.folder.path(), RECORDS + 1, &events(RECORDS + 101, 1));
    let path = bench.folder.path().join(format!("{:020}.log", RECORDS + 1));
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(found(&index, last).0, [RECORDS + 100]);
    fs::write(&path, &whole).unwrap();
    assert_eq!(found(&index, last).0, [RECORDS + 100, RECORDS + 101]);
}

#[test]
fn a_damaged_index_is_noticed_and_made_anew() {
    let bench = Bench::new();
    let wanted = session(33);
    let (expected, ..) = found(&bench.index(), wanted);
    let good = fs::read(bench.kept()).unwrap();
    let third = good.len() / 3;
    let damages: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"x".to_vec(),
        good[..third].to_vec(),
        good[..good.len() - 1].to_vec(),
        [&good[..third], &good[third + 1..]].concat(),
        {
            let mut flipped = good.clone();
            flipped[third] ^= 1;
            flipped
        },
    ];
    for damage in damages {
        fs::write(bench.kept(), damage).unwrap();
        bench.looked();
        assert_eq!(found(&bench.index(), wanted).0, expected);
        assert_eq!(bench.looked(), RECORDS + 100);
        assert_eq!(fs::read(bench.kept()).unwrap(), good);
    }
}

#[test]
fn the_index_of_another_segment_is_not_believed() {
    let bench = Bench::new();
    found(&bench.index(), session(0));
    // As long, but with another end.
    let path = bench.folder.path().join(format!("{:020}.log", 1));
    let mut text = fs::read(&path).unwrap();
    let at = text.trim_ascii_end().iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
    text[at] = b'f';
    fs::write(&path, text).unwrap();
    bench.looked();
    found(&bench.index(), session(0));
    assert_eq!(bench.looked(), RECORDS + 100);
}

#[test]
fn every_condition_of_a_query_has_its_term() {
    let actor = r#"{"id":"7c1d5a52-62a3-4b39-b39f-3f4a10e4d9c1","name":"ada","kind":"user"}"#;
    let id = "0b1c5a52-62a3-4b39-b39f-3f4a10e4d9c1";
    let events = [
        format!(
            r#"{{"sequence":1,"time":"2026-11-24T10:00:00Z","type":"sessionCut","session":"{id}","actor":{actor},"server":"orders","code":"PC1204","message":"","causeAt":"2026-11-24T10:00:00Z","lastForwardedAt":"2026-11-24T10:00:00Z","stoppedAt":"2026-11-24T10:00:00Z","clientClosedAt":"2026-11-24T10:00:00Z","told":true}}"#
        ),
        format!(
            r#"{{"sequence":2,"time":"2026-11-24T10:00:00Z","type":"statementOutcome","session":"{id}","number":1,"rows":0,"error":{{"sqlstate":"42501","message":"no"}},"durationUs":1}}"#
        ),
        format!(
            r#"{{"sequence":3,"time":"2026-11-24T10:00:00Z","type":"activationChanged","activation":"{id}","actor":{actor},"step":"approve","user":"bob","group":"g","outcome":{{"refused":{{"code":"PC2101","message":""}}}}}}"#
        ),
    ];
    let queries = [
        r#"{"actor":"ada"}"#,
        r#"{"actor":"7c1d5a52-62a3-4b39-b39f-3f4a10e4d9c1"}"#,
        r#"{"actor":"bob"}"#,
        r#"{"server":"orders"}"#,
        r#"{"session":"0b1c5a52-62a3-4b39-b39f-3f4a10e4d9c1"}"#,
        r#"{"types":["sessionCut","statementOutcome"]}"#,
        r#"{"code":"PC1204"}"#,
        r#"{"code":"42501"}"#,
        r#"{"code":"PC2101"}"#,
    ];
    for query in queries {
        let query: Query = serde_json::from_str(query).unwrap();
        let mut matched = 0;
        for event in &events {
            let event: Event = serde_json::from_str(event).unwrap();
            let mut terms = BTreeSet::new();
            search::terms(&event, &mut terms);
            let groups = query.terms();
            let may = groups.iter().all(|any| any.iter().any(|term| terms.contains(term)));
            assert_eq!(query.matches(&event), may, "{query:?} {event:?}");
            matched += usize::from(may);
        }
        assert!(matched > 0, "{query:?}");
    }
}

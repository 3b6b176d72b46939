//! What files do that tests cannot make real ones do: segments that fill up at once, a disk that never answers, and the
//! kernel's own full device.

use std::io;
use std::path::Path;
use std::sync::Condvar;

use keys::AuditKey;
use model::event::{Event, Parameter, Statement, StatementProtocol};
use model::{ServerName, SessionId};
use proptest::prelude::*;

use super::*;
use crate::chain;
use crate::media::{Media, Storage};
use crate::read::Reader;
use crate::segment;
use crate::verify::{Damage, DamageKind, Known, Verified, verify};

const GATEWAY: &str = "gateway-1";

fn statement(number: u64, sql: &str, parameters: Vec<Parameter>) -> EventBody {
    EventBody::Statement(Box::new(Statement {
        session: SessionId(uuid::Uuid::from_u128(1)),
        number,
        actor: model::event::Actor::claimed("ada@example.com"),
        server: ServerName::new("orders").unwrap(),
        database: "orders".to_owned(),
        protocol: StatementProtocol::Extended,
        sql: sql.to_owned(),
        sql_bytes: None,
        sql_sha256: None,
        encoding: None,
        plain_backslash: false,
        database_doubtful: false,
        parameters,
    }))
}

/// A log whose segments hold a few records only.
struct Small {
    directory: tempfile::TempDir,
    key: AuditKey,
}

impl Small {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), key: AuditKey::generate().unwrap() }
    }

    fn with(statements: u64) -> Self {
        let small = Self::new();
        let log = small.open().unwrap();
        for number in 1..=statements {
            log.append(&[statement(number, "select 1", vec![])]).unwrap();
        }
        small
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn open(&self) -> Result<Log, AuditError> {
        let storage = Storage { segment_bytes_max: 1_000, ..Storage::files() };
        Ok(Log::open_on(self.options(), storage)?.0)
    }

    fn options(&self) -> Options {
        Options {
            directory: self.path().to_owned(),
            gateway: GATEWAY.to_owned(),
            key: self.key.clone(),
            clock: Clock::system(),
            sync_interval: Duration::from_millis(10),
            checkpoint_sink: None,
            known: None,
        }
    }

    fn verify(&self) -> Result<Verified, Damage> {
        let public_key = self.key.public_key();
        verify(self.path(), &Known { gateway: GATEWAY, public_key: &public_key, last: None })
    }

    fn segments(&self) -> Vec<PathBuf> {
        segment::list(self.path()).unwrap().into_iter().map(|segment| segment.path).collect()
    }
}

#[test]
fn segments_roll_at_their_size_and_the_chain_goes_on_through_them() {
    let small = Small::with(20);
    assert!(small.segments().len() > 3);
    let log = small.open().unwrap();
    let last = log.append(&[EventBody::Stopped]).unwrap().sequence;
    drop(log);
    let verified = small.verify().unwrap();
    assert_eq!((verified.records, verified.covered), (last, last));
    let read: Vec<u64> =
        Reader::open(small.path(), 1).unwrap().map(|event| event.unwrap().sequence).collect();
    assert_eq!(read, (1..=last).collect::<Vec<_>>());
}

#[test]
fn a_missing_last_segment_of_several_is_named() {
    let small = Small::with(20);
    let last = small.segments().pop().unwrap();
    std::fs::remove_file(&last).unwrap();
    let damage = small.verify().unwrap_err();
    assert_eq!((damage.kind, &damage.file), (DamageKind::SegmentMissing, &last), "{damage}");
    let refused = small.open().unwrap_err();
    assert!(matches!(refused, AuditError::Damaged(_)), "{refused}");
}

#[test]
fn a_log_written_anew_from_before_the_checkpoint_kept_outside_is_not_opened() {
    let small = Small::with(3);
    let known = small.open().unwrap().checkpoint().unwrap();
    for segment in small.segments() {
        std::fs::remove_file(segment).unwrap();
    }
    let forget = || {
        for name in ["checkpoint", "checkpoints.log"] {
            std::fs::remove_file(small.path().join(name)).unwrap();
        }
    };
    forget();
    // Longer than the former, and its last run begins in a segment after the one that was signed.
    let log = small.open().unwrap();
    for number in 1..=20 {
        log.append(&[statement(number, "select 2", vec![])]).unwrap();
    }
    log.append(&[EventBody::Started { version: "1".to_owned(), unknown_outcomes: 0 }]).unwrap();
    drop(log);
    forget();
    let options = Options { known: Some(known), ..small.options() };
    let storage = Storage { segment_bytes_max: 1_000, ..Storage::files() };
    let refused = Log::open_on(options, storage).unwrap_err().to_string();
    assert!(refused.ends_with("the chain up to here is not the one that was signed"), "{refused}");
}

#[test]
fn a_missing_segment_between_others_is_named() {
    let small = Small::with(20);
    let second = small.segments().remove(1);
    std::fs::remove_file(&second).unwrap();
    let damage = small.verify().unwrap_err();
    assert_eq!((damage.kind, &damage.file), (DamageKind::SegmentMissing, &second), "{damage}");
}

#[test]
fn a_tail_cut_inside_the_last_segment_is_named_with_its_line() {
    let small = Small::with(10);
    let records = small.verify().unwrap().records;
    let last = small.segments().pop().unwrap();
    let bytes = std::fs::read(&last).unwrap();
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    let kept = lines.len() - 1;
    std::fs::write(&last, lines[..kept].concat()).unwrap();
    let damage = small.verify().unwrap_err();
    assert_eq!((damage.kind, &damage.file), (DamageKind::TailMissing, &last), "{damage}");
    assert_eq!((damage.line, damage.sequence), (kept as u64, records));
}

#[test]
fn what_a_loss_of_power_left_after_the_last_checkpoint_is_moved_aside_and_recorded() {
    let small = Small::with(6);
    let before = small.verify().unwrap();
    let log = small.open().unwrap();
    let checkpoints = ["checkpoint", "checkpoints.log"].map(|name| {
        let path = small.path().join(name);
        (path.clone(), std::fs::read(path).unwrap())
    });
    for number in 7..=20 {
        log.append(&[statement(number, "select 1", vec![])]).unwrap();
    }
    drop(log);
    // As if none of the later syncs had happened: pages reached the disk in any order.
    for (path, bytes) in &checkpoints {
        std::fs::write(path, bytes).unwrap();
    }
    let covered = Checkpoint::read_all(&checkpoints[0].0).unwrap().pop().unwrap().sequence;
    assert!(covered >= before.records);
    let torn = small.segments().len() - 3;
    let mut bytes = std::fs::read(&small.segments()[torn]).unwrap();
    let at = bytes.len() - 40;
    bytes[at..].fill(0);
    std::fs::write(&small.segments()[torn], &bytes).unwrap();

    let storage = Storage { segment_bytes_max: 1_000, ..Storage::files() };
    let (log, opened) = Log::open_on(small.options(), storage).unwrap();
    assert!(opened.torn_bytes > 1_000, "{opened:?}");
    drop(log);
    small.verify().unwrap();
    let moved = std::fs::read_dir(small.path())
        .unwrap()
        .map(|entry| entry.unwrap())
        .find(|entry| entry.file_name().to_string_lossy().starts_with("removed-after-"))
        .unwrap();
    assert_eq!(moved.metadata().unwrap().len(), opened.torn_bytes);
    let last: Event = Reader::open(small.path(), 1).unwrap().last().unwrap().unwrap();
    let EventBody::Installation { action, .. } = last.body else { panic!("{last:?}") };
    assert_eq!(action, "tornWriteRemoved");
}

#[test]
fn what_a_checkpoint_covers_is_never_moved_aside() {
    let small = Small::with(6);
    let first = small.segments().remove(0);
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&first, &bytes).unwrap();
    let files = small.segments();
    assert!(matches!(small.open(), Err(AuditError::Damaged(_))));
    assert_eq!(std::fs::read(&first).unwrap(), bytes);
    assert_eq!(small.segments(), files);
    // Without any checkpoint nothing but an unfinished last line is taken for a crash.
    for name in ["checkpoint", "checkpoints.log"] {
        std::fs::remove_file(small.path().join(name)).unwrap();
    }
    assert!(matches!(small.open(), Err(AuditError::Damaged(_))));
}

#[test]
fn a_chain_that_was_recomputed_is_not_gone_on_with() {
    let small = Small::with(3);
    let mut head = chain::genesis(GATEWAY, &small.key.public_key());
    for path in small.segments() {
        let text = std::fs::read_to_string(&path).unwrap().replace("ada@", "eve@");
        let mut forged = Vec::new();
        for line in text.lines() {
            let json = line.split_once(' ').unwrap().1;
            head = chain::next(&head, json.as_bytes());
            forged.push(format!("{} {json}\n", data_encoding::HEXLOWER.encode(&head)));
        }
        std::fs::write(&path, forged.concat()).unwrap();
    }
    let refused = small.open().unwrap_err().to_string();
    assert!(refused.ends_with("the chain up to here is not the one that was signed"), "{refused}");
}

/// Files whose syncs hang until they are let go.
#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
}

#[derive(Debug)]
struct Gated {
    real: Arc<dyn Media>,
    gate: Arc<Gate>,
}

impl Media for Gated {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        self.real.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        let open = self.gate.open.lock().unwrap();
        let _open = self.gate.opened.wait_while(open, |open| !*open).unwrap();
        self.real.sync()
    }
}

#[test]
fn append_never_waits_for_the_disk_not_even_when_segments_roll() {
    let small = Small::new();
    let gate = Arc::new(Gate::default());
    let shared = Arc::clone(&gate);
    let files = Storage::files();
    let storage = Storage {
        open: Arc::new(move |path| {
            Ok(Arc::new(Gated { real: (files.open)(path)?, gate: Arc::clone(&shared) }))
        }),
        segment_bytes_max: 1_000,
    };
    let (log, _) = Log::open_on(small.options(), storage).unwrap();
    let mut receipt = None;
    let sql = "x".repeat(staging::BYTES / 10);
    for number in 1..=50 {
        receipt = Some(log.append(&[statement(number, &sql, vec![])]).unwrap());
    }
    assert!(small.segments().len() > 5);
    assert_eq!(log.checkpoint(), None);
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    log.durable_blocking(receipt.unwrap()).unwrap();
    drop(log);
    assert_eq!(small.verify().unwrap().covered, 50);
}

#[test]
fn the_kernels_full_device_closes_the_log() {
    let small = Small::new();
    let storage = Storage {
        open: Arc::new(|_| {
            let full = std::fs::OpenOptions::new().append(true).open("/dev/full")?;
            Ok(Arc::new(full))
        }),
        ..Storage::files()
    };
    let (log, _) = Log::open_on(small.options(), storage).unwrap();
    let receipt = log.append(&[EventBody::Stopped]).unwrap();
    let refused = log.durable_blocking(receipt).unwrap_err().to_string();
    let cause = "a record could not be written: No space left on device (os error 28)";
    assert_eq!(refused, format!("the audit log was closed after a failure: {cause}"));
    assert_eq!(log.failed().borrow().as_deref(), Some(cause));
    assert_eq!(log.append(&[EventBody::Stopped]).unwrap_err().to_string(), refused);
}

fn parameter() -> impl Strategy<Value = Parameter> {
    prop_oneof![
        Just(Parameter::Null),
        ".*".prop_map(Parameter::Text),
        "([0-9a-f]{2}){0,20}".prop_map(Parameter::Binary),
    ]
}

proptest! {
    #[test]
    fn a_line_is_the_event_as_serde_writes_it(sql in any::<String>(), parameters in proptest::collection::vec(parameter(), 0..4), sequence in 1_u64.., micros in 0_i64..4_000_000_000_000_000) {
        let body = statement(3, &sql, parameters);
        let time = Timestamp::from_micros(micros);
        let mut line = Vec::new();
        let text = serde_json::to_vec(&body).unwrap();
        let mut stamp = Stamp::default();
        let stamp = stamp.text(time);
        let head = line::encode(&mut line, &[7; 32], (sequence, stamp), &text);
        prop_assert!(line.len() <= text.len() + line::BYTES_BESIDES_BODY_MAX);
        let (hash, json) = chain::split(line.strip_suffix(b"\n").unwrap()).unwrap();
        prop_assert_eq!(hash, head);
        prop_assert_eq!(hash, chain::next(&[7; 32], json));
        prop_assert!(!json.contains(&b'\n'));
        let event = Event { sequence, time, body };
        prop_assert_eq!(&serde_json::from_slice::<Event>(json).unwrap(), &event);
        let written: serde_json::Value = serde_json::from_slice(json).unwrap();
        prop_assert_eq!(written, serde_json::to_value(&event).unwrap());
    }
}

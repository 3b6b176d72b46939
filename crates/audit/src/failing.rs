//! A disk that fails when it is told to: what it refused once is never taken for written.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keys::AuditKey;
use model::event::EventBody;
use runtime::Clock;

use crate::media::{Media, Opener, Storage};
use crate::{AuditError, Log, Options};

#[derive(Debug, Default)]
struct Faults {
    writes: AtomicBool,
    syncs: AtomicBool,
}

#[derive(Debug)]
struct Failing {
    real: Arc<dyn Media>,
    faults: Arc<Faults>,
}

impl Media for Failing {
    fn append(&self, bytes: &[u8]) -> io::Result<()> {
        if self.faults.writes.load(Ordering::SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.real.append(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        // As on Linux: the error is reported once, the next sync would say that all is well.
        if self.faults.syncs.swap(false, Ordering::SeqCst) {
            return Err(io::Error::other("input/output error"));
        }
        self.real.sync()
    }
}

fn open(directory: &tempfile::TempDir) -> (Log, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let shared = Arc::clone(&faults);
    let files = Storage::files();
    let segment_bytes_max = files.segment_bytes_max;
    let opener: Opener = Arc::new(move |path| {
        Ok(Arc::new(Failing { real: (files.open)(path)?, faults: Arc::clone(&shared) }))
    });
    let options = Options {
        directory: directory.path().to_owned(),
        gateway: "g".to_owned(),
        key: AuditKey::generate().unwrap(),
        clock: Clock::system(),
        sync_interval: Duration::from_millis(10),
        checkpoint_sink: None,
        known: None,
    };
    (Log::open_on(options, Storage { open: opener, segment_bytes_max }).unwrap().0, faults)
}

#[test]
fn a_full_disk_closes_the_log_for_good_and_tells_everyone() {
    let directory = tempfile::tempdir().unwrap();
    let (log, faults) = open(&directory);
    let failed = log.failed();
    log.append(&[EventBody::Stopped]).unwrap();
    faults.writes.store(true, Ordering::SeqCst);
    // It is accepted: it outlives the process. That it will never be on disk is what closes the log.
    let receipt = log.append(&[EventBody::Stopped]).unwrap();
    assert!(matches!(log.durable_blocking(receipt), Err(AuditError::Closed(_))));
    assert!(matches!(log.append(&[EventBody::Stopped]), Err(AuditError::Closed(_))));
    assert!(failed.borrow().as_deref().unwrap().starts_with("a record could not be written: "));
    // The disk has room again; the log stays closed until someone has looked.
    faults.writes.store(false, Ordering::SeqCst);
    assert!(matches!(log.append(&[EventBody::Stopped]), Err(AuditError::Closed(_))));
}

#[test]
fn a_failed_sync_is_never_taken_for_success_by_a_later_one() {
    let directory = tempfile::tempdir().unwrap();
    let (log, faults) = open(&directory);
    faults.syncs.store(true, Ordering::SeqCst);
    let receipt = log.append(&[EventBody::Stopped]).unwrap();
    let error = log.durable_blocking(receipt).unwrap_err();
    assert!(error.to_string().contains("records could not be synced"), "{error}");
    assert!(matches!(log.append(&[EventBody::Stopped]), Err(AuditError::Closed(_))));
    assert!(log.durable_blocking(receipt).is_err());
}

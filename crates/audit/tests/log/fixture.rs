//! A log in a temporary directory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use audit::verify::{Damage, Known, Verified, verify};
use audit::{AuditError, Checkpoint, Log, Opened, Options};
use keys::AuditKey;
use model::event::{
    Actor, EventBody, SessionEnded, SessionOpened, Statement, StatementOutcome, StatementProtocol,
};
use model::{ServerName, SessionId, TokenId};
use runtime::Clock;
use uuid::Uuid;

pub(crate) const GATEWAY: &str = "gateway-1";

pub(crate) struct Fixture {
    path: PathBuf,
    _directory: Option<tempfile::TempDir>,
    pkcs8: Vec<u8>,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let within = Self::within(directory.path());
        Self { _directory: Some(directory), ..within }
    }

    /// A log in a directory that another owns.
    pub(crate) fn within(path: &Path) -> Self {
        let key = AuditKey::generate().unwrap();
        Self {
            path: path.to_owned(),
            _directory: None,
            pkcs8: key.to_pkcs8().unwrap().expose().clone(),
        }
    }

    pub(crate) fn with_the_same_key(&self) -> Self {
        Self { pkcs8: self.pkcs8.clone(), ..Self::new() }
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The checkpoint is written after the sync that others wait for.
    pub(crate) fn wait_for_checkpoint(&self, sequence: u64) {
        let path = self.path().join("checkpoint");
        let deadline = Clock::system().now().plus(Duration::from_secs(20));
        while Checkpoint::read_all(&path).unwrap().pop().is_none_or(|c| c.sequence < sequence) {
            assert!(Clock::system().now() < deadline, "no checkpoint of record {sequence}");
            std::thread::yield_now();
        }
    }

    pub(crate) fn key(&self) -> AuditKey {
        AuditKey::from_pkcs8(&self.pkcs8).unwrap()
    }

    pub(crate) fn open(&self) -> Result<(Log, Opened), AuditError> {
        self.open_knowing(None)
    }

    pub(crate) fn open_knowing(
        &self,
        known: Option<Checkpoint>,
    ) -> Result<(Log, Opened), AuditError> {
        Log::open(Options {
            directory: self.path().to_owned(),
            gateway: GATEWAY.to_owned(),
            key: self.key(),
            clock: Clock::system(),
            sync_interval: Duration::from_millis(10),
            checkpoint_sink: None,
            known,
        })
    }

    /// A closed log with that many statements in it.
    pub(crate) fn with(statements: u64) -> Self {
        let fixture = Self::new();
        let (log, _) = fixture.open().unwrap();
        for number in 1..=statements {
            log.append(&[statement(number)]).unwrap();
        }
        fixture
    }

    pub(crate) fn verify(&self, last: Option<&Checkpoint>) -> Result<Verified, Damage> {
        let public_key = self.key().public_key();
        verify(self.path(), &Known { gateway: GATEWAY, public_key: &public_key, last })
    }

    pub(crate) fn segment(&self) -> PathBuf {
        self.path().join("00000000000000000001.log")
    }

    pub(crate) fn lines(&self) -> Vec<Vec<u8>> {
        let bytes = std::fs::read(self.segment()).unwrap();
        bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
    }

    pub(crate) fn replace(&self, lines: &[Vec<u8>]) {
        std::fs::write(self.segment(), lines.concat()).unwrap();
    }

    pub(crate) fn latest_checkpoint(&self) -> Checkpoint {
        Checkpoint::read_all(&self.path().join("checkpoint")).unwrap().pop().unwrap()
    }
}

pub(crate) fn session() -> SessionId {
    SessionId(Uuid::from_u128(1))
}

pub(crate) fn statement(number: u64) -> EventBody {
    EventBody::Statement(Box::new(Statement {
        session: session(),
        number,
        actor: Actor::claimed("ada@example.com"),
        server: ServerName::new("orders").unwrap(),
        database: "orders".to_owned(),
        protocol: StatementProtocol::Simple,
        sql: format!("select {number} -- \"quoted\"\n"),
        sql_bytes: None,
        sql_sha256: None,
        encoding: None,
        plain_backslash: false,
        database_doubtful: false,
        parameters: vec![],
    }))
}

pub(crate) fn outcome(number: u64) -> EventBody {
    EventBody::StatementOutcome(Box::new(StatementOutcome {
        mysql: None,
        session: session(),
        number,
        tags: vec!["SELECT 1".to_owned()],
        rows: 1,
        relations: std::sync::Arc::default(),
        error: None,
        duration_us: 10,
        note: None,
    }))
}

pub(crate) fn opened(session: SessionId) -> EventBody {
    EventBody::SessionOpened(Box::new(SessionOpened {
        session,
        actor: Actor::claimed("ada@example.com"),
        source: [127, 0, 0, 1].into(),
        server: ServerName::new("orders").unwrap(),
        database: "orders".to_owned(),
        database_user: "ada@example.com".to_owned(),
        roles: [].into(),
        activations: vec![],
        token: TokenId(Uuid::from_u128(9)),
        until: None,
        application_name: None,
        backend_pid: 4711,
        tls: "TLSv1_3".to_owned(),
        methods: vec![],
        signed_in_at: None,
        client: None,
        policies: vec![],
    }))
}

pub(crate) fn ended(session: SessionId) -> EventBody {
    EventBody::SessionEnded(Box::new(SessionEnded {
        session,
        actor: Actor::claimed("ada@example.com"),
        reason: "client".to_owned(),
        code: None,
        statements: 0,
        bytes_in: 0,
        bytes_out: 0,
    }))
}

//! What `portcullis audit verify` holds against a log: the public key, the gateway's name, the last checkpoint that is
//! known from elsewhere. None of it comes from the log's own folder unless nothing better is given.

use std::path::{Path, PathBuf};

use audit::Checkpoint;
use audit::verify::{self, Damage, Verified};
use serde::Deserialize;

use crate::failure::{Exit, Failure};
use crate::installation::{self, checkpoint as kept};

const CANNOT: &str = "cannot verify the audit log";
/// An Ed25519 public key.
const KEY_BYTES: usize = 32;

/// Everything that the proof needs.
pub(super) struct Known {
    directory: PathBuf,
    gateway: String,
    public_key: Vec<u8>,
    last: Option<Checkpoint>,
}

impl Known {
    pub(super) fn verify(&self) -> Result<Verified, Damage> {
        let known = verify::Known {
            gateway: &self.gateway,
            public_key: &self.public_key,
            last: self.last.as_ref(),
        };
        verify::verify(&self.directory, &known)
    }
}

/// What the command line gives a stranger.
pub(super) struct Given<'a> {
    pub(super) directory: &'a Path,
    pub(super) public_key: &'a str,
    pub(super) gateway: Option<&'a str>,
    pub(super) checkpoint: Option<&'a Path>,
}

/// As a stranger has it.
pub(super) fn given(given: &Given<'_>) -> Result<Known, Failure> {
    let public_key = public_key(given.public_key)?;
    let last = given.checkpoint.map(read_checkpoint).transpose()?;
    let gateway = match (given.gateway, &last) {
        (Some(gateway), _) => gateway.to_owned(),
        (None, Some(checkpoint)) => checkpoint.gateway.clone(),
        // Signed with the log's own key, so another log's name does not fit.
        (None, None) => read_checkpoint(&given.directory.join("checkpoint"))?.gateway,
    };
    Ok(Known { directory: given.directory.to_owned(), gateway, public_key, last })
}

/// From the server's own configuration and store, which may be in use.
pub(super) fn of_server(config: &Path, checkpoint: Option<&Path>) -> Result<Known, Failure> {
    let config = installation::config(config)?;
    let gateway = config.gateway.name.clone();
    let kept = kept::kept(&installation::store_file(&config), &gateway)
        .map_err(|error| Failure::new(CANNOT, error))?
        .ok_or_else(|| {
            Failure::new(CANNOT, format!("the store keeps no checkpoint of gateway `{gateway}`"))
                .next("start the server once; it keeps one within a second")
        })?;
    let public_key = public_key(&kept.public_key)?;
    let last = match checkpoint {
        Some(file) => read_checkpoint(file)?,
        None => kept.checkpoint,
    };
    Ok(Known { directory: config.audit.directory, gateway, public_key, last: Some(last) })
}

/// 64 hex digits, or a file with them.
fn public_key(given: &str) -> Result<Vec<u8>, Failure> {
    let unusable = |why: String| {
        Failure::new(CANNOT, why)
            .exit(Exit::Usage)
            .next("`portcullis audit checkpoint` prints the public key")
    };
    if let Some(key) = hex(given.trim()) {
        return Ok(key);
    }
    let text = std::fs::read_to_string(given)
        .map_err(|error| unusable(format!("`{given}` is no key and no file with one: {error}")))?;
    hex(text.trim()).ok_or_else(|| unusable(format!("`{given}` does not hold 64 hex digits")))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|c| c.to_digit(16))
        .map(|d| u8::try_from(d?).ok())
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.as_chunks::<2>().0.iter().map(|[high, low]| high << 4 | low).collect();
    (digits.len() == 2 * KEY_BYTES).then_some(bytes)
}

/// A file as `checkpointFile` writes it, or as `portcullis audit checkpoint` prints it.
fn read_checkpoint(file: &Path) -> Result<Checkpoint, Failure> {
    #[derive(Deserialize)]
    struct Printed {
        checkpoint: Checkpoint,
    }

    let unusable = |why: &dyn std::fmt::Display| {
        Failure::new(CANNOT, format!("`{}` holds no checkpoint: {why}", file.display()))
    };
    let text = std::fs::read_to_string(file).map_err(|error| unusable(&error))?;
    let last_line = text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default();
    serde_json::from_str::<Printed>(&text)
        .map(|printed| printed.checkpoint)
        .or_else(|_| serde_json::from_str(last_line))
        .map_err(|error| unusable(&error))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use audit::{Log, Options};
    use keys::AuditKey;
    use model::event::EventBody;
    use runtime::Clock;

    use super::*;

    #[test]
    fn a_key_is_given_as_digits_or_in_a_file() {
        let digits = "0f".repeat(KEY_BYTES);
        assert_eq!(public_key(&digits).unwrap(), [0x0f; KEY_BYTES]);
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, format!("{digits}\n")).unwrap();
        assert_eq!(public_key(file.to_str().unwrap()).unwrap(), [0x0f; KEY_BYTES]);
        std::fs::write(&file, "0f").unwrap();
        let failure = public_key(file.to_str().unwrap()).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
    }

    #[test]
    fn a_log_is_proved_with_the_checkpoint_as_it_is_kept_and_as_it_is_printed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("log");
        let key = AuditKey::generate().unwrap();
        let digits: Vec<String> =
            key.public_key().iter().map(|byte| format!("{byte:02x}")).collect();
        let (newest, seen) = mpsc::sync_channel(8);
        let options = Options {
            directory: directory.clone(),
            gateway: "gateway-1".to_owned(),
            key,
            clock: Clock::system(),
            sync_interval: Duration::from_millis(1),
            checkpoint_sink: Some(Box::new(move |checkpoint| {
                newest.send(checkpoint.clone()).unwrap();
            })),
            known: None,
        };
        let (log, _) = Log::open(options).unwrap();
        log.append(&[EventBody::Stopped]).unwrap();
        let checkpoint = seen.recv_timeout(Duration::from_secs(20)).unwrap();
        let line = serde_json::to_string(&checkpoint).unwrap();
        let kept = folder.path().join("kept");
        let known = |checkpoint| {
            given(&Given {
                directory: &directory,
                public_key: &digits.concat(),
                gateway: None,
                checkpoint,
            })
            .unwrap()
        };
        assert_eq!(known(None).verify().unwrap().records, 1);
        for text in [format!("{line}\n"), format!(r#"{{"checkpoint":{line},"publicKey":"00"}}"#)] {
            std::fs::write(&kept, text).unwrap();
            let known = known(Some(&kept));
            assert_eq!((known.gateway.as_str(), known.verify().unwrap().covered), ("gateway-1", 1));
        }
    }
}

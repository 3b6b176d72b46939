//! The master key, and what is sealed under it.
//!
//! Sealed: `1 | key id (4) | nonce (12) | AES-256-GCM ciphertext and tag`. Associated data: version, key id, kind, id
//! and revision of the record, so that no sealed value can be moved to another record, or brought back into the same
//! record at a later revision.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use runtime::Secret;
use runtime::config::MasterKeySource;
use zeroize::Zeroize;

use crate::KeyError;

const VERSION: u8 = 1;
const KEY_BYTES: usize = 32;
const KEY_ID_BYTES: usize = 4;
/// What a key's file begins with.
const FILE_PREFIX: &str = "portcullis-master-key-v1:";
/// A key's file is one line; a longer one is something else.
const FILE_BYTES_MAX: u64 = 256;

/// The key under which all others are sealed.
pub struct MasterKey {
    bytes: Secret<[u8; KEY_BYTES]>,
    cipher: LessSafeKey,
    id: KeyId,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

/// Tells master keys apart without telling anything about them.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyId([u8; KEY_ID_BYTES]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which record a value is sealed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealContext<'a> {
    /// What kind of record.
    pub kind: &'a str,
    /// Which one.
    pub id: &'a str,
    /// At which revision.
    pub revision: u64,
}

/// A sealed value does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Shorter than anything that was ever sealed.
    #[error("the sealed value is cut short")]
    Truncated,
    /// Of a later version of the program.
    #[error("the sealed value has format {0}; this program knows format 1")]
    Version(u8),
    /// Sealed under another master key.
    #[error("the value is sealed under master key {sealed}; the one loaded is {loaded}")]
    OtherKey {
        /// Under which it is sealed.
        sealed: KeyId,
        /// Which was given.
        loaded: KeyId,
    },
    /// Changed, or of another record or revision.
    #[error("the sealed value was altered, or belongs to another record")]
    Altered,
}

/// The master key cannot be made or loaded.
#[derive(Debug, thiserror::Error)]
pub enum MasterKeyError {
    /// The file cannot be read.
    #[error("the master key `{file}` cannot be read: {cause}")]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// The file cannot be written.
    #[error("the master key `{file}` cannot be written: {cause}")]
    Unwritable {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error(
        "the master key `{file}` has mode {mode:04o}; it must be readable by its owner alone: `chmod 600 {file}`"
    )]
    Exposed {
        /// Which file.
        file: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It holds something else.
    #[error("`{file}` does not hold a master key")]
    Malformed {
        /// Which file.
        file: PathBuf,
    },
    /// No key could be drawn.
    #[error(transparent)]
    Key(#[from] KeyError),
}

impl MasterKey {
    /// A fresh key, nowhere written.
    pub fn generate() -> Result<Self, KeyError> {
        Self::from_bytes(Secret::new(crate::random()?))
    }

    /// A fresh key, written to a new file that only its owner can read. An existing file is never overwritten.
    pub fn create(file: &Path) -> Result<Self, MasterKeyError> {
        let key = Self::generate()?;
        key.write_new(file)
            .map_err(|cause| MasterKeyError::Unwritable { file: file.to_owned(), cause })?;
        Ok(key)
    }

    /// Loads the key. A file that others may read is refused; a systemd credential is guarded by systemd.
    pub fn load(source: &MasterKeySource) -> Result<Self, MasterKeyError> {
        match source {
            MasterKeySource::File(file) => Self::read(file, true),
            MasterKeySource::SystemdCredential(file) => Self::read(file, false),
        }
    }

    /// Puts the key in [`Self::next_file`] in the place of the one in `file`, at once and whole.
    pub fn promote_next(file: &Path) -> Result<(), MasterKeyError> {
        std::fs::rename(Self::next_file(file), file)
            .and_then(|()| sync_folder(file))
            .map_err(|cause| MasterKeyError::Unwritable { file: file.to_owned(), cause })
    }

    /// Where the key that will replace the one in `file` waits while everything is sealed anew.
    pub fn next_file(file: &Path) -> PathBuf {
        let mut name = file.as_os_str().to_owned();
        name.push(".next");
        PathBuf::from(name)
    }

    /// Tells it apart from others.
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// Seals a value for one revision of one record.
    pub fn seal(&self, context: &SealContext<'_>, plain: &[u8]) -> Result<Vec<u8>, KeyError> {
        let nonce: [u8; NONCE_LEN] = crate::random()?;
        let mut cipher_text = plain.to_vec();
        let sealed = self.cipher.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(self.associated_data(context)),
            &mut cipher_text,
        );
        if sealed.is_err() {
            cipher_text.zeroize();
            return Err(KeyError::Failed { task: "seal a value" });
        }
        let mut sealed = Vec::with_capacity(1 + KEY_ID_BYTES + NONCE_LEN + cipher_text.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(&self.id.0);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(&cipher_text);
        Ok(sealed)
    }

    /// Opens what [`Self::seal`] sealed for the same revision of the same record.
    pub fn open(
        &self,
        context: &SealContext<'_>,
        sealed: &[u8],
    ) -> Result<Secret<Vec<u8>>, SealError> {
        let key = Self::sealed_under(sealed)?;
        if key != self.id {
            return Err(SealError::OtherKey { sealed: key, loaded: self.id });
        }
        let rest = sealed.get(1 + KEY_ID_BYTES..).ok_or(SealError::Truncated)?;
        let (nonce, cipher_text) =
            rest.split_first_chunk::<NONCE_LEN>().ok_or(SealError::Truncated)?;
        let mut plain = Secret::new(cipher_text.to_vec());
        let length = self
            .cipher
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(self.associated_data(context)),
                plain.expose_mut(),
            )
            .map_err(|_| SealError::Altered)?
            .len();
        plain.expose_mut().truncate(length);
        Ok(plain)
    }

    /// Under which key a value is sealed.
    pub fn sealed_under(sealed: &[u8]) -> Result<KeyId, SealError> {
        let (version, rest) = sealed.split_first().ok_or(SealError::Truncated)?;
        if *version != VERSION {
            return Err(SealError::Version(*version));
        }
        let id = rest.first_chunk::<KEY_ID_BYTES>().ok_or(SealError::Truncated)?;
        Ok(KeyId(*id))
    }

    fn from_bytes(bytes: Secret<[u8; KEY_BYTES]>) -> Result<Self, KeyError> {
        let malformed = |_| KeyError::Malformed { expected: "an AES-256 key" };
        let cipher =
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, bytes.expose()).map_err(malformed)?);
        let named = hmac::sign(
            &hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()),
            b"portcullis master key id",
        );
        let id = named.as_ref().first_chunk().copied().unwrap_or_default();
        Ok(Self { bytes, cipher, id: KeyId(id) })
    }

    fn associated_data(&self, context: &SealContext<'_>) -> Vec<u8> {
        let SealContext { kind, id, revision } = context;
        let mut data = vec![VERSION];
        data.extend_from_slice(&self.id.0);
        for text in [kind, id] {
            data.extend_from_slice(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            data.extend_from_slice(text.as_bytes());
        }
        data.extend_from_slice(&revision.to_be_bytes());
        data
    }

    /// Writes the key to a new file that only its owner can read, and sees it on disk.
    pub fn write_new(&self, file: &Path) -> io::Result<()> {
        // Never grows, so that no copy is left behind.
        let mut text = Secret::new(String::with_capacity(FILE_PREFIX.len() + 2 * KEY_BYTES));
        text.expose_mut().push_str(FILE_PREFIX);
        URL_SAFE_NO_PAD.encode_string(self.bytes.expose(), text.expose_mut());
        text.expose_mut().push('\n');
        let mut opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        opened.write_all(text.expose().as_bytes())?;
        opened.sync_all()?;
        sync_folder(file)
    }

    fn read(file: &Path, guarded_by_mode: bool) -> Result<Self, MasterKeyError> {
        let unreadable = |cause| MasterKeyError::Unreadable { file: file.to_owned(), cause };
        let malformed = || MasterKeyError::Malformed { file: file.to_owned() };
        let opened = File::open(file).map_err(unreadable)?;
        let mode = opened.metadata().map_err(unreadable)?.mode() & 0o7777;
        if guarded_by_mode && mode & 0o077 != 0 {
            return Err(MasterKeyError::Exposed { file: file.to_owned(), mode });
        }
        let mut text = String::new();
        opened.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(unreadable)?;
        let text = Secret::new(text);
        let encoded = text.expose().trim_end().strip_prefix(FILE_PREFIX).ok_or_else(malformed)?;
        let bytes = Secret::new(URL_SAFE_NO_PAD.decode(encoded).map_err(|_| malformed())?);
        let bytes: [u8; KEY_BYTES] =
            bytes.expose().as_slice().try_into().map_err(|_| malformed())?;
        Ok(Self::from_bytes(Secret::new(bytes))?)
    }
}

fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    const CONTEXT: SealContext<'_> = SealContext { kind: "signing-key", id: "a", revision: 7 };

    fn source(file: &Path) -> MasterKeySource {
        MasterKeySource::File(file.to_owned())
    }

    #[test]
    fn a_created_key_is_readable_by_its_owner_alone_and_loads_as_itself() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        let key = MasterKey::create(&file).unwrap();
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o600);
        let loaded = MasterKey::load(&source(&file)).unwrap();
        assert_eq!(loaded.id(), key.id());
        let sealed = key.seal(&CONTEXT, b"secret").unwrap();
        assert_eq!(loaded.open(&CONTEXT, &sealed).unwrap().expose(), b"secret");
    }

    #[test]
    fn a_key_that_others_may_read_is_refused_unless_systemd_guards_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        let key = MasterKey::create(&file).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o620, 0o601] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let refused = MasterKey::load(&source(&file)).unwrap_err().to_string();
            let file = file.display();
            assert_eq!(
                refused,
                format!(
                    "the master key `{file}` has mode {mode:04o}; it must be readable by its \
                     owner alone: `chmod 600 {file}`"
                )
            );
        }
        let credential = MasterKeySource::SystemdCredential(file);
        assert_eq!(MasterKey::load(&credential).unwrap().id(), key.id());
    }

    #[test]
    fn an_existing_key_is_never_overwritten_by_a_new_one() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        let key = MasterKey::create(&file).unwrap();
        assert!(matches!(MasterKey::create(&file), Err(MasterKeyError::Unwritable { .. })));
        assert_eq!(MasterKey::load(&source(&file)).unwrap().id(), key.id());
    }

    #[test]
    fn the_key_that_waits_beside_the_old_one_takes_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        MasterKey::create(&file).unwrap();
        let next = MasterKey::generate().unwrap();
        next.write_new(&MasterKey::next_file(&file)).unwrap();
        MasterKey::promote_next(&file).unwrap();
        assert_eq!(MasterKey::load(&source(&file)).unwrap().id(), next.id());
        assert!(!MasterKey::next_file(&file).try_exists().unwrap());
        assert!(MasterKey::promote_next(&file).is_err());
    }

    #[test]
    fn what_is_no_key_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("master.key");
        let missing = MasterKey::load(&source(&file)).unwrap_err();
        assert!(matches!(missing, MasterKeyError::Unreadable { .. }), "{missing}");
        for text in ["", "hello", "portcullis-master-key-v1:", "portcullis-master-key-v1:AAAA"] {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
            let refused = MasterKey::load(&source(&file)).unwrap_err();
            assert_eq!(
                refused.to_string(),
                format!("`{}` does not hold a master key", file.display())
            );
        }
    }

    #[test]
    fn a_value_sealed_under_another_key_says_which() {
        let (key, other) = (MasterKey::generate().unwrap(), MasterKey::generate().unwrap());
        let sealed = key.seal(&CONTEXT, b"secret").unwrap();
        assert_eq!(
            other.open(&CONTEXT, &sealed).unwrap_err(),
            SealError::OtherKey { sealed: key.id(), loaded: other.id() }
        );
        assert_eq!(key.open(&CONTEXT, &[]).unwrap_err(), SealError::Truncated);
        assert_eq!(key.open(&CONTEXT, &[2, 0]).unwrap_err(), SealError::Version(2));
        assert_eq!(key.open(&CONTEXT, &sealed[..10]).unwrap_err(), SealError::Truncated);
        assert_eq!(key.open(&CONTEXT, &sealed[..20]).unwrap_err(), SealError::Altered);
    }

    #[test]
    fn a_value_opens_only_for_the_record_and_revision_that_it_was_sealed_for() {
        let key = MasterKey::generate().unwrap();
        let context = SealContext { kind: "ab", id: "cd", revision: 1 };
        let sealed = key.seal(&context, b"secret").unwrap();
        for wrong in [
            SealContext { kind: "abc", id: "d", revision: 1 },
            SealContext { kind: "a", id: "bcd", revision: 1 },
            SealContext { kind: "ab", id: "ce", revision: 1 },
            SealContext { kind: "ab", id: "cd", revision: 2 },
        ] {
            assert_eq!(key.open(&wrong, &sealed).unwrap_err(), SealError::Altered, "{wrong:?}");
        }
    }

    #[test]
    fn the_debug_form_shows_no_key() {
        let key = MasterKey::generate().unwrap();
        assert_eq!(format!("{key:?}"), format!("MasterKey({})", key.id()));
    }

    proptest! {
        #[test]
        fn sealing_round_trips_and_any_flipped_bit_fails(plain in proptest::collection::vec(any::<u8>(), 0..200), kind in ".{0,12}", id in ".{0,12}", revision in any::<u64>(), at in any::<prop::sample::Index>(), bit in 0_u8..8) {
            let key = MasterKey::generate().unwrap();
            let context = SealContext { kind: &kind, id: &id, revision };
            let sealed = key.seal(&context, &plain).unwrap();
            let opened = key.open(&context, &sealed).unwrap();
            prop_assert_eq!(opened.expose(), &plain);
            let mut altered = sealed.clone();
            altered[at.index(sealed.len())] ^= 1 << bit;
            prop_assert!(key.open(&context, &altered).is_err());
            prop_assert!(key.open(&context, &sealed[..at.index(sealed.len())]).is_err());
        }
    }
}

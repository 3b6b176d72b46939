//! What is wrong on the server's own host: as the service's account sees it, whether the server runs or not.

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use audit::Checkpoint;
use keys::{MasterKey, MasterKeyError};
use model::finding::{self, Finding};
use runtime::config::MasterKeySource;
use runtime::{Clock, Config, tls};
use store::{Reader, Store};
use tokio_rustls::rustls::ClientConnection;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::installation::{authority_file, checkpoint, store_file};
use crate::server::checkup::nearly_full;

const SUBJECT: &str = "host";
/// A listener on this host answers at once or not at all.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);
/// What is shown renews itself a month ahead; ending sooner than this, it did not.
const SHOWN_ENDS_SOON: Duration = Duration::from_hours(14 * 24);
/// The checkpoint outside follows the one in the store within moments.
const CHECKPOINT_BEHIND_MAX: Duration = Duration::from_mins(10);
/// File systems of other machines, by `f_type` (statfs(2)): NFS, SMB, CIFS, SMB2, 9P, AFS, Ceph, Lustre, GFS2, OCFS2,
/// GPFS, FUSE (sshfs and the like).
const NETWORK_FILE_SYSTEMS: [u32; 12] = [
    0x6969,
    0x517B,
    0xFF53_4D42,
    0xFE53_4D42,
    0x0102_1997,
    0x5346_414F,
    0x00C3_6400,
    0x0BD0_0BD0,
    0x0116_1970,
    0x7461_636F,
    0x4750_4653,
    0x6573_5546,
];

pub(super) fn findings(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    findings.extend(data_folder(&config.data_directory));
    findings.extend(store(&store_file(config)));
    findings.extend(master_key(config));
    findings.extend(
        [&config.data_directory, &config.audit.directory]
            .into_iter()
            .filter_map(|folder| network_disk(folder)),
    );
    findings.extend(nearly_full(&config.audit.directory));
    findings.extend(outside_checkpoint(config));
    findings.extend(listeners(config));
    findings.extend(names(config));
    findings.extend(shown(config));
    findings
}

fn data_folder(folder: &Path) -> Option<Finding> {
    let mode = std::fs::metadata(folder).ok()?.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let message = format!("`{}` has mode {mode:04o}", folder.display());
        finding::DATA_EXPOSED.found(SUBJECT, message)
    })
}

fn store(file: &Path) -> Vec<Finding> {
    let found = |message: String| finding::STORE_DAMAGED.found(SUBJECT, message);
    match Store::damage(file) {
        Ok(damage) => damage.into_iter().map(found).collect(),
        Err(error) => vec![found(error.to_string())],
    }
}

fn master_key(config: &Config) -> Option<Finding> {
    if let MasterKeySource::SystemdCredential(file) = &config.master_key
        && !file.is_file()
    {
        // systemd shows it to the service alone.
        return None;
    }
    let error = MasterKey::load(&config.master_key).err()?;
    let check = match &error {
        MasterKeyError::Exposed { .. } => &finding::MASTER_KEY_EXPOSED,
        _ => &finding::MASTER_KEY_UNUSABLE,
    };
    Some(check.found(SUBJECT, error.to_string()))
}

fn network_disk(folder: &Path) -> Option<Finding> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    is_on_network(kind).then(|| {
        let message = format!("`{}` is on a file system of type {kind:#x}", folder.display());
        finding::STORE_ON_NETWORK.found(SUBJECT, message)
    })
}

/// The kernel's constants have 32 bits; the field is sometimes sign-extended.
fn is_on_network(kind: i64) -> bool {
    NETWORK_FILE_SYSTEMS.iter().any(|known| i64::from(*known) == kind & 0xFFFF_FFFF)
}

/// The file elsewhere must follow the checkpoint in the store.
fn outside_checkpoint(config: &Config) -> Option<Finding> {
    let file = config.audit.checkpoint_file.as_ref()?;
    let found = |message: String| Some(finding::CHECKPOINT_OLD.found(SUBJECT, message));
    let kept = checkpoint::kept(&store_file(config), &config.gateway.name).ok()??.checkpoint;
    let outside = match Checkpoint::read_all(file) {
        Ok(all) => all.into_iter().next_back(),
        Err(error) => return found(format!("`{}`: {error}", file.display())),
    };
    match outside {
        None => found(format!("`{}` holds no checkpoint", file.display())),
        Some(outside) if outside.gateway != kept.gateway => {
            found(format!("`{}` is of gateway `{}`", file.display(), outside.gateway))
        }
        Some(outside) if kept.time.since(outside.time) > CHECKPOINT_BEHIND_MAX => found(format!(
            "`{}` covers record {} of {}; the store knows {} of {}",
            file.display(),
            outside.sequence,
            outside.time,
            kept.sequence,
            kept.time
        )),
        Some(_) => None,
    }
}

fn listeners(config: &Config) -> Vec<Finding> {
    let gateway = config.gateway.listeners.iter();
    let all = gateway
        .map(|listener| (listener.name.as_str(), listener.listen))
        .chain([("http", config.http.listen)]);
    let silent = all.filter_map(|(name, address)| {
        let error = connect(address).err()?;
        let message = format!("`{name}` on {address}: {error}");
        Some(finding::LISTENER_UNREACHABLE.found(SUBJECT, message))
    });
    silent.collect()
}

/// Where every address is listened on, this host's own is one of them.
fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let stream = TcpStream::connect_timeout(&(host, address.port()).into(), ANSWER_WITHIN)?;
    stream.set_read_timeout(Some(ANSWER_WITHIN))?;
    stream.set_write_timeout(Some(ANSWER_WITHIN))?;
    Ok(stream)
}

/// The host of `origin`, and names that route to servers.
fn names(config: &Config) -> Vec<Finding> {
    // A store that cannot be read is a finding of its own.
    let snapshot = Store::read_file(&store_file(config), Reader::snapshot).unwrap_or_default();
    let servers = snapshot.servers.iter();
    let mut names: BTreeSet<String> =
        servers.flat_map(|server| server.spec.server_names.clone()).collect();
    names.extend(origin_host(&config.origin).map(str::to_owned));
    let unresolved = names.into_iter().filter_map(|name| {
        let error = match (name.as_str(), 0).to_socket_addrs() {
            Ok(mut addresses) => addresses.next().is_none().then(|| "it has no address".to_owned()),
            Err(error) => Some(error.to_string()),
        };
        let message = format!("`{name}`: {}", error?);
        Some(finding::NAME_UNRESOLVED.found(SUBJECT, message))
    });
    unresolved.collect()
}

fn origin_host(origin: &str) -> Option<&str> {
    let authority = origin.strip_prefix("https://")?;
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next()?,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then_some(host)
}

/// What clients are shown, against the authority that they are given.
fn shown(config: &Config) -> Option<Finding> {
    // A listener that does not answer is a finding already.
    let stream = connect(config.http.listen).ok()?;
    match certificate_end(config, stream) {
        Ok(ends) if ends <= Clock::system().now().plus(SHOWN_ENDS_SOON) => {
            let message = format!("what clients are shown ends at {ends}");
            Some(finding::LISTENER_CERTIFICATE_ENDS.found("installation", message))
        }
        Ok(_) => None,
        Err(error) => Some(finding::CERTIFICATE_SHOWN.found(SUBJECT, error)),
    }
}

fn certificate_end(config: &Config, mut stream: TcpStream) -> Result<model::Timestamp, String> {
    let file = authority_file(config);
    let pem = std::fs::read_to_string(&file)
        .map_err(|error| format!("`{}` cannot be read: {error}", file.display()))?;
    let host = origin_host(&config.origin).ok_or("`origin` names no host")?;
    let name = ServerName::try_from(host.to_owned()).map_err(|error| error.to_string())?;
    let client = tls::client_config(&pem, None).map_err(|error| error.to_string())?;
    let mut session = ClientConnection::new(client, name).map_err(|error| error.to_string())?;
    while session.is_handshaking() {
        session.complete_io(&mut stream).map_err(|error| error.to_string())?;
    }
    let chain = session.peer_certificates().unwrap_or_default();
    let leaf = chain.first().ok_or("no certificate was shown")?;
    keys::authority::not_after(leaf).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_told_from_local_ones_also_when_sign_extended() {
        let signed = i64::from(0xFF53_4D42_u32.cast_signed());
        assert!(is_on_network(0x6969) && is_on_network(0xFF53_4D42) && is_on_network(signed));
        // ext4, XFS, Btrfs, tmpfs, overlay
        for local in [0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0x794C_7630] {
            assert!(!is_on_network(local), "{local:#x}");
        }
    }

    #[test]
    fn the_host_of_an_origin_is_what_clients_resolve() {
        for (origin, host) in [
            ("https://portcullis.example.com:8443", Some("portcullis.example.com")),
            ("https://localhost", Some("localhost")),
            ("https://[::1]:8443", Some("::1")),
            ("https://", None),
        ] {
            assert_eq!(origin_host(origin), host, "{origin}");
        }
    }
}

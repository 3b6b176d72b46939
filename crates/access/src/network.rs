//! Firewall rules: from which addresses a server may be reached. One function for every credential and for cancels.

use std::net::IpAddr;

use model::kind::server::{DatabaseServer, PublicNetworkAccess};
use model::{Document, Refusal, Snapshot, code};

/// Whether the server may be reached from the address, and by which rule.
pub fn server_allows(
    server: &Document<DatabaseServer>,
    source: IpAddr,
    snapshot: &Snapshot,
) -> Result<String, Refusal> {
    let source = source.to_canonical();
    match server.spec.public_network_access {
        PublicNetworkAccess::Disabled if source.is_loopback() => {
            Ok("the gateway's own host".to_owned())
        }
        PublicNetworkAccess::Disabled => Err(Refusal::new(
            &code::NETWORK_DENIED,
            format!(
                "public network access to `{}` is disabled, and {source} is not the gateway's own host",
                server.name()
            ),
        )),
        PublicNetworkAccess::Enabled => {
            let rule = snapshot.firewall_rules.iter().find(|rule| {
                let spec = &rule.spec;
                spec.server.as_str() == server.name()
                    && contains(spec.start_ip_address, spec.end_ip_address, source)
            });
            match rule {
                Some(rule) => Ok(format!("firewall rule `{}` covers {source}", rule.name())),
                None => Err(Refusal::new(
                    &code::NETWORK_DENIED,
                    format!("no firewall rule of `{}` covers {source}", server.name()),
                )),
            }
        }
    }
}

/// The first step, before a byte is read: whether any server behind the listener may be reached from the address.
pub fn listener_allows(listener: &str, source: IpAddr, snapshot: &Snapshot) -> Result<(), Refusal> {
    let reachable = snapshot
        .servers
        .iter()
        .filter(|server| server.spec.listeners.contains(listener))
        .any(|server| server_allows(server, source, snapshot).is_ok());
    if reachable {
        return Ok(());
    }
    Err(Refusal::new(
        &code::NETWORK_DENIED,
        format!("no server behind this listener may be reached from {source}"),
    ))
}

/// Both ends belong to the range; an IPv4-mapped address counts as IPv4; families never match each other.
fn contains(start: IpAddr, end: IpAddr, address: IpAddr) -> bool {
    match (start.to_canonical(), end.to_canonical(), address) {
        (IpAddr::V4(start), IpAddr::V4(end), IpAddr::V4(address)) => {
            start <= address && address <= end
        }
        (IpAddr::V6(start), IpAddr::V6(end), IpAddr::V6(address)) => {
            start <= address && address <= end
        }
        (
            IpAddr::V4(_) | IpAddr::V6(_),
            IpAddr::V4(_) | IpAddr::V6(_),
            IpAddr::V4(_) | IpAddr::V6(_),
        ) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn both_ends_belong_to_a_range_and_families_do_not_mix() {
        assert!(contains(ip("10.0.0.1"), ip("10.0.0.9"), ip("10.0.0.1")));
        assert!(contains(ip("10.0.0.1"), ip("10.0.0.9"), ip("10.0.0.9")));
        assert!(!contains(ip("10.0.0.1"), ip("10.0.0.9"), ip("10.0.0.10")));
        assert!(!contains(ip("::"), ip("ffff::"), ip("10.0.0.5")));
        assert!(contains(ip("::ffff:10.0.0.1"), ip("10.0.0.9"), ip("10.0.0.5")));
        assert!(!contains(ip("10.0.0.9"), ip("10.0.0.1"), ip("10.0.0.5")));
    }
}

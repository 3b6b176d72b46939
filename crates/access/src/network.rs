//! Firewall rules: from which addresses a server may be reached. One function for every credential and for cancels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

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

/// Whether an address is one of the public Internet. What is not is somebody's own: this host's, a private network's, a
/// cloud's metadata service.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA's registry of special-purpose addresses, and the address that Azure's hosts answer at though it looks public.
fn is_public_v4(address: Ipv4Addr) -> bool {
    const AZURE_HOST: Ipv4Addr = Ipv4Addr::new(168, 63, 129, 16);
    let special = match address.octets() {
        [0 | 10 | 127, ..]
        | [169, 254, ..]
        | [192, 168, ..]
        | [192, 0, 0 | 2, _]
        | [192, 88, 99, _]
        | [198, 18 | 19, ..]
        | [198, 51, 100, _]
        | [203, 0, 113, _] => true,
        [100, second, ..] => (64..128).contains(&second),
        [172, second, ..] => (16..32).contains(&second),
        [first, ..] => first >= 224,
    };
    !special && address != AZURE_HOST
}

/// Global unicast (RFC 4291 §2.4) without what is for documentation, or carries an IPv4 address inside.
fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, second, ..] => second >= 0x200 && second != 0xdb8,
        [0x2002, ..] | [0x3fff, 0..0x1000, ..] => false,
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_is_not_of_the_public_internet_is_told_apart() {
        for own in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "::ffff:127.0.0.1",
            "64:ff9b::a00:1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:a00:1::",
            "3fff::1",
            "::7f00:1",
        ] {
            assert!(!is_public(ip(own)), "{own}");
        }
        for public in
            ["1.1.1.1", "100.63.0.1", "172.32.0.1", "140.82.112.3", "2606:4700::1", "2a00::1"]
        {
            assert!(is_public(ip(public)), "{public}");
        }
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

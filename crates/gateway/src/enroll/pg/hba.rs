//! `pg_hba.conf`: who may come in, and how. The file's first matching line decides, so ours come first and the others
//! become comments.

use std::net::IpAddr;

const BEGIN: &str = "# >>> portcullis";
const END: &str = "# <<< portcullis";
const COMMENTED: &str = "#portcullis# ";

/// Whether physical replication connections get a line of their own: the word `all` does not mean them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Replication {
    /// Some database role allows it.
    Allowed,
    /// None does.
    Withheld,
}

/// Whether the server's own account can still come in over the unix socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LocalDoor {
    /// For the enrolment itself.
    Open,
    /// Afterwards, for those who want it so.
    Closed,
}

/// What the file must say.
pub(super) struct Wanted<'a> {
    pub(super) gateway_addresses: &'a [IpAddr],
    pub(super) replication: Replication,
    pub(super) superuser: &'a str,
    pub(super) local_door: LocalDoor,
}

/// The file as it must be. The same text when nothing has to change.
pub(super) fn edit(current: &str, wanted: &Wanted<'_>) -> String {
    let rest = without_block(current);
    let mut lines = vec![format!(
        "{BEGIN}: only the gateway, with a certificate of this server's own authority"
    )];
    if wanted.local_door == LocalDoor::Open {
        lines.push(local_line(current, wanted.superuser));
    }
    for address in wanted.gateway_addresses {
        let prefix = if address.is_ipv4() { 32 } else { 128 };
        lines.push(format!("hostssl all all {address}/{prefix} cert"));
        if wanted.replication == Replication::Allowed {
            lines.push(format!("hostssl replication all {address}/{prefix} cert"));
        }
    }
    lines.push(END.to_owned());
    lines.extend(rest.iter().map(|line| comment_out(line)));
    lines.push(String::new());
    lines.join("\n")
}

fn without_block(current: &str) -> Vec<&str> {
    let mut inside = false;
    let mut rest = Vec::new();
    for line in current.lines() {
        if line.starts_with(BEGIN) {
            inside = true;
        }
        if !inside {
            rest.push(line);
        }
        if line.starts_with(END) {
            inside = false;
        }
    }
    rest
}

fn comment_out(line: &str) -> String {
    let text = line.trim_start();
    if text.is_empty() || text.starts_with('#') {
        line.to_owned()
    } else {
        format!("{COMMENTED}{line}")
    }
}

/// The line by which the server's own account comes in, with the options that it has now.
fn local_line(current: &str, superuser: &str) -> String {
    let options = current.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [kind, _, user, method, options @ ..] = fields.as_slice() else { return None };
        let user = user.trim_matches('"');
        let ours = *kind == "local" && [superuser, "all"].contains(&user) && *method == "peer";
        ours.then(|| options.join(" "))
    });
    format!("local all \"{superuser}\" peer {}", options.unwrap_or_default()).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = "\
# Database administrative login by Unix domain socket
local   all             postgres                                peer

# TYPE  DATABASE        USER            ADDRESS                 METHOD
local   all             all                                     peer
host    all             all             127.0.0.1/32            scram-sha-256
host    all             all             ::1/128                 scram-sha-256
host    replication     all             127.0.0.1/32            scram-sha-256
";

    fn wanted(addresses: &[IpAddr]) -> Wanted<'_> {
        Wanted {
            gateway_addresses: addresses,
            replication: Replication::Withheld,
            superuser: "postgres",
            local_door: LocalDoor::Open,
        }
    }

    #[test]
    fn only_the_gateway_and_the_servers_own_account_are_left() {
        let addresses = ["10.0.0.7".parse().unwrap(), "2001:db8::7".parse().unwrap()];
        let edited = edit(DEBIAN, &wanted(&addresses));
        let active: Vec<&str> =
            edited.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert_eq!(
            active,
            [
                "local all \"postgres\" peer",
                "hostssl all all 10.0.0.7/32 cert",
                "hostssl all all 2001:db8::7/128 cert",
            ]
        );
        assert!(
            edited.contains("#portcullis# host    all             all             127.0.0.1/32")
        );
    }

    #[test]
    fn editing_twice_changes_nothing_more() {
        let addresses = ["10.0.0.7".parse().unwrap()];
        let once = edit(DEBIAN, &wanted(&addresses));
        assert_eq!(edit(&once, &wanted(&addresses)), once);
    }

    #[test]
    fn a_line_added_by_hand_later_is_a_change_again() {
        let addresses = ["10.0.0.7".parse().unwrap()];
        let once = edit(DEBIAN, &wanted(&addresses));
        let by_hand = format!("{once}host all all 0.0.0.0/0 trust\n");
        assert!(
            edit(&by_hand, &wanted(&addresses)).contains("#portcullis# host all all 0.0.0.0/0")
        );
    }

    #[test]
    fn the_map_of_the_servers_own_account_is_kept() {
        let addresses = ["10.0.0.7".parse().unwrap()];
        let edited = edit("local all postgres peer map=superuser\n", &wanted(&addresses));
        assert!(edited.contains("local all \"postgres\" peer map=superuser\n"));
    }

    #[test]
    fn continued_lines_stay_comments() {
        let addresses = ["10.0.0.7".parse().unwrap()];
        let edited = edit("host all all \\\n  0.0.0.0/0 trust\n", &wanted(&addresses));
        assert!(edited.ends_with("#portcullis# host all all \\\n#portcullis#   0.0.0.0/0 trust\n"));
    }

    #[test]
    fn the_closed_door_leaves_no_local_line_and_replication_gets_its_own() {
        let addresses = ["10.0.0.7".parse().unwrap()];
        let closed = Wanted {
            local_door: LocalDoor::Closed,
            replication: Replication::Allowed,
            ..wanted(&addresses)
        };
        let edited = edit(DEBIAN, &closed);
        let active: Vec<&str> =
            edited.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
        assert_eq!(
            active,
            ["hostssl all all 10.0.0.7/32 cert", "hostssl replication all 10.0.0.7/32 cert"]
        );
    }
}

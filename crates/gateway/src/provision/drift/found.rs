//! What is on the server that no resource explains, in words.

use std::collections::BTreeSet;

use access::database_user::PROVISIONER;
use model::finding::{self, Check};
use serde::Deserialize;

/// Findings of one kind are cut at so many; the last one says how many more there are.
const FINDINGS_MAX: usize = 20;
/// How the finding begins that says why there are no newer ones.
pub(crate) const UNSEEN: &str = "the server could not be looked at";
const PASSWORDS_UNSEEN: &str =
    "passwords cannot be looked for: run `portcullis server enroll` again";
const ADMISSION_UNSEEN: &str =
    "admission rules cannot be read: run `portcullis server enroll` again";

/// A login user of ours, as it is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) oid: Option<u32>,
    /// The comment that it carries.
    pub(crate) mark: String,
    /// Whether it may log in.
    pub(crate) enabled: bool,
    /// The server's roles that it should be a member of.
    pub(crate) roles: BTreeSet<String>,
    /// Whether it should be a superuser: on test stacks only.
    pub(crate) superuser: bool,
}

/// The server as a whole.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct Observed {
    /// Everyone who can log in or carries our mark.
    pub(crate) users: Vec<User>,
    /// Login users with a password; absent when the provisioner may not know.
    pub(crate) passwords: Option<BTreeSet<String>>,
    /// Admission rules other than `hostssl … cert` of single addresses; absent when the provisioner may not know.
    pub(crate) admission: Option<Vec<String>>,
    /// Databases that everyone may connect to.
    pub(crate) open_databases: Vec<String>,
    /// Members of our roles that we did not make: role and member.
    pub(crate) strangers: Vec<(String, String)>,
    /// Privileges that users of ours hold themselves: user and database.
    pub(crate) direct: Vec<(String, String)>,
}

/// A role that can log in, or one of ours.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "columns of the server's catalogs")]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) oid: u32,
    pub(crate) login: bool,
    /// Whether it is the server's own superuser.
    pub(crate) bootstrap: bool,
    pub(crate) superuser: bool,
    /// CREATEROLE, CREATEDB, REPLICATION or BYPASSRLS.
    pub(crate) attributes: bool,
    pub(crate) member_of: BTreeSet<String>,
    /// The comment on it.
    pub(crate) mark: Option<String>,
    /// Whether its accounts ask for certificates of an authority that does not sign any more.
    #[serde(default)]
    pub(crate) stale: bool,
    /// Whether something other than its own certificate opens an account of its, where accounts say what does.
    #[serde(default)]
    pub(crate) unguarded: bool,
    /// Whether the provisioner is a member of it, which it is only for a moment while it works on what the user owns.
    pub(crate) entered: bool,
}

/// What no resource explains about the server as a whole, in words that stay the same while it stands. `known` is every
/// user of ours; what was done to each of them is [`of_user`]'s to say.
pub(crate) fn findings(observed: &Observed, known: &BTreeSet<&str>) -> Vec<String> {
    sorted(observed, known).into_iter().map(|(_, message)| message).collect()
}

/// The same, each with what it is an instance of.
pub(crate) fn sorted(observed: &Observed, known: &BTreeSet<&str>) -> Vec<(&'static Check, String)> {
    let mut all: Vec<(&'static Check, String)> = Vec::new();
    let mut add = |check: &'static Check, messages: Vec<String>| {
        all.extend(some(messages).into_iter().map(|message| (check, message)));
    };
    add(&finding::STRANGER, strangers(observed, known));
    match &observed.passwords {
        Some(with_password) => add(&finding::PASSWORD_LEFT, passwords(with_password, known)),
        None => add(&finding::PASSWORDS_UNSEEN, vec![PASSWORDS_UNSEEN.to_owned()]),
    }
    let members = observed.strangers.iter();
    let members = members.filter(|(_, member)| !known.contains(member.as_str()));
    let member = |(role, member): &(String, String)| {
        format!("`{member}` was made a member of `{role}` by hand")
    };
    add(&finding::DRIFT, members.map(member).collect());
    let direct = observed.direct.iter().map(|(user, database)| {
        format!("database user `{user}` holds privileges of its own in `{database}`")
    });
    add(&finding::DRIFT, direct.collect());
    let open = observed.open_databases.iter();
    let open = open.map(|database| format!("every role may connect to database `{database}`"));
    add(&finding::PUBLIC_CONNECT, open.collect());
    match &observed.admission {
        Some(lines) => {
            let lines = lines.iter().map(|line| format!("another way in: {line}"));
            add(&finding::ADMISSION_WIDE, lines.collect());
        }
        None => add(&finding::ADMISSION_UNSEEN, vec![ADMISSION_UNSEEN.to_owned()]),
    }
    all
}

/// Whether a finding of the last look is of a kind that another look finds anew.
pub(crate) fn is_of_sorted(finding: &str) -> bool {
    let sorted = [
        UNSEEN,
        "login user `",
        PASSWORDS_UNSEEN,
        ADMISSION_UNSEEN,
        "every role may connect to database `",
        "another way in: ",
    ];
    sorted.iter().any(|beginning| finding.starts_with(beginning))
        || (finding.starts_with("database user `") && finding.ends_with("` has a password"))
}

fn some(findings: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut findings: Vec<String> = findings.into_iter().collect();
    let more = findings.len().saturating_sub(FINDINGS_MAX);
    if more > 0 {
        findings.truncate(FINDINGS_MAX);
        findings.push(format!("and {more} more of this kind"));
    }
    findings
}

fn strangers(observed: &Observed, known: &BTreeSet<&str>) -> Vec<String> {
    let strange = observed.users.iter().filter(|user| {
        user.login
            && !user.bootstrap
            && user.name != PROVISIONER
            && !known.contains(user.name.as_str())
    });
    strange.map(|user| format!("login user `{}` was not made by Portcullis", user.name)).collect()
}

/// Whether a user of this name is another than the one that was recorded.
pub(crate) fn is_another(user: &User, known: &Known) -> bool {
    known.oid.is_some_and(|oid| oid != user.oid || user.mark.as_ref() != Some(&known.mark))
}

/// What was done by hand to one user of ours.
pub(crate) fn of_user(user: &User, known: &Known) -> Vec<String> {
    let (name, mut findings) = (&user.name, Vec::new());
    if is_another(user, known) {
        findings.push(format!("database user `{name}` was dropped and made again by hand"));
    }
    if user.unguarded {
        findings.push(format!(
            "database user `{name}` asks for another certificate than its own, or for none"
        ));
    }
    if user.login && !known.enabled {
        findings.push(format!("database user `{name}` can log in although it should not"));
    }
    if (user.superuser || user.attributes) && !known.superuser {
        findings.push(format!("database user `{name}` was given attributes by hand"));
    }
    let extra = user.member_of.difference(&known.roles);
    findings.extend(
        extra.map(|role| format!("database user `{name}` was made a member of `{role}` by hand")),
    );
    if known.enabled {
        let missing = known.roles.difference(&user.member_of);
        findings.extend(
            missing.map(|role| {
                format!("database user `{name}` lost its membership of `{role}` by hand")
            }),
        );
    }
    findings
}

fn passwords(with_password: &BTreeSet<String>, known: &BTreeSet<&str>) -> Vec<String> {
    let ours = with_password.iter().filter(|user| known.contains(user.as_str()));
    ours.map(|user| format!("database user `{user}` has a password")).collect()
}

/// What users of ours did in one database.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub(crate) struct InDatabase {
    /// Functions that run with the rights of a user of ours.
    pub(crate) definers: Vec<(String, String)>,
    /// Objects on which a user of ours granted something: user and object.
    pub(crate) granted: Vec<(String, String)>,
}

impl InDatabase {
    /// In words.
    pub(crate) fn findings(&self, database: &str) -> Vec<String> {
        let definers = self.definers.iter().map(|(user, function)| {
            format!("function {function} in `{database}` runs with the rights of `{user}` (SECURITY DEFINER)")
        });
        let granted = self.granted.iter().map(|(user, object)| {
            format!("database user `{user}` granted rights on {object} in `{database}` to others")
        });
        [some(definers), some(granted)].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(enabled: bool) -> Known {
        Known {
            oid: Some(100),
            mark: "portcullis:ada".to_owned(),
            enabled,
            roles: BTreeSet::from(["portcullis_orders.reader".to_owned()]),
            superuser: false,
        }
    }

    fn observed(users: &serde_json::Value) -> Observed {
        serde_json::from_value(serde_json::json!({
            "users": users, "passwords": ["ada"], "admission": ["line 3 of pg_hba.conf: host all all trust"],
            "open_databases": ["postgres"], "strangers": [["portcullis_orders.reader", "eve"]],
            "direct": [["ada", "orders"]],
        }))
        .unwrap()
    }

    #[test]
    fn everything_done_by_hand_is_found_and_named() {
        let users = serde_json::json!([
            {"name": "postgres", "oid": 10, "login": true, "bootstrap": true, "superuser": true, "attributes": true, "member_of": [], "entered": false},
            {"name": "portcullis_provisioner", "oid": 11, "login": true, "bootstrap": false, "superuser": false, "attributes": true, "member_of": [], "entered": false},
            {"name": "ada", "oid": 101, "login": true, "bootstrap": false, "superuser": false, "attributes": true,
             "member_of": ["portcullis_orders.reader", "pg_read_all_data"], "entered": false},
            {"name": "eve", "oid": 102, "login": true, "bootstrap": false, "superuser": false, "attributes": false, "member_of": [], "entered": false},
        ]);
        let observed = observed(&users);
        let ada = observed.users.iter().find(|user| user.name == "ada").unwrap();
        assert_eq!(
            of_user(ada, &known(false)),
            [
                "database user `ada` was dropped and made again by hand",
                "database user `ada` can log in although it should not",
                "database user `ada` was given attributes by hand",
                "database user `ada` was made a member of `pg_read_all_data` by hand",
            ]
        );
        assert_eq!(
            findings(&observed, &BTreeSet::from(["ada"])),
            [
                "login user `eve` was not made by Portcullis",
                "database user `ada` has a password",
                "`eve` was made a member of `portcullis_orders.reader` by hand",
                "database user `ada` holds privileges of its own in `orders`",
                "every role may connect to database `postgres`",
                "another way in: line 3 of pg_hba.conf: host all all trust",
            ]
        );
    }

    #[test]
    fn a_membership_that_someone_took_away_is_found_while_the_user_is_enabled() {
        let bare = serde_json::json!({"name": "ada", "oid": 100, "login": false, "bootstrap": false,
            "superuser": false, "attributes": false, "member_of": [], "entered": false,
            "mark": "portcullis:ada"});
        let bare: User = serde_json::from_value(bare).unwrap();
        assert_eq!(
            of_user(&bare, &known(true)),
            ["database user `ada` lost its membership of `portcullis_orders.reader` by hand"]
        );
        assert_eq!(of_user(&bare, &known(false)), Vec::<String>::new());
    }

    #[test]
    fn a_user_with_the_recorded_oid_that_does_not_carry_the_mark_is_another() {
        let user = |mark: serde_json::Value| -> User {
            let user = serde_json::json!({"name": "ada", "oid": 100, "login": false, "bootstrap": false,
                "superuser": false, "attributes": false, "member_of": [], "entered": false, "mark": mark});
            serde_json::from_value(user).unwrap()
        };
        assert!(!is_another(&user("portcullis:ada".into()), &known(true)));
        for mark in [serde_json::Value::Null, "portcullis:eve".into()] {
            assert!(is_another(&user(mark), &known(true)));
        }
    }

    #[test]
    fn many_findings_of_a_kind_are_counted_instead_of_listed() {
        let users: Vec<_> = (0..30)
            .map(|n| {
                serde_json::json!({"name": format!("u{n}"), "oid": n + 20, "login": true, "bootstrap": false,
                    "superuser": false, "attributes": false, "member_of": [], "entered": false})
            })
            .collect();
        let found = findings(&observed(&users.into()), &BTreeSet::new());
        assert!(found.contains(&"and 10 more of this kind".to_owned()), "{found:?}");
    }
}

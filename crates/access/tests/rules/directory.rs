//! A small directory that every test starts from: the example of the README.

use std::collections::BTreeSet;
use std::net::IpAddr;

use access::token::Credential;
use access::{OpenedWith, Request};
use model::kind::access_rules::{AccessRules, Approver};
use model::kind::activation::{Activation, ActivationState, ActivationStatus};
use model::kind::application::Application;
use model::kind::database_role::{DatabaseRole, Privileges};
use model::kind::eligibility::Eligibility;
use model::kind::firewall::FirewallRule;
use model::kind::group::Group;
use model::kind::managed_identity::{Assignment, ManagedIdentity};
use model::kind::role_assignment::{Assignee, RoleAssignment};
use model::kind::server::{
    AuditSettings, DatabaseServer, Databases, Engine, PublicNetworkAccess, SessionSettings,
};
use model::kind::user::User;
use model::{
    ControlRole, DatabaseRoleName, Document, GroupName, Lifetime, PrincipalId, Resource, Revision,
    ServerName, Snapshot, Spec, Timestamp, TokenId, UserName,
};
use uuid::Uuid;

pub(crate) const ADA: &str = "ada@example.com";
pub(crate) const GRACE: &str = "grace@example.com";

pub(crate) fn at(time: &str) -> Timestamp {
    format!("2026-11-24T{time}Z").parse().unwrap()
}

pub(crate) fn user_name(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

pub(crate) fn group_name(name: &str) -> GroupName {
    GroupName::new(name).unwrap()
}

pub(crate) fn role_name(name: &str) -> DatabaseRoleName {
    DatabaseRoleName::new(name).unwrap()
}

pub(crate) fn stored<S: Spec>(name: &str, spec: S) -> Document<S> {
    let mut document = Document::new(name, spec);
    document.metadata.uid = Some(Uuid::from_u128(
        name.bytes()
            .fold(7, |sum: u128, byte| sum.wrapping_mul(257).wrapping_add(u128::from(byte))),
    ));
    document.metadata.created_at = Some(at("00:00:00"));
    document
}

pub(crate) fn person_spec(name: &str, role: ControlRole) -> User {
    User { display_name: name.to_owned(), enabled: true, control_role: role, manager: None }
}

pub(crate) fn person(name: &str, role: ControlRole) -> Resource {
    stored(name, person_spec(name, role)).into()
}

pub(crate) fn server() -> Document<DatabaseServer> {
    stored(
        "orders",
        DatabaseServer {
            engine: Engine::PostgreSql,
            host: "db.internal".to_owned(),
            port: 5432,
            ca: String::new(),
            server_name: None,
            databases: Databases::Only(BTreeSet::from(["orders".to_owned()])),
            listeners: BTreeSet::from(["postgresql".to_owned()]),
            server_names: vec!["orders.db.example.com".to_owned()],
            maintenance_database: "postgres".to_owned(),
            public_network_access: PublicNetworkAccess::Enabled,
            audit: AuditSettings::default(),
            sessions: SessionSettings::default(),
            test_stack: false,
            local_infile: model::kind::server::LocalInfile::default(),
            upstream_identity: model::kind::server::UpstreamIdentity::default(),
        },
    )
}

fn role(name: &str, privileges: Privileges) -> Resource {
    let server = ServerName::new("orders").unwrap();
    let spec = DatabaseRole {
        server,
        privileges,
        databases: vec![],
        schemas: vec!["public".to_owned()],
        replication: false,
    };
    stored(name, spec).into()
}

fn assigned(name: &str, principal: Assignee, role: &str) -> Resource {
    stored(name, RoleAssignment { principal, role: role_name(role) }).into()
}

fn eligible(user: &str, group: &str) -> Resource {
    let spec = Eligibility {
        user: Some(user_name(user)),
        members_of: None,
        group: group_name(group),
        starts_at: None,
        ends_at: None,
    };
    stored(&format!("{user}-{group}"), spec).into()
}

fn rules(group: &str) -> Resource {
    let mut spec = AccessRules::new(group_name(group), Lifetime::from_seconds(1800));
    spec.approvers = [GRACE, ADA].map(|name| Approver::User(user_name(name))).into();
    stored(group, spec).into()
}

pub(crate) fn group_of(name: &str, members: &[&str], groups: &[&str]) -> Resource {
    let members = members.iter().map(|name| user_name(name)).collect();
    let groups = groups.iter().map(|name| group_name(name)).collect();
    stored(name, Group { description: None, members, groups }).into()
}

/// Ada is eligible for readers and writers and member of none; Grace decides; `orders-api` and `orders-job` read.
pub(crate) fn resources() -> Vec<Resource> {
    let rule = FirewallRule {
        server: ServerName::new("orders").unwrap(),
        start_ip_address: ip("10.0.0.0"),
        end_ip_address: ip("10.0.0.255"),
    };
    let application = Application {
        display_name: "orders-api".to_owned(),
        enabled: true,
        client_id: None,
        certificates: vec![],
        redirect_uris: vec![],
        public_client: false,
        subject_name_issuers: vec![],
        federated_credentials: vec![],
    };
    let identity = ManagedIdentity {
        display_name: "orders-job".to_owned(),
        enabled: true,
        client_id: None,
        assignment: Assignment::UserAssigned,
        resource_id: None,
        federated_credentials: vec![],
    };
    let group = |name: &str| group_of(name, &[], &[]);
    vec![
        person(ADA, ControlRole::Approver),
        person(GRACE, ControlRole::Approver),
        stored("orders-api", application).into(),
        stored("orders-job", identity).into(),
        group("orders-readers"),
        group("orders-writers"),
        server().into(),
        role("orders.reader", Privileges::Reader),
        role("orders.writer", Privileges::Writer),
        assigned("readers", Assignee::Group(group_name("orders-readers")), "orders.reader"),
        assigned("writers", Assignee::Group(group_name("orders-writers")), "orders.writer"),
        assigned("api", Assignee::Application("orders-api".parse().unwrap()), "orders.reader"),
        assigned("job", Assignee::ManagedIdentity("orders-job".parse().unwrap()), "orders.reader"),
        eligible(ADA, "orders-readers"),
        eligible(ADA, "orders-writers"),
        rules("orders-readers"),
        rules("orders-writers"),
        stored("office", rule).into(),
    ]
}

pub(crate) fn snapshot(resources: Vec<Resource>) -> Snapshot {
    Snapshot::of(Revision(1), at("09:00:00"), resources)
}

/// An activation of Ada's, active from 10:00 to 10:30.
pub(crate) fn active(group: &str) -> Document<Activation> {
    let spec = Activation {
        user: user_name(ADA),
        group: group_name(group),
        duration: Lifetime::from_seconds(1800),
        justification: Some("incident 4711".to_owned()),
        ticket: None,
        starts_at: None,
        extends: None,
        requested_at: at("09:55:00"),
    };
    let mut activation =
        stored(&Uuid::from_u128(group.bytes().map(u128::from).sum()).to_string(), spec);
    activation.status = ActivationStatus {
        state: ActivationState::Active,
        active_from: Some(at("10:00:00")),
        active_until: Some(at("10:30:00")),
        ..ActivationStatus::default()
    };
    activation
}

pub(crate) fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

pub(crate) fn id_of(name: &str, snapshot: &Snapshot) -> PrincipalId {
    snapshot.principal_named(name).unwrap().id
}

/// The named principal asks, from the office, with a token of 09:59 that is good until 11:00.
pub(crate) fn request(name: &str, snapshot: &Snapshot) -> Request {
    let principal = id_of(name, snapshot);
    Request {
        principal,
        credential: Credential {
            token: TokenId(Uuid::from_u128(1)),
            principal,
            issued_at: at("09:59:00"),
            expires_at: at("11:00:00"),
            server: None,
            methods: vec![],
            signed_in_at: None,
            client: None,
        },
        server: ServerName::new("orders").unwrap(),
        database: "orders".to_owned(),
        user: name.to_owned(),
        source: ip("10.0.0.7"),
        replication: false,
        opened_with: None,
    }
}

/// The same once the session is open with these roles.
pub(crate) fn open(mut request: Request, opened_at: &str, roles: &[&str]) -> Request {
    let roles = roles.iter().map(|role| role_name(role)).collect();
    request.opened_with = Some(OpenedWith { at: at(opened_at), roles, shared_user: None });
    request
}

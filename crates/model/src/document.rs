//! Resources as documents: `apiVersion`, `kind`, `metadata`, `spec` (what is wanted), `status` (what is).

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use uuid::Uuid;

use crate::kind::{
    access_rules, activation, application, conditional_access_policy, database_role, database_user,
    eligibility, firewall, group, host, managed_identity, named_location, principal_risk,
    revocation, role_assignment, server, signing_key, tenant, user,
};
use crate::{Revision, Timestamp};

/// The only version of the document format.
pub const API_VERSION: &str = "portcullis.dev/v1";

/// What a document says it wants; one type a kind.
pub trait Spec: Clone + fmt::Debug + PartialEq + Serialize + DeserializeOwned + JsonSchema {
    /// Which kind it is.
    const KIND: Kind;
    /// What is known of it, written by Portcullis only.
    type Status: Clone
        + fmt::Debug
        + Default
        + PartialEq
        + Serialize
        + DeserializeOwned
        + JsonSchema;
}

/// The status of kinds that have none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NoStatus {}

pub(crate) fn yes() -> bool {
    true
}

/// Who a document is and when it changed. Only `name` is given by people; the rest is the store's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Metadata {
    /// Unique within the kind.
    pub name: String,
    /// Drawn at creation; a deleted and recreated resource has another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uuid>,
    /// The store's revision at which the document last changed; a write that names another is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<Revision>,
    /// When it was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_at: Option<Timestamp>,
    /// When it last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_at: Option<Timestamp>,
}

impl Metadata {
    /// Metadata of a document that the store has not seen.
    pub fn named(name: impl Into<String>) -> Self {
        Self { name: name.into(), uid: None, revision: None, created_at: None, updated_at: None }
    }
}

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Document<S: Spec> {
    /// Who it is.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
    /// What is.
    pub status: S::Status,
}

impl<S: Spec> Document<S> {
    /// A document that the store has not seen.
    pub fn new(name: impl Into<String>, spec: S) -> Self {
        Self { metadata: Metadata::named(name), spec, status: S::Status::default() }
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// The object id. Nil before the store has seen the document.
    pub fn uid(&self) -> Uuid {
        self.metadata.uid.unwrap_or_default()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenEnvelope<'a, S, T> {
    api_version: &'static str,
    kind: Kind,
    metadata: &'a Metadata,
    spec: &'a S,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadEnvelope<S, T> {
    api_version: String,
    kind: Kind,
    metadata: Metadata,
    spec: S,
    #[serde(default)]
    status: Option<T>,
}

impl<S: Spec> Serialize for Document<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let status = (self.status != S::Status::default()).then_some(&self.status);
        WrittenEnvelope {
            api_version: API_VERSION,
            kind: S::KIND,
            metadata: &self.metadata,
            spec: &self.spec,
            status,
        }
        .serialize(serializer)
    }
}

impl<'de, S: Spec> Deserialize<'de> for Document<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;

        let read = ReadEnvelope::<S, S::Status>::deserialize(deserializer)?;
        if read.api_version != API_VERSION {
            return Err(D::Error::custom(format_args!(
                "apiVersion `{}` is not known here; the only one is `{API_VERSION}`",
                read.api_version
            )));
        }
        if read.kind != S::KIND {
            return Err(D::Error::custom(format_args!(
                "a `{}` stands where a `{}` is wanted",
                read.kind,
                S::KIND
            )));
        }
        crate::name::check(&read.metadata.name).map_err(D::Error::custom)?;
        Ok(Self {
            metadata: read.metadata,
            spec: read.spec,
            status: read.status.unwrap_or_default(),
        })
    }
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $spec:ty, $plural:literal, $written_by:ident;)*) => {
        /// Every kind of resource.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Kind { $($(#[$doc])* $kind,)* }

        impl Kind {
            /// In the order in which a folder of them is applied: what is referred to comes first.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// As written in `kind`.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => stringify!($kind),)* }
            }

            /// As written in addresses and on the command line.
            pub const fn plural(self) -> &'static str {
                match self { $(Self::$kind => $plural,)* }
            }

            /// Who writes documents of this kind.
            pub const fn written_by(self) -> WrittenBy {
                match self { $(Self::$kind => WrittenBy::$written_by,)* }
            }

            /// The JSON Schema of its documents' `spec`.
            pub fn schema(self) -> Value {
                match self { $(Self::$kind => schemars::schema_for!($spec).to_value(),)* }
            }
        }

        /// A document of any kind.
        #[derive(Clone, Debug, PartialEq)]
        pub enum Resource { $($(#[$doc])* $kind(Document<$spec>),)* }

        impl Resource {
            /// Which kind it is.
            pub fn kind(&self) -> Kind {
                match self { $(Self::$kind(_) => Kind::$kind,)* }
            }

            /// Who it is.
            pub fn metadata(&self) -> &Metadata {
                match self { $(Self::$kind(document) => &document.metadata,)* }
            }

            /// Who it is, for the store to fill in.
            pub fn metadata_mut(&mut self) -> &mut Metadata {
                match self { $(Self::$kind(document) => &mut document.metadata,)* }
            }

            /// Reads a document whose kind is known, from any format.
            pub fn deserialize_as<'de, D: Deserializer<'de>>(
                kind: Kind,
                deserializer: D,
            ) -> Result<Self, D::Error> {
                match kind { $(Kind::$kind => Document::deserialize(deserializer).map(Self::$kind),)* }
            }

            /// Reads a document whose kind is known.
            pub fn from_value(kind: Kind, value: Value) -> Result<Self, serde_json::Error> {
                Self::deserialize_as(kind, value)
            }
        }

        impl Serialize for Resource {
            fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
                match self { $(Self::$kind(document) => document.serialize(serializer),)* }
            }
        }

        $(impl From<Document<$spec>> for Resource {
            fn from(document: Document<$spec>) -> Self {
                Self::$kind(document)
            }
        }

        impl TryFrom<Resource> for Document<$spec> {
            type Error = Resource;

            fn try_from(resource: Resource) -> Result<Self, Resource> {
                match resource {
                    Resource::$kind(document) => Ok(document),
                    other => Err(other),
                }
            }
        })*
    };
}

/// Who writes documents of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WrittenBy {
    /// People, through files and the API.
    People,
    /// Portcullis alone, as the outcome of an intent of its own (an activation's life cycle, reconciliation).
    Portcullis,
}

kinds! {
    /// The installation's directory.
    Tenant, tenant::Tenant, "tenants", People;
    /// A person.
    User, user::User, "users", People;
    /// A set of people.
    Group, group::Group, "groups", People;
    /// A workload identity with a credential of its own.
    Application, application::Application, "applications", People;
    /// A workload identity without a credential of its own.
    ManagedIdentity, managed_identity::ManagedIdentity, "managedidentities", People;
    /// A machine whose workloads get tokens from an agent on it.
    Host, host::Host, "hosts", People;
    /// A protected server.
    DatabaseServer, server::DatabaseServer, "databaseservers", People;
    /// A named set of privileges on one server.
    DatabaseRole, database_role::DatabaseRole, "databaseroles", People;
    /// Who holds which database role.
    RoleAssignment, role_assignment::RoleAssignment, "roleassignments", People;
    /// Who may ask for membership.
    Eligibility, eligibility::Eligibility, "eligibilities", People;
    /// What an activation needs.
    AccessRules, access_rules::AccessRules, "accessrules", People;
    /// Addresses from which a server may be reached.
    FirewallRule, firewall::FirewallRule, "firewallrules", People;
    /// Where people and workloads are.
    NamedLocation, named_location::NamedLocation, "namedlocations", People;
    /// What must be true of a session besides membership.
    ConditionalAccessPolicy, conditional_access_policy::ConditionalAccessPolicy, "conditionalaccesspolicies", People;
    /// What is feared of a principal.
    PrincipalRisk, principal_risk::PrincipalRisk, "principalrisks", People;
    /// A time-bound membership.
    Activation, activation::Activation, "activations", Portcullis;
    /// A login user that the gateway made.
    DatabaseUser, database_user::DatabaseUser, "databaseusers", Portcullis;
    /// A key that signs tokens; its public half.
    SigningKey, signing_key::SigningKey, "signingkeys", Portcullis;
    /// Tokens that no longer count.
    Revocation, revocation::Revocation, "revocations", Portcullis;
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Kind {
    /// By name or plural, in any case.
    pub fn find(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| {
            text.eq_ignore_ascii_case(kind.name()) || text.eq_ignore_ascii_case(kind.plural())
        })
    }
}

impl Resource {
    /// Reads a document, finding its kind in it.
    pub fn read(value: Value) -> Result<Self, serde_json::Error> {
        use serde::de::Error;

        let named = value.get("kind").and_then(Value::as_str).unwrap_or_default();
        let Some(kind) = Kind::ALL.iter().copied().find(|kind| kind.name() == named) else {
            let hint =
                match crate::suggest::nearest(named, Kind::ALL.iter().map(|kind| kind.name())) {
                    Some(known) => format!("; did you mean `{known}`?"),
                    None => String::new(),
                };
            return Err(serde_json::Error::custom(format_args!("`{named}` is not a kind{hint}")));
        };
        Self::from_value(kind, value)
    }

    /// `metadata.name`.
    pub fn name(&self) -> &str {
        &self.metadata().name
    }
}

//! What must be true of a session besides membership.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApplicationId, GroupName, Lifetime, NamedLocationName, ServerName, UserName};

/// Who may open which server's sessions only under which conditions (Entra: conditional access policy). It is asked at
/// login, and again of every live session when anything changes or a deadline comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ConditionalAccessPolicy {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Whether it counts.
    pub state: PolicyState,
    /// Whom it speaks of.
    pub include: Principals,
    /// Whom it does not speak of, though included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Principals>,
    /// Of which servers.
    pub servers: Servers,
    /// When it applies; all that are given hold. None: always.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// What it then demands.
    pub grant: GrantControls,
    /// A person must have signed in within so long; their sessions end when it is over (Entra: sign-in frequency).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in_frequency: Option<Lifetime>,
}

/// Whether a policy counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PolicyState {
    /// It refuses and cuts.
    Enabled,
    /// It is evaluated and recorded, and refuses nothing.
    ReportOnly,
    /// It is not looked at.
    Disabled,
}

/// People and workloads; one list that names the principal is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Principals {
    /// Everyone of a sort.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub all: Vec<PrincipalSort>,
    /// People.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<UserName>,
    /// Members of groups, for as long as they are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupName>,
    /// Workloads, by their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub workloads: Vec<String>,
}

/// A sort of principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum PrincipalSort {
    /// Every person.
    Users,
    /// Every workload.
    Workloads,
}

/// Which servers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Servers {
    /// All, those of tomorrow too.
    Any,
    /// These.
    Only(BTreeSet<ServerName>),
}

/// When a policy applies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conditions {
    /// From where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locations: Option<Locations>,
    /// Programs that got the token, by client id; empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clients: Vec<ApplicationId>,
    /// How much is feared of the principal; empty: whatever.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub risk: Vec<RiskLevel>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<TimeWindow>,
}

impl Conditions {
    /// Whether the policy applies always.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Places by name. An address that is in none of the included ones, or in an excluded one, is not meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Locations {
    /// Empty: everywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<NamedLocationName>,
    /// But not there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<NamedLocationName>,
}

/// How much is feared of a principal.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum RiskLevel {
    /// Nothing is known.
    None,
    /// A little.
    Low,
    /// More.
    Medium,
    /// The account is in wrong hands.
    High,
}

/// A part of the week.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TimeWindow {
    /// On which days; empty: every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<Day>,
    /// From this time of the day …
    pub from: TimeOfDay,
    /// … to just before this one, of the same day; 24:00 is the day's end.
    pub until: TimeOfDay,
    /// How far the clock there is ahead of UTC, such as `+01:00`; UTC when absent. Summer time is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub utc_offset: Option<UtcOffset>,
    /// The policy applies outside of the window rather than inside.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub outside: bool,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "they say it themselves")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Day {
    /// The day so many days after a Monday.
    pub const fn after_monday(days: i64) -> Self {
        match days.rem_euclid(7) {
            0 => Self::Monday,
            1 => Self::Tuesday,
            2 => Self::Wednesday,
            3 => Self::Thursday,
            4 => Self::Friday,
            5 => Self::Saturday,
            _ => Self::Sunday,
        }
    }
}

macro_rules! text_of_minutes {
    ($name:ident, $example:literal) => {
        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "examples": [$example] })
            }
        }
    };
}

/// A time of the day, `00:00` to `24:00`, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TimeOfDay(u16);

/// How far a clock is ahead of UTC, in minutes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UtcOffset(i16);

text_of_minutes!(TimeOfDay, "08:00");
text_of_minutes!(UtcOffset, "+01:00");

impl TimeOfDay {
    /// Since midnight.
    pub const fn minutes(self) -> u16 {
        self.0
    }
}

impl UtcOffset {
    /// Ahead of UTC.
    pub const fn minutes(self) -> i16 {
        self.0
    }
}

/// `hh:mm`, two digits each.
fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| {
        let plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| text.parse::<u16>().ok())?
    };
    let (hours, minutes) = (digits(hours)?, digits(minutes)?);
    (minutes < 60).then_some(hours * 60 + minutes)
}

impl FromStr for TimeOfDay {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let minutes = minutes(text).filter(|minutes| *minutes <= 24 * 60);
        minutes.map(Self).ok_or_else(|| format!("`{text}` is not a time such as `08:00`"))
    }
}

impl FromStr for UtcOffset {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an offset such as `+01:00`");
        let (sign, rest) = match text.split_at_checked(1) {
            Some(("+", rest)) => (1, rest),
            Some(("-", rest)) => (-1, rest),
            _ => return Err(wrong()),
        };
        let minutes = minutes(rest).filter(|minutes| *minutes <= 14 * 60).ok_or_else(wrong)?;
        Ok(Self(sign * i16::try_from(minutes).map_err(|_| wrong())?))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl fmt::Display for UtcOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, minutes) = (if self.0 < 0 { '-' } else { '+' }, self.0.unsigned_abs());
        write!(f, "{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// What a policy demands where it applies.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum GrantControls {
    /// Nothing helps.
    Block,
    /// Every one of these.
    All(Vec<Control>),
    /// At least one of these.
    Any(Vec<Control>),
}

/// What can be demanded of a sign-in.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum Control {
    /// Two factors (`amr` has `mfa`). Workloads have none.
    Mfa,
    /// A key that a copied page cannot use: a passkey (`amr` has `fido`, RFC 8176 has `hwk` for some).
    PhishingResistant,
}

impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mfa => "multifactor authentication",
            Self::PhishingResistant => "a phishing-resistant sign-in",
        })
    }
}

impl crate::Spec for ConditionalAccessPolicy {
    const KIND: crate::Kind = crate::Kind::ConditionalAccessPolicy;
    type Status = crate::document::NoStatus;
}

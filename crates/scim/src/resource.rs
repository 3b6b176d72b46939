//! Users and groups: what is kept of what a client sends, and how they are written.

use serde_json::{Map, Value, json};

use crate::path::{Attribute, member};
use crate::{Error, GROUP_SCHEMA, Problem, USER_SCHEMA};

/// A kind of resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// People.
    User,
    /// Sets of people.
    Group,
}

impl Kind {
    /// Where they are: `/Users`.
    pub const fn endpoint(self) -> &'static str {
        match self {
            Self::User => "Users",
            Self::Group => "Groups",
        }
    }

    /// `meta.resourceType`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "User",
            Self::Group => "Group",
        }
    }
}

/// What is kept of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// `userName`.
    pub user_name: String,
    /// `displayName`, else `name.formatted`, else the parts of the name, else `userName`.
    pub display_name: String,
    /// `active`; absent is yes.
    pub active: bool,
    /// `externalId`: the directory's own name for them.
    pub external_id: Option<String>,
}

/// What is kept of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// `displayName`.
    pub display_name: String,
    /// `externalId`.
    pub external_id: Option<String>,
    /// `members[].value`: ids of users.
    pub members: Vec<String>,
}

/// `id` and `meta` of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Meta {
    /// `id`.
    pub id: String,
    /// `meta.created`, RFC 3339.
    pub created: String,
    /// `meta.lastModified`.
    pub modified: String,
    /// `meta.version`, an entity tag.
    pub version: String,
    /// The address of the service provider, to which the endpoint is added.
    pub base: String,
}

/// Reads a user; attributes that are not kept are left aside.
pub fn read_user(value: &Value) -> Result<User, Error> {
    let user_name = required(value, "userName")?;
    let display_name = text(value, "displayName")?;
    let name = match member(value, "name") {
        Some(name) => [text(name, "formatted")?, joined(name)?].into_iter().flatten().next(),
        None => None,
    };
    let active = match member(value, "active") {
        None | Some(Value::Null) => true,
        Some(Value::Bool(active)) => *active,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => true,
        Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => false,
        Some(_) => return Err(Error::new(Problem::InvalidValue, "`active` is true or false")),
    };
    Ok(User {
        display_name: display_name.or(name).unwrap_or_else(|| user_name.clone()),
        user_name,
        active,
        external_id: text(value, "externalId")?,
    })
}

/// Reads a group.
pub fn read_group(value: &Value) -> Result<Group, Error> {
    let members = match member(value, "members") {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::Array(members)) => members
            .iter()
            .map(|element| required(element, "value"))
            .collect::<Result<Vec<_>, _>>()?,
        Some(_) => return Err(Error::new(Problem::InvalidValue, "`members` is a list")),
    };
    Ok(Group {
        display_name: required(value, "displayName")?,
        external_id: text(value, "externalId")?,
        members,
    })
}

fn text(value: &Value, name: &str) -> Result<Option<String>, Error> {
    match member(value, name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Error::new(Problem::InvalidValue, format!("`{name}` is a text"))),
    }
}

fn required(value: &Value, name: &str) -> Result<String, Error> {
    text(value, name)?
        .ok_or_else(|| Error::new(Problem::InvalidValue, format!("`{name}` is missing")))
}

fn joined(name: &Value) -> Result<Option<String>, Error> {
    let parts = [text(name, "givenName")?, text(name, "familyName")?];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    Ok((!parts.is_empty()).then(|| parts.join(" ")))
}

/// As a client reads it.
pub fn user_json(user: &User, meta: &Meta) -> Value {
    let User { user_name, display_name, active, external_id } = user;
    let mut value = json!({
        "schemas": [USER_SCHEMA],
        "id": meta.id,
        "userName": user_name,
        "displayName": display_name,
        "name": { "formatted": display_name },
        "active": active,
        "meta": described(meta, Kind::User),
    });
    put(&mut value, "externalId", external_id.clone().map(Value::from));
    value
}

/// As a client reads it; each member with its id and its name.
pub fn group_json(group: &Group, names: &[String], meta: &Meta) -> Value {
    let members: Vec<Value> = group
        .members
        .iter()
        .zip(names)
        .map(|(id, name)| {
            json!({
                "value": id, "display": name, "type": "User",
                "$ref": format!("{}/{}/{id}", meta.base, Kind::User.endpoint()),
            })
        })
        .collect();
    let mut value = json!({
        "schemas": [GROUP_SCHEMA],
        "id": meta.id,
        "displayName": group.display_name,
        "members": members,
        "meta": described(meta, Kind::Group),
    });
    put(&mut value, "externalId", group.external_id.clone().map(Value::from));
    value
}

fn described(meta: &Meta, kind: Kind) -> Value {
    let Meta { id, created, modified, version, base } = meta;
    json!({
        "resourceType": kind.name(),
        "created": created,
        "lastModified": modified,
        "version": version,
        "location": format!("{base}/{}/{id}", kind.endpoint()),
    })
}

fn put(value: &mut Value, name: &str, member: Option<Value>) {
    if let (Some(members), Some(member)) = (value.as_object_mut(), member) {
        members.insert(name.to_owned(), member);
    }
}

/// One page of what was found (RFC 7644 §3.4.2.4).
pub fn list_response(page: &[Value], start: usize, total: usize) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": total,
        "startIndex": start,
        "itemsPerPage": page.len(),
        "Resources": page,
    })
}

/// Only the attributes that are asked for, or all but those that are not (RFC 7644 §3.9); `id` and `schemas` are always
/// there.
pub fn projected(resource: Value, attributes: Option<&str>, excluded: Option<&str>) -> Value {
    let names = |list: &str| -> Vec<String> {
        let read = |word: &str| Attribute::read(word.trim()).ok().map(|attribute| attribute.name);
        list.split(',').filter_map(read).collect()
    };
    let Value::Object(members) = resource else { return resource };
    let has = |list: &[String], key: &str| list.iter().any(|name| name.eq_ignore_ascii_case(key));
    let (wanted, unwanted) = (attributes.map(names), excluded.map(names).unwrap_or_default());
    let kept: Map<String, Value> = members
        .into_iter()
        .filter(|(key, _)| {
            let always = key == "id" || key == "schemas";
            always || wanted.as_ref().map_or(!has(&unwanted, key), |wanted| has(wanted, key))
        })
        .collect();
    Value::Object(kept)
}

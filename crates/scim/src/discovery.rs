//! How the service provider describes itself (RFC 7643 §5, §6, §7).

use serde_json::{Value, json};

use crate::{GROUP_SCHEMA, USER_SCHEMA};

/// Resources on one page.
pub const RESULTS_MAX: usize = 200;

/// `/ServiceProviderConfig`.
pub fn service_provider_config(base: &str) -> Value {
    json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"],
        "patch": { "supported": true },
        "bulk": { "supported": false, "maxOperations": 0, "maxPayloadSize": 0 },
        "filter": { "supported": true, "maxResults": RESULTS_MAX },
        "changePassword": { "supported": false },
        "sort": { "supported": false },
        "etag": { "supported": true },
        "authenticationSchemes": [{
            "type": "oauthbearertoken",
            "name": "Bearer token",
            "description": "The token of a provisioning credential: `portcullis scim credential add NAME`",
            "primary": true,
        }],
        "meta": {
            "resourceType": "ServiceProviderConfig",
            "location": format!("{base}/ServiceProviderConfig"),
        },
    })
}

/// `/ResourceTypes`.
pub fn resource_types(base: &str) -> Vec<Value> {
    ["User", "Group"].into_iter().filter_map(|name| resource_type(base, name)).collect()
}

/// `/ResourceTypes/{name}`.
pub fn resource_type(base: &str, name: &str) -> Option<Value> {
    let (endpoint, schema, description) = match name {
        "User" => ("/Users", USER_SCHEMA, "People"),
        "Group" => ("/Groups", GROUP_SCHEMA, "Sets of people"),
        _ => return None,
    };
    Some(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:ResourceType"],
        "id": name,
        "name": name,
        "endpoint": endpoint,
        "description": description,
        "schema": schema,
        "schemaExtensions": [],
        "meta": { "resourceType": "ResourceType", "location": format!("{base}/ResourceTypes/{name}") },
    }))
}

/// `/Schemas`.
pub fn schemas(base: &str) -> Vec<Value> {
    [USER_SCHEMA, GROUP_SCHEMA].into_iter().filter_map(|id| schema(base, id)).collect()
}

/// `/Schemas/{id}`: the attributes that are kept, and no others.
pub fn schema(base: &str, id: &str) -> Option<Value> {
    let external = || attribute("externalId", "string", ("readWrite", "none", true));
    let (name, attributes) = match id {
        USER_SCHEMA => (
            "User",
            vec![
                required(attribute("userName", "string", ("immutable", "server", false))),
                attribute("displayName", "string", ("readWrite", "none", false)),
                with_parts(
                    attribute("name", "complex", ("readWrite", "none", false)),
                    vec![
                        attribute("formatted", "string", ("readWrite", "none", false)),
                        attribute("givenName", "string", ("writeOnly", "none", false)),
                        attribute("familyName", "string", ("writeOnly", "none", false)),
                    ],
                ),
                attribute("active", "boolean", ("readWrite", "none", false)),
                external(),
            ],
        ),
        GROUP_SCHEMA => (
            "Group",
            vec![
                required(attribute("displayName", "string", ("immutable", "server", false))),
                several(with_parts(
                    attribute("members", "complex", ("readWrite", "none", false)),
                    vec![
                        attribute("value", "string", ("immutable", "none", true)),
                        attribute("$ref", "reference", ("immutable", "none", true)),
                        attribute("display", "string", ("readOnly", "none", false)),
                        attribute("type", "string", ("immutable", "none", false)),
                    ],
                )),
                external(),
            ],
        ),
        _ => return None,
    };
    Some(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Schema"],
        "id": id,
        "name": name,
        "attributes": attributes,
        "meta": { "resourceType": "Schema", "location": format!("{base}/Schemas/{id}") },
    }))
}

fn attribute(
    name: &str,
    kind: &str,
    (mutability, uniqueness, case_exact): (&str, &str, bool),
) -> Value {
    json!({
        "name": name,
        "type": kind,
        "multiValued": false,
        "required": false,
        "caseExact": case_exact,
        "mutability": mutability,
        "returned": if mutability == "writeOnly" { "never" } else { "default" },
        "uniqueness": uniqueness,
    })
}

fn required(attribute: Value) -> Value {
    with(attribute, "required", true.into())
}

fn several(attribute: Value) -> Value {
    with(attribute, "multiValued", true.into())
}

fn with_parts(attribute: Value, parts: Vec<Value>) -> Value {
    with(attribute, "subAttributes", parts.into())
}

fn with(mut attribute: Value, member: &str, value: Value) -> Value {
    if let Some(members) = attribute.as_object_mut() {
        members.insert(member.to_owned(), value);
    }
    attribute
}

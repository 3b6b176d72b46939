//! RBAC: whether a service account may do something to one named object.

use std::collections::BTreeMap;

use serde_json::Value;

type Objects = BTreeMap<String, Value>;

/// An object as rules name it.
struct Target<'a> {
    group: &'a str,
    namespace: Option<&'a str>,
    resource: &'a str,
    name: &'a str,
}

impl<'a> Target<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').skip(1).collect();
        let (group, rest) = match parts.as_slice() {
            ["api", "v1", rest @ ..] => ("", rest),
            ["apis", group, _version, rest @ ..] => (*group, rest),
            _ => return None,
        };
        match rest {
            ["namespaces", namespace, resource, name] => {
                Some(Self { group, namespace: Some(namespace), resource, name })
            }
            [resource, name] => Some(Self { group, namespace: None, resource, name }),
            _ => None,
        }
    }
}

pub(super) fn allows(objects: &Objects, by: &str, verb: &str, path: &str) -> bool {
    let Some(target) = Target::of(path) else { return false };
    let of_kind =
        |kind: &'static str| objects.values().filter(move |object| text(object, "/kind") == kind);
    let of_cluster = of_kind("ClusterRoleBinding").filter(|binding| binds(binding, by));
    let of_namespace = of_kind("RoleBinding")
        .filter(|binding| binds(binding, by))
        .filter(|binding| target.namespace == Some(text(binding, "/metadata/namespace")));
    of_cluster.chain(of_namespace).any(|binding| {
        let (kind, name) = (text(binding, "/roleRef/kind"), text(binding, "/roleRef/name"));
        let home = text(binding, "/metadata/namespace");
        objects
            .values()
            .filter(|role| text(role, "/kind") == kind && text(role, "/metadata/name") == name)
            .filter(|role| kind == "ClusterRole" || text(role, "/metadata/namespace") == home)
            .flat_map(|role| role.get("rules").and_then(Value::as_array).into_iter().flatten())
            .any(|rule| permits(rule, verb, &target))
    })
}

fn binds(binding: &Value, by: &str) -> bool {
    let subjects = binding.get("subjects").and_then(Value::as_array);
    subjects.into_iter().flatten().any(|subject| {
        text(subject, "/kind") == "ServiceAccount"
            && by
                == format!(
                    "system:serviceaccount:{}:{}",
                    text(subject, "/namespace"),
                    text(subject, "/name")
                )
    })
}

fn permits(rule: &Value, verb: &str, target: &Target<'_>) -> bool {
    let lists = |member: &str, wanted: &str| {
        let list = rule.get(member).and_then(Value::as_array);
        list.into_iter().flatten().any(|item| item == wanted || item == "*")
    };
    let named = rule.get("resourceNames").is_none() || lists("resourceNames", target.name);
    lists("verbs", verb)
        && lists("apiGroups", target.group)
        && lists("resources", target.resource)
        && named
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

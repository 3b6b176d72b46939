//! A pod that is being changed, and the JSON Patch (RFC 6902) that says how. Each operation is applied to the pod as it
//! is noted, so that what the patch makes is what was looked at.

use model::{Refusal, code};
use serde::Serialize;
use serde_json::{Map, Value};

/// More containers than any pod has; the patch grows with their number.
const CONTAINERS_MAX: usize = 500;

/// One operation of the patch.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Operation {
    op: &'static str,
    path: String,
    value: Value,
    /// What it brings, for people.
    #[serde(skip)]
    pub(crate) brings: String,
}

/// The pod, and what was changed of it.
#[derive(Clone, Debug)]
pub(crate) struct Draft {
    pod: Value,
    operations: Vec<Operation>,
}

/// The lists of containers that take part; ephemeral ones are added to running pods, which nobody mutates.
pub(crate) const LISTS: [&str; 2] = ["/spec/initContainers", "/spec/containers"];

impl Draft {
    /// Of a pod whose lists are lists of objects.
    pub(crate) fn of(pod: Value) -> Result<Self, Refusal> {
        let draft = Self { pod, operations: Vec::new() };
        if !draft.pod.pointer("/spec").is_some_and(Value::is_object) {
            return Err(not_a_pod("it has no `spec`"));
        }
        for list in LISTS {
            let containers = draft.list(list)?;
            if containers.len() > CONTAINERS_MAX {
                let message = format!("the pod has more than {CONTAINERS_MAX} containers");
                return Err(Refusal::new(&code::TOO_LARGE, message));
            }
            for index in 0..containers.len() {
                draft.list(&format!("{list}/{index}/env"))?;
                draft.list(&format!("{list}/{index}/volumeMounts"))?;
            }
        }
        draft.list("/spec/volumes")?;
        Ok(draft)
    }

    /// The objects of a list, which may be absent.
    pub(crate) fn list(&self, path: &str) -> Result<Vec<&Map<String, Value>>, Refusal> {
        let items = match self.pod.pointer(path) {
            None | Some(Value::Null) => return Ok(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(_) => return Err(not_a_pod(&format!("`{path}` is not a list"))),
        };
        let objects: Option<Vec<_>> = items.iter().map(Value::as_object).collect();
        objects.ok_or_else(|| not_a_pod(&format!("`{path}` holds something that is not an object")))
    }

    /// Whether an object of the list has this name.
    pub(crate) fn names(&self, path: &str, name: &str) -> Result<bool, Refusal> {
        Ok(self.position(path, name)?.is_some())
    }

    /// Puts these at the end of a list, which is made where there is none. `brings` says what each is.
    pub(crate) fn append(&mut self, path: &str, items: Vec<(String, Value)>) {
        if items.is_empty() {
            return;
        }
        if let Some(Value::Array(list)) = self.pod.pointer_mut(path) {
            for (brings, value) in items {
                list.push(value.clone());
                let path = format!("{path}/-");
                self.operations.push(Operation { op: "add", path, value, brings });
            }
            return;
        }
        let (brings, values): (Vec<String>, Vec<Value>) = items.into_iter().unzip();
        self.create(path, Value::Array(values), brings.join(", "));
    }

    /// Puts one at the beginning of a list.
    pub(crate) fn prepend(&mut self, path: &str, (brings, value): (String, Value)) {
        if let Some(Value::Array(list)) = self.pod.pointer_mut(path) {
            list.insert(0, value.clone());
            let path = format!("{path}/0");
            self.operations.push(Operation { op: "add", path, value, brings });
            return;
        }
        self.create(path, Value::Array(vec![value]), brings);
    }

    /// Puts one in the place of the one with its name, or at the end. Nothing happens where it is there already.
    pub(crate) fn place(&mut self, path: &str, item: (String, Value)) -> Result<(), Refusal> {
        let (brings, value) = item;
        let name = value.get("name").and_then(Value::as_str).unwrap_or_default();
        let Some(index) = self.position(path, name)? else {
            self.append(path, vec![(brings, value)]);
            return Ok(());
        };
        let path = format!("{path}/{index}");
        let Some(present) = self.pod.pointer_mut(&path) else { return Ok(()) };
        if !same_but_for_defaults(present, &value) {
            *present = value.clone();
            self.operations.push(Operation { op: "replace", path, value, brings });
        }
        Ok(())
    }

    /// The patch.
    pub(crate) fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The pod as the patch makes it.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn into_pod(self) -> Value {
        self.pod
    }

    fn position(&self, path: &str, name: &str) -> Result<Option<usize>, Refusal> {
        let named =
            |item: &&Map<String, Value>| item.get("name").and_then(Value::as_str) == Some(name);
        Ok(self.list(path)?.iter().position(named))
    }

    /// `add` of a member replaces what stands there: `null`.
    fn create(&mut self, path: &str, value: Value, brings: String) {
        let (parent, member) = path.rsplit_once('/').unwrap_or(("", path));
        if let Some(Value::Object(parent)) = self.pod.pointer_mut(parent) {
            parent.insert(member.to_owned(), value.clone());
            let path = path.to_owned();
            self.operations.push(Operation { op: "add", path, value, brings });
        }
    }
}

/// Whether what is there is what is wanted, whatever the API server has filled in since: a webhook is asked again about
/// the pod as defaulting left it.
fn same_but_for_defaults(present: &Value, wanted: &Value) -> bool {
    match (present, wanted) {
        (Value::Object(present), Value::Object(wanted)) => {
            let kept = wanted.iter().all(|(key, value)| {
                present.get(key).is_some_and(|there| same_but_for_defaults(there, value))
            });
            let more = present.iter().filter(|(key, _)| !wanted.contains_key(*key));
            kept && more.into_iter().all(|(key, value)| is_default(key, value))
        }
        (Value::Array(present), Value::Array(wanted)) => {
            present.len() == wanted.len()
                && present
                    .iter()
                    .zip(wanted)
                    .all(|(there, value)| same_but_for_defaults(there, value))
        }
        (present, wanted) => present == wanted,
    }
}

/// `SetDefaults_ProjectedVolumeSource`: the mode of projected files is 0644 unless it is said.
fn is_default(key: &str, value: &Value) -> bool {
    key == "defaultMode" && value.as_u64() == Some(0o644)
}

pub(crate) fn not_a_pod(why: &str) -> Refusal {
    Refusal::new(&code::ADMISSION_MALFORMED, format!("the object is not a pod: {why}"))
}

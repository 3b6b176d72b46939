//! AdmissionReview, the envelope: who asks about what, and the answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Refusal, code};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::AccountName;
use crate::draft::{Operation, not_a_pod};

/// Larger reviews are refused unread: etcd takes objects of 1.5 MiB, and a review holds at most two.
pub const REVIEW_BYTES_MAX: usize = 4 * 1_024 * 1_024;

const VERSIONS: [&str; 2] = ["admission.k8s.io/v1", "admission.k8s.io/v1beta1"];

/// A review of something.
#[derive(Debug)]
pub struct Review {
    version: String,
    request: Request,
}

/// The bytes are no review that could be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(pub Refusal);

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    api_version: String,
    kind: String,
    request: Request,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    uid: String,
    #[serde(default)]
    resource: Resource,
    #[serde(default)]
    sub_resource: Option<String>,
    #[serde(default)]
    namespace: Option<String>,
    #[serde(default)]
    operation: String,
    #[serde(default)]
    object: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resource {
    group: String,
    resource: String,
}

impl Review {
    /// From the body of a request. Members that are not known here are left alone.
    pub fn read(bytes: &[u8]) -> Result<Self, Unreadable> {
        if bytes.len() > REVIEW_BYTES_MAX {
            let message = format!("the review has more than {REVIEW_BYTES_MAX} bytes");
            return Err(Unreadable(Refusal::new(&code::TOO_LARGE, message)));
        }
        let malformed = |why: String| {
            let message = format!("the request is not an AdmissionReview: {why}");
            Unreadable(Refusal::new(&code::ADMISSION_MALFORMED, message))
        };
        let written: Written =
            serde_json::from_slice(bytes).map_err(|error| malformed(error.to_string()))?;
        if written.kind != "AdmissionReview" || !VERSIONS.contains(&written.api_version.as_str()) {
            let known = VERSIONS.join("` or `");
            return Err(malformed(format!("it is not one of `{known}`")));
        }
        Ok(Self { version: written.api_version, request: written.request })
    }

    /// The service account whose annotations count. The request's namespace is the pod's: pods that a Deployment makes
    /// name none themselves.
    pub fn account(&self) -> AccountName {
        let text = |pointer| self.request.object.pointer(pointer).and_then(Value::as_str);
        let or = |first: Option<&str>, second: &str| {
            first.filter(|text| !text.is_empty()).unwrap_or(second).to_owned()
        };
        let own = text("/metadata/namespace").unwrap_or_default();
        AccountName {
            namespace: or(self.request.namespace.as_deref(), own),
            name: or(text("/spec/serviceAccountName"), "default"),
        }
    }

    /// Whether it is about a pod that is to be; about anything else but a pod nobody asks here.
    pub(crate) fn creates_a_pod(&self) -> Result<bool, Refusal> {
        let Request { resource: Resource { group, resource }, operation, object, .. } =
            &self.request;
        let named = resource.is_empty() || (group.is_empty() && resource == "pods");
        let kind = object.get("kind").and_then(Value::as_str);
        if !named || self.request.sub_resource.as_deref().is_some_and(|sub| !sub.is_empty()) {
            return Err(not_a_pod("the review is about another resource"));
        }
        if !operation.is_empty() && operation != "CREATE" {
            return Ok(false);
        }
        if !object.is_object() || kind.is_some_and(|kind| kind != "Pod") {
            return Err(not_a_pod("it is of another kind"));
        }
        if self.account().namespace.is_empty() {
            return Err(not_a_pod("neither the request nor the pod names a namespace"));
        }
        Ok(true)
    }

    pub(crate) fn pod(&self) -> &Value {
        &self.request.object
    }

    #[cfg(any(test, fuzzing))]
    pub(crate) fn uid(&self) -> &str {
        &self.request.uid
    }

    /// The same about another pod.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn of_pod(mut self, pod: Value) -> Self {
        self.request.object = pod;
        self
    }

    pub(crate) fn allowed(&self) -> Value {
        self.answer(&json!({ "uid": self.request.uid, "allowed": true }))
    }

    /// Allowed; a patch without operations is left out.
    pub(crate) fn patched(&self, operations: &[Operation]) -> Value {
        if operations.is_empty() {
            return self.allowed();
        }
        // Text keys and JSON values: it cannot fail, and if it did the pod would be refused.
        let Ok(patch) = serde_json::to_vec(operations) else {
            let message = "the patch cannot be written down";
            return self.denied(&Refusal::new(&code::INTERNAL, message));
        };
        self.answer(&json!({
            "uid": self.request.uid,
            "allowed": true,
            "patchType": "JSONPatch",
            "patch": STANDARD.encode(patch),
        }))
    }

    /// Refused; the API server shows the message to whoever creates the pod.
    pub(crate) fn denied(&self, refusal: &Refusal) -> Value {
        self.answer(&denial(&self.request.uid, refusal))
    }

    fn answer(&self, response: &Value) -> Value {
        json!({ "apiVersion": self.version, "kind": "AdmissionReview", "response": response })
    }
}

/// The answer to bytes that are no review, in the shape of one.
pub fn refused(unreadable: &Unreadable) -> Value {
    let [version, _] = VERSIONS;
    let response = denial("", &unreadable.0);
    json!({ "apiVersion": version, "kind": "AdmissionReview", "response": response })
}

/// The message is what azure-workload-identity says where it refuses the same; our code stands in `reason`.
fn denial(uid: &str, refusal: &Refusal) -> Value {
    let message = match &refusal.hint {
        Some(hint) => format!("{}; {hint}", refusal.message),
        None => refusal.message.clone(),
    };
    json!({
        "uid": uid,
        "allowed": false,
        "status": {
            "metadata": {},
            "message": message,
            "reason": refusal.code.id,
            "code": refusal.code.http,
        },
    })
}

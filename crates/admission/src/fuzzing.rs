//! What must hold for whatever claims to be a review. The fuzz target calls this function, and so does the test below.

#![expect(clippy::expect_used, reason = "what was allowed can be drafted again")]

use serde_json::Value;

use crate::mutate::draft;
use crate::{
    ConfigMap, DEFAULT_AUDIENCE, ProxyImages, Review, ServiceAccount, Settings, Sidecars, Trust,
    mutate, validate,
};

/// Any bytes: read or refused; answered under the request's own id; a pod that was given its identity lacks nothing, is
/// not changed again, and passes the validation; and the answer grows with the pod's containers only.
pub fn admission(data: &[u8]) {
    const PER_CONTAINER: usize = 4_096;
    let (first, bytes) = data.split_first().unwrap_or((&0, data));
    let Ok(review) = Review::read(bytes) else { return };
    let settings = settings(*first);
    let account = ServiceAccount::annotated([("azure.workload.identity/client-id", "c")]);
    let answer = mutate(&review, Ok(&account), &settings);
    let allowed = answer.pointer("/response/allowed").and_then(Value::as_bool);
    assert_eq!(answer.pointer("/response/uid").and_then(Value::as_str), Some(review.uid()));
    let length = answer.to_string().len();
    let objects = bytes.split(|byte| *byte == b'{').count();
    assert!(length <= bytes.len() * 8 + (objects + 4) * PER_CONTAINER, "{length}");
    if allowed == Some(false) || review.creates_a_pod() != Ok(true) {
        return;
    }
    let once = draft(review.pod(), &account, &settings).expect("it was allowed");
    let complete = review.of_pod(once.into_pod());
    let again = draft(complete.pod(), &account, &settings).expect("it was allowed before");
    assert_eq!(again.operations(), []);
    let verdict = validate(&complete, Ok(&account), &settings);
    assert_eq!(verdict.pointer("/response/allowed"), Some(&Value::Bool(true)), "{verdict}");
}

fn settings(choice: u8) -> Settings {
    let trust = Trust::ConfigMap(ConfigMap { name: "a".to_owned(), key: "b".to_owned() });
    Settings {
        authority_host: "https://sts.example/".to_owned(),
        tenant_id: "t".to_owned(),
        audience: DEFAULT_AUDIENCE.to_owned(),
        trust: (choice & 1 == 0).then_some(trust),
        proxy: Some(ProxyImages { image: "p".to_owned(), init_image: "i".to_owned() }),
        sidecars: if choice & 2 == 0 { Sidecars::Native } else { Sidecars::Containers },
        identity_binding: None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn what_fuzzing_kept_still_holds() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus");
        let kept = std::fs::read(format!("{folder}/admission.inputs")).unwrap();
        let mut rest = kept.as_slice();
        while let Some((length, after)) = rest.split_first_chunk() {
            let (input, next) = after.split_at(u32::from_be_bytes(*length) as usize);
            admission(input);
            rest = next;
        }
    }

    fn container() -> impl Strategy<Value = Value> {
        let name = prop_oneof![
            Just(json!("web")),
            Just(json!("azwi-proxy")),
            Just(json!(7)),
            Just(json!(null))
        ];
        let env = prop_oneof![
            Just(json!(null)),
            Just(json!([])),
            Just(json!([{"name": "AZURE_CLIENT_ID"}])),
            Just(json!([{"name": "SSL_CERT_FILE", "value": "x"}, {"name": "SSL_CERT_FILE"}])),
            Just(json!([3])),
            Just(json!({})),
        ];
        let mounts = prop_oneof![
            Just(json!(null)),
            Just(json!([{"name": "kube-api-access"}])),
            Just(json!("x"))
        ];
        (name, env, mounts).prop_map(|(name, env, volume_mounts)| {
            json!({ "name": name, "env": env, "volumeMounts": volume_mounts })
        })
    }

    fn annotations() -> impl Strategy<Value = Value> {
        let key = proptest::sample::select(vec![
            "azure.workload.identity/service-account-token-expiration",
            "azure.workload.identity/skip-containers",
            "azure.workload.identity/inject-proxy-sidecar",
            "azure.workload.identity/proxy-sidecar-port",
        ]);
        let value = proptest::sample::select(vec![
            "", "3600", "86400", "web", " web ;x", "-1", "65536", "ü",
        ]);
        proptest::collection::btree_map(key, value, 0..4).prop_map(|all| json!(all))
    }

    proptest! {
        #[test]
        fn a_mutated_pod_is_complete_whatever_the_pod_was(
            choice in any::<u8>(),
            containers in proptest::collection::vec(container(), 0..4),
            inits in proptest::option::of(proptest::collection::vec(container(), 0..3)),
            annotations in annotations(),
            volumes in prop_oneof![Just(json!(null)), Just(json!([])), Just(json!([{"name": "v"}])), Just(json!(1))],
            host_network in any::<bool>(),
        ) {
            let pod = json!({
                "kind": "Pod",
                "metadata": { "generateName": "web-", "annotations": annotations },
                "spec": {
                    "containers": containers, "initContainers": inits, "volumes": volumes,
                    "hostNetwork": host_network,
                },
            });
            let review = json!({
                "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
                "request": { "uid": "u", "namespace": "team", "operation": "CREATE", "object": pod },
            });
            admission(&[&[choice], review.to_string().as_bytes()].concat());
        }

        #[test]
        fn any_bytes_are_answered(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            admission(&bytes);
        }
    }
}

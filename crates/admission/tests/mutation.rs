//! Reviews in and out: what azure-workload-identity documents, and what is ours.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "the test fails where it breaks")]

use admission::{
    AccountName, ClusterTrustBundle, ConfigMap, DEFAULT_AUDIENCE, IdentityBinding, ProxyImages,
    Review, ServiceAccount, Settings, Sidecars, Trust, mutate, refused, validate,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::{Refusal, code};
use serde_json::{Value, json};
use testkit::kubernetes::patch;

const MOUNT: &str = "/var/run/secrets/azure/wi";
/// `azure-workload-identity-reserved-` and 30 characters of `printf %s web-0 | sha256sum`.
const WEB_0: &str = "azure-workload-identity-reserved-1ae6fac6e0a6c45234c7f9a125d492";

fn upstream() -> Settings {
    Settings {
        authority_host: "https://sts.example/".to_owned(),
        tenant_id: "tid".to_owned(),
        audience: DEFAULT_AUDIENCE.to_owned(),
        trust: None,
        proxy: Some(ProxyImages { image: "proxy:1".to_owned(), init_image: "init:1".to_owned() }),
        sidecars: Sidecars::Native,
        identity_binding: None,
    }
}

fn ours() -> Settings {
    let trust = ConfigMap { name: "portcullis-ca".to_owned(), key: "ca.crt".to_owned() };
    Settings { trust: Some(Trust::ConfigMap(trust)), ..upstream() }
}

fn account() -> ServiceAccount {
    ServiceAccount::annotated([("azure.workload.identity/client-id", "cid")])
}

fn asked(pod: &Value) -> Review {
    let review = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "u-1",
            "kind": { "group": "", "version": "v1", "kind": "Pod" },
            "resource": { "group": "", "version": "v1", "resource": "pods" },
            "namespace": "team",
            "operation": "CREATE",
            "userInfo": { "username": "system:serviceaccount:kube-system:replicaset-controller" },
            "object": pod,
            "oldObject": null,
            "dryRun": false,
            "options": {},
        },
    });
    Review::read(review.to_string().as_bytes()).unwrap()
}

fn web(annotations: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": "web-0", "annotations": annotations, "labels": { "azure.workload.identity/use": "true" } },
        "spec": { "serviceAccountName": "app", "containers": [{ "name": "web", "image": "web:1" }] },
    })
}

/// The pod after the patch of an answer that allows it.
fn applied(pod: &Value, answer: &Value) -> Value {
    assert_eq!(answer["response"]["allowed"], true, "{answer}");
    let Some(encoded) = answer["response"].get("patch") else { return pod.clone() };
    assert_eq!(answer["response"]["patchType"], "JSONPatch");
    let operations = STANDARD.decode(encoded.as_str().unwrap()).unwrap();
    patch::apply(pod, &serde_json::from_slice(&operations).unwrap()).unwrap()
}

fn mutated(pod: &Value, settings: &Settings) -> Value {
    applied(pod, &mutate(&asked(pod), Ok(&account()), settings))
}

/// Message, code and status of a refusal.
fn denial(pod: &Value, settings: &Settings) -> (String, String, u64) {
    let answer = mutate(&asked(pod), Ok(&account()), settings);
    said(&answer)
}

fn said(answer: &Value) -> (String, String, u64) {
    let response = &answer["response"];
    assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(false)));
    assert!(response.get("patch").is_none());
    let status = &response["status"];
    let text = |name: &str| status[name].as_str().unwrap().to_owned();
    (text("message"), text("reason"), status["code"].as_u64().unwrap())
}

fn token(seconds: u64) -> Value {
    json!({ "serviceAccountToken": {
        "audience": "api://AzureADTokenExchange", "expirationSeconds": seconds,
        "path": "token/azure-identity-token",
    } })
}

fn environment() -> Value {
    json!([
        { "name": "AZURE_CLIENT_ID", "value": "cid" },
        { "name": "AZURE_TENANT_ID", "value": "tid" },
        { "name": "AZURE_FEDERATED_TOKEN_FILE", "value": format!("{MOUNT}/token/azure-identity-token") },
        { "name": "AZURE_AUTHORITY_HOST", "value": "https://sts.example/" },
    ])
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn a_pod_with_one_container_gets_environment_mount_and_volume_in_three_operations() {
    let pod = web(&json!({}));
    let answer = mutate(&asked(&pod), Ok(&account()), &upstream());
    let patch = STANDARD.decode(answer["response"]["patch"].as_str().unwrap()).unwrap();
    let patch: Value = serde_json::from_slice(&patch).unwrap();
    let mount = json!({ "name": WEB_0, "readOnly": true, "mountPath": MOUNT });
    let volume = json!({ "name": WEB_0, "projected": { "sources": [token(3600)] } });
    assert_eq!(
        patch,
        json!([
            { "op": "add", "path": "/spec/containers/0/env", "value": environment() },
            { "op": "add", "path": "/spec/containers/0/volumeMounts", "value": [mount] },
            { "op": "add", "path": "/spec/volumes", "value": [volume] },
        ])
    );
    assert_eq!(answer["apiVersion"], "admission.k8s.io/v1");
    assert_eq!(answer["kind"], "AdmissionReview");
    assert_eq!(answer["response"]["uid"], "u-1");
}

#[test]
fn what_a_real_pod_brings_stays_and_what_it_says_itself_is_not_overwritten() {
    let mut pod = web(&json!({}));
    pod["metadata"] = json!({ "generateName": "web-5d9-" });
    pod["spec"]["volumes"] = json!([{ "name": "kube-api-access-x" }]);
    pod["spec"]["containers"][0]["volumeMounts"] =
        json!([{ "name": "kube-api-access-x", "mountPath": "/v" }]);
    pod["spec"]["containers"][0]["env"] = json!([
        { "name": "AZURE_CLIENT_ID", "value": "my own" },
        { "name": "AZURE_TENANT_ID", "valueFrom": { "configMapKeyRef": { "name": "m", "key": "k" } } },
        { "name": "SSL_CERT_FILE", "value": "" },
    ]);
    let after = mutated(&pod, &ours());
    // `printf %s 'web-5d9- (prefix)' | sha256sum`
    let volume = "azure-workload-identity-reserved-f44a7d34b519060fd74f904e9965e1";
    let container = &after["spec"]["containers"][0];
    assert_eq!(
        container["env"].as_array().unwrap()[..3],
        pod["spec"]["containers"][0]["env"].as_array().unwrap()[..]
    );
    assert_eq!(
        names(&container["env"])[3..],
        [
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_AUTHORITY_HOST",
            "REQUESTS_CA_BUNDLE",
            "NODE_EXTRA_CA_CERTS"
        ]
    );
    assert_eq!(names(&container["volumeMounts"]), ["kube-api-access-x", volume]);
    assert_eq!(names(&after["spec"]["volumes"]), ["kube-api-access-x", volume]);
}

#[test]
fn the_authority_that_pods_are_to_trust_comes_with_the_token() {
    let after = mutated(&web(&json!({})), &ours());
    let file = format!("{MOUNT}/trust/ca.crt");
    let environment = &after["spec"]["containers"][0]["env"];
    for name in ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"] {
        let set = environment.as_array().unwrap().iter().find(|variable| variable["name"] == name);
        assert_eq!(set.unwrap()["value"], file);
    }
    let config_map = json!({ "configMap": {
        "name": "portcullis-ca", "items": [{ "key": "ca.crt", "path": "trust/ca.crt" }], "optional": false,
    } });
    assert_eq!(
        after["spec"]["volumes"][0]["projected"]["sources"],
        json!([token(3600), config_map])
    );

    let bundle = ClusterTrustBundle {
        signer_name: "example.com/ours".to_owned(),
        match_labels: [("a".to_owned(), "b".to_owned())].into(),
    };
    let settings = Settings { trust: Some(Trust::ClusterTrustBundle(bundle)), ..upstream() };
    let after = mutated(&web(&json!({})), &settings);
    let bundle = json!({ "clusterTrustBundle": {
        "signerName": "example.com/ours", "labelSelector": { "matchLabels": { "a": "b" } },
        "path": "trust/ca.crt", "optional": false,
    } });
    assert_eq!(after["spec"]["volumes"][0]["projected"]["sources"][1], bundle);
}

#[test]
fn every_container_and_init_container_takes_part_but_those_on_the_skip_list() {
    let mut pod = web(&json!({ "azure.workload.identity/skip-containers": " sidecar ;migrate" }));
    pod["spec"]["containers"] = json!([{ "name": "web" }, { "name": "sidecar" }]);
    pod["spec"]["initContainers"] = json!([{ "name": "wait" }, { "name": "migrate" }]);
    pod["spec"]["ephemeralContainers"] = json!([{ "name": "debug" }]);
    let after = mutated(&pod, &upstream());
    for (list, index, equipped) in [
        ("containers", 0, true),
        ("containers", 1, false),
        ("initContainers", 0, true),
        ("initContainers", 1, false),
        ("ephemeralContainers", 0, false),
    ] {
        let container = &after["spec"][list][index];
        assert_eq!(container.get("env").is_some(), equipped, "{container}");
        assert_eq!(container.get("volumeMounts").is_some(), equipped, "{container}");
    }
}

#[test]
fn the_tokens_life_is_the_pods_word_before_the_service_accounts_within_what_kubernetes_takes() {
    let key = "azure.workload.identity/service-account-token-expiration";
    let seconds = |pod: Option<&str>, account: Option<&str>| {
        let pod = web(&pod.map_or(json!({}), |value| json!({ key: value })));
        let account = ServiceAccount::annotated(account.map(|value| (key, value)));
        let answer = mutate(&asked(&pod), Ok(&account), &upstream());
        if answer["response"]["allowed"] == false {
            return Err(said(&answer).0);
        }
        let sources = &applied(&pod, &answer)["spec"]["volumes"][0]["projected"]["sources"];
        Ok(sources[0]["serviceAccountToken"]["expirationSeconds"].as_u64().unwrap())
    };
    assert_eq!(seconds(None, None), Ok(3_600));
    assert_eq!(seconds(None, Some("7200")), Ok(7_200));
    assert_eq!(seconds(Some("86400"), Some("7200")), Ok(86_400));
    assert_eq!(seconds(Some(""), Some("7200")), Ok(7_200));
    for refused in ["3599", "86401", "-3600", "9223372036854775808", "1h", "3600.5"] {
        let expected = format!(
            "token expiration {refused} not valid. Expected value to be between 3600 and 86400"
        );
        let message = seconds(Some(refused), None).unwrap_err();
        assert!(message.starts_with(&expected), "{message}");
        assert_eq!(seconds(None, Some(refused)).unwrap_err(), message);
    }
}

#[test]
fn the_service_account_names_client_and_tenant_and_what_it_leaves_out_is_left_out() {
    let pod = web(&json!({}));
    let with = |account: &ServiceAccount| {
        let after = applied(&pod, &mutate(&asked(&pod), Ok(account), &upstream()));
        let environment = after["spec"]["containers"][0]["env"].as_array().unwrap().clone();
        let value = |name: &str| {
            environment.iter().find(|set| set["name"] == name).map(|set| set["value"].clone())
        };
        (value("AZURE_CLIENT_ID"), value("AZURE_TENANT_ID"))
    };
    assert_eq!(with(&ServiceAccount::default()), (None, Some(json!("tid"))));
    let other = ServiceAccount::annotated([("azure.workload.identity/tenant-id", "other")]);
    assert_eq!(with(&other), (None, Some(json!("other"))));
    let none = ServiceAccount::annotated([("azure.workload.identity/tenant-id", "")]);
    assert_eq!(with(&none), (None, None));
}

#[test]
fn the_request_says_the_namespace_and_a_pod_without_a_service_account_has_the_default_one() {
    let name = |namespace: &str, name: &str| AccountName {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    };
    let mut pod = web(&json!({}));
    assert_eq!(asked(&pod).account(), name("team", "app"));
    pod["metadata"]["namespace"] = json!("elsewhere");
    pod["spec"]["serviceAccountName"] = json!("");
    assert_eq!(asked(&pod).account(), name("team", "default"));
    pod["spec"].as_object_mut().unwrap().remove("serviceAccountName");
    assert_eq!(asked(&pod).account(), name("team", "default"));
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": { "uid": "u-1", "operation": "CREATE", "object": pod },
    });
    let review = Review::read(review.to_string().as_bytes()).unwrap();
    assert_eq!(review.account(), name("elsewhere", "default"));
}

#[test]
fn the_proxy_is_injected_where_the_annotation_stands_whatever_it_says() {
    let pod = web(
        &json!({ "azure.workload.identity/inject-proxy-sidecar": "false", "azure.workload.identity/proxy-sidecar-port": "9000" }),
    );
    let mut with_init = pod.clone();
    with_init["spec"]["initContainers"] = json!([{ "name": "wait" }]);
    let after = mutated(&with_init, &upstream());
    let inits = &after["spec"]["initContainers"];
    assert_eq!(names(inits), ["azwi-proxy", "wait", "azwi-proxy-init"]);
    let proxy = &inits[0];
    assert_eq!(proxy["restartPolicy"], "Always");
    assert_eq!(proxy["image"], "proxy:1");
    assert_eq!(proxy["args"], json!(["--proxy-port=9000", "--log-level=info"]));
    assert_eq!(proxy["ports"], json!([{ "containerPort": 9000 }]));
    assert_eq!(
        proxy["lifecycle"]["postStart"]["exec"]["command"],
        json!(["/proxy", "--proxy-port=9000", "--probe", "--log-level=info"])
    );
    assert_eq!(
        proxy["securityContext"],
        json!({
            "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] }, "privileged": false,
            "readOnlyRootFilesystem": true, "runAsNonRoot": true,
        })
    );
    let init = &inits[2];
    assert_eq!(init["image"], "init:1");
    assert_eq!(init["env"][0], json!({ "name": "PROXY_PORT", "value": "9000" }));
    assert_eq!(
        init["securityContext"],
        json!({
            "capabilities": { "add": ["NET_ADMIN"], "drop": ["ALL"] }, "privileged": true,
            "runAsNonRoot": false, "runAsUser": 0,
        })
    );
    // It signs in with the pod's identity, so it gets that too.
    assert!(names(&proxy["env"]).contains(&"AZURE_FEDERATED_TOKEN_FILE"));

    let settings = Settings { sidecars: Sidecars::Containers, ..upstream() };
    let after = mutated(&pod, &settings);
    assert_eq!(names(&after["spec"]["containers"]), ["azwi-proxy", "web"]);
    assert_eq!(names(&after["spec"]["initContainers"]), ["azwi-proxy-init"]);
    assert!(after["spec"]["containers"][0].get("restartPolicy").is_none());
}

#[test]
fn a_proxy_that_cannot_be_is_refused() {
    let wished = json!({ "azure.workload.identity/inject-proxy-sidecar": "" });
    let mut pod = web(&wished);
    pod["spec"]["hostNetwork"] = json!(true);
    let (message, code, status) = denial(&pod, &upstream());
    assert!(
        message.starts_with("hostNetwork is set to true, cannot inject proxy sidecar"),
        "{message}"
    );
    assert_eq!((code.as_str(), status), ("PC2604", 400));

    let without = Settings { proxy: None, ..upstream() };
    assert_eq!(denial(&web(&wished), &without).1, "PC2604");
    for port in ["0", "65536", "-1", "http", ""] {
        let pod = web(&json!({
            "azure.workload.identity/inject-proxy-sidecar": "", "azure.workload.identity/proxy-sidecar-port": port,
        }));
        let (message, code, _) = denial(&pod, &upstream());
        assert!(message.starts_with("failed to parse proxy sidecar port"), "{message}");
        assert_eq!(code, "PC2603");
    }
}

#[test]
fn identity_bindings_send_a_pod_that_asks_for_it_through_the_clusters_token_proxy() {
    let trust = ConfigMap { name: "proxy-ca".to_owned(), key: "ca.crt".to_owned() };
    let settings = Settings {
        identity_binding: Some(IdentityBinding {
            annotation_suffix: "identity-binding".to_owned(),
            audience: "api://TokenProxy".to_owned(),
            token_proxy: "https://proxy.example".to_owned(),
            sni_name: "cluster.proxy.example".to_owned(),
            ca_data: String::new(),
            trust: Some(Trust::ConfigMap(trust)),
        }),
        ..ours()
    };
    let after = mutated(
        &web(&json!({ "azure.workload.identity/use-identity-binding": "True" })),
        &settings,
    );
    assert_eq!(
        names(&after["spec"]["containers"][0]["env"])[4..7],
        ["AZURE_KUBERNETES_TOKEN_PROXY", "AZURE_KUBERNETES_SNI_NAME", "AZURE_KUBERNETES_CA_FILE"]
    );
    let sources = &after["spec"]["volumes"][0]["projected"]["sources"];
    assert_eq!(sources[0]["serviceAccountToken"]["audience"], "api://TokenProxy");
    assert_eq!(
        sources[1]["configMap"]["items"],
        json!([{ "key": "ca.crt", "path": "ca-cert/ca.crt" }])
    );
    assert_eq!(
        sources[2]["configMap"]["items"],
        json!([{ "key": "ca.crt", "path": "trust/ca.crt" }])
    );
    for ordinary in [json!({}), json!({ "azure.workload.identity/use-identity-binding": "no" })] {
        assert_eq!(mutated(&web(&ordinary), &settings), mutated(&web(&ordinary), &ours()));
    }
}

#[test]
fn a_second_look_finds_nothing_to_do_and_mends_what_was_changed_since() {
    let mut pod = web(&json!({ "azure.workload.identity/inject-proxy-sidecar": "" }));
    pod["spec"]["volumes"] = json!([{ "name": "kube-api-access-x" }]);
    let mut after = mutated(&pod, &ours());
    // What defaulting adds between two looks.
    after["spec"]["volumes"][1]["projected"]["defaultMode"] = json!(420);
    let again = mutate(&asked(&after), Ok(&account()), &ours());
    assert_eq!(again["response"], json!({ "uid": "u-1", "allowed": true }));

    // Another webhook added a container, and something put another volume in the place of ours.
    let mut changed = after.clone();
    changed["spec"]["containers"].as_array_mut().unwrap().push(json!({ "name": "mesh" }));
    changed["spec"]["volumes"][1] = json!({ "name": WEB_0, "hostPath": { "path": "/" } });
    changed["spec"]["containers"][0]["volumeMounts"][0]["readOnly"] = json!(false);
    let mended = mutated(&changed, &ours());
    assert!(names(&mended["spec"]["containers"][1]["env"]).contains(&"AZURE_CLIENT_ID"));
    assert_eq!(mended["spec"]["volumes"][1], mutated(&pod, &ours())["spec"]["volumes"][1]);
    assert_eq!(mended["spec"]["containers"][0], after["spec"]["containers"][0]);
}

#[test]
fn a_dry_run_and_an_older_version_are_answered_the_same() {
    let pod = web(&json!({}));
    let answer = |version: &str, dry_run: bool| {
        let review = json!({
            "apiVersion": version, "kind": "AdmissionReview",
            "request": { "uid": "u-1", "namespace": "team", "operation": "CREATE", "object": pod, "dryRun": dry_run },
        });
        mutate(&Review::read(review.to_string().as_bytes()).unwrap(), Ok(&account()), &upstream())
    };
    let ordinary = answer("admission.k8s.io/v1", false);
    assert_eq!(answer("admission.k8s.io/v1", true), ordinary);
    let old = answer("admission.k8s.io/v1beta1", false);
    assert_eq!(old["apiVersion"], "admission.k8s.io/v1beta1");
    assert_eq!(old["response"], ordinary["response"]);
}

#[test]
fn what_is_no_creation_of_a_pod_is_let_through_or_refused() {
    let review = |request: Value| {
        let review = json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request });
        Review::read(review.to_string().as_bytes()).unwrap()
    };
    let pod = web(&json!({}));
    let update =
        review(json!({ "uid": "u-1", "namespace": "team", "operation": "UPDATE", "object": pod }));
    assert_eq!(
        mutate(&update, Ok(&account()), &upstream())["response"],
        json!({ "uid": "u-1", "allowed": true })
    );
    assert_eq!(
        validate(&update, Ok(&account()), &upstream())["response"],
        json!({ "uid": "u-1", "allowed": true })
    );
    for request in [
        json!({ "uid": "u-1", "namespace": "team", "object": { "kind": "Deployment", "spec": {} } }),
        json!({ "uid": "u-1", "namespace": "team", "object": null }),
        json!({ "uid": "u-1", "object": { "spec": {} } }),
        json!({ "uid": "u-1", "namespace": "team", "object": { "kind": "Pod" } }),
        json!({ "uid": "u-1", "namespace": "team", "object": { "spec": { "containers": {} } } }),
        json!({ "uid": "u-1", "namespace": "team", "object": { "spec": { "containers": [1] } } }),
        json!({ "uid": "u-1", "namespace": "team", "object": { "spec": { "containers": [{ "env": 1 }] } } }),
        json!({ "uid": "u-1", "namespace": "team", "resource": { "group": "apps", "resource": "pods" }, "object": pod }),
        json!({ "uid": "u-1", "namespace": "team", "subResource": "ephemeralcontainers", "object": pod }),
    ] {
        let review = review(request);
        for answer in [
            mutate(&review, Ok(&account()), &upstream()),
            validate(&review, Ok(&account()), &upstream()),
        ] {
            let (_, code, status) = said(&answer);
            assert_eq!((code.as_str(), status), ("PC2601", 400));
        }
    }
}

#[test]
fn bytes_that_are_no_review_are_refused_in_the_shape_of_an_answer() {
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    for bytes in [
        "",
        "{",
        "[]",
        "{\"kind\":\"AdmissionReview\"}",
        deep.as_str(),
        "{\"apiVersion\":\"admission.k8s.io/v2\",\"kind\":\"AdmissionReview\",\"request\":{\"uid\":\"u\"}}",
        "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"Pod\",\"request\":{\"uid\":\"u\"}}",
    ] {
        let answer = refused(&Review::read(bytes.as_bytes()).unwrap_err());
        assert_eq!(answer["response"]["allowed"], false);
        assert_eq!(answer["response"]["status"]["reason"], "PC2601");
    }
    let large = vec![b' '; admission::REVIEW_BYTES_MAX + 1];
    assert_eq!(Review::read(&large).unwrap_err().0.code, &code::TOO_LARGE);
    let mut pod = web(&json!({}));
    pod["spec"]["containers"] = Value::Array(vec![json!({ "name": "c" }); 501]);
    assert_eq!(denial(&pod, &upstream()).1, "PC2018");
}

#[test]
fn a_service_account_that_cannot_be_read_refuses_the_pod() {
    let unknown =
        || Refusal::new(&code::SERVICE_ACCOUNT_UNKNOWN, "serviceaccounts `app` not found");
    let pod = web(&json!({}));
    for answer in [
        mutate(&asked(&pod), Err(unknown()), &upstream()),
        validate(&asked(&pod), Err(unknown()), &upstream()),
    ] {
        let (message, code, status) = said(&answer);
        assert!(message.starts_with("serviceaccounts `app` not found"), "{message}");
        assert_eq!((code.as_str(), status), ("PC2602", 400));
    }
}

#[test]
fn a_pod_that_came_past_the_mutation_is_refused_with_what_it_lacks() {
    let pod = web(&json!({}));
    let verdict = |pod: &Value| validate(&asked(pod), Ok(&account()), &ours());
    let (message, code, status) = said(&verdict(&pod));
    assert_eq!((code.as_str(), status), ("PC2605", 400));
    assert!(message.contains("`AZURE_CLIENT_ID` in container `web`"), "{message}");

    let whole = mutated(&pod, &ours());
    assert_eq!(verdict(&whole)["response"], json!({ "uid": "u-1", "allowed": true }));
    for (pointer, lost) in [
        (
            "/spec/volumes/0/projected/sources/0/serviceAccountToken/audience",
            "the volume with the projected token",
        ),
        ("/spec/containers/0/volumeMounts/0/mountPath", "the token's mount in container `web`"),
        ("/spec/containers/0/env/2/name", "`AZURE_FEDERATED_TOKEN_FILE` in container `web`"),
    ] {
        let mut damaged = whole.clone();
        *damaged.pointer_mut(pointer).unwrap() = json!("another");
        let (message, _, _) = said(&verdict(&damaged));
        assert!(message.contains(lost), "{message}");
    }
}

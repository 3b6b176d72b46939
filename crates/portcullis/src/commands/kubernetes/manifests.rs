//! `portcullis kubernetes manifests`: YAML by default, a stream of documents.

use std::fs;

use admission::ProxyImages;
use kubernetes::Installation;

use crate::cli::{Common, Format, Manifests};
use crate::failure::{Exit, Failure};
use crate::{output, remote};

const CANNOT: &str = "cannot print the manifests";

pub(crate) fn run(common: &Common, options: &Manifests) -> Result<(), Failure> {
    let environment = remote::environment(common);
    let missing = |what: &str| Failure::new(CANNOT, what).exit(Exit::Usage);
    let origin = environment.url.ok_or_else(|| {
        missing("it is not said where pods reach the installation")
            .next("say it with `--url` or PORTCULLIS_URL")
    })?;
    if !origin.starts_with("https://") {
        return Err(missing("client libraries take an authority host over HTTPS only"));
    }
    let file = options.trust.clone().or(environment.ca).ok_or_else(|| {
        missing("it is not said what pods are to trust")
            .next("say it with `--ca`, `--trust` or PORTCULLIS_CA")
    })?;
    let unreadable = |why: &dyn std::fmt::Display| {
        Failure::new(format!("{CANNOT}: `{}` cannot be used", file.display()), why)
    };
    let authority = fs::read_to_string(&file).map_err(|error| unreadable(&error))?;
    runtime::tls::roots(&authority).map_err(|error| unreadable(&error))?;
    let images = options.proxy_image.clone().zip(options.proxy_init_image.clone());
    let objects = kubernetes::manifests(&Installation {
        namespace: options.namespace.clone(),
        image: options.image.clone(),
        replicas: options.replicas,
        origin,
        tenant_id: options.tenant.clone(),
        authority,
        workload_namespaces: options.workload_namespaces.clone(),
        proxy: images.map(|(image, init_image)| ProxyImages { image, init_image }),
    });
    let format = match common.output {
        Format::Json => Format::Json,
        Format::Table | Format::Yaml => Format::Yaml,
    };
    output::show_all(format, &objects, String::new)
}

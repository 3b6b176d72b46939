//! What a kubelet makes of a pod: files of its projected volumes, and the environment of a container. There are no mount
//! namespaces here, so the files lie in a folder, and values of the environment that name a mount name that folder.

#![expect(clippy::indexing_slicing, reason = "a member that is not there reads as null")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::Cluster;

/// A container as its process sees it.
#[derive(Clone, Debug)]
pub struct Container {
    pub environment: Vec<(String, String)>,
}

impl Container {
    /// Gives the process the container's environment.
    pub fn equip<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(self.environment.iter().map(|(name, value)| (name, value)))
    }

    pub fn value(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl Cluster {
    /// Makes the files of a container that was created, in this folder.
    pub fn run(&self, pod: &Value, container: &str, folder: &Path) -> Result<Container> {
        let containers = pod["spec"]["containers"].as_array().context("it has no containers")?;
        let found = containers.iter().find(|found| found["name"] == container);
        let found = found.with_context(|| format!("no container `{container}`"))?;
        let mut mounts = Vec::new();
        for mount in found["volumeMounts"].as_array().into_iter().flatten() {
            let path = mount["mountPath"].as_str().context("a mount without a path")?;
            let here = folder.join(path.trim_start_matches('/'));
            self.fill(pod, &mount["name"], &here)?;
            mounts.push((path.to_owned(), here));
        }
        let environment = found["env"].as_array().into_iter().flatten();
        let environment = environment.map(|variable| {
            let name = variable["name"].as_str().context("a variable without a name")?;
            let value = variable["value"].as_str().unwrap_or_default();
            Ok((name.to_owned(), moved(value, &mounts)))
        });
        Ok(Container { environment: environment.collect::<Result<_>>()? })
    }

    fn fill(&self, pod: &Value, volume: &Value, here: &Path) -> Result<()> {
        let volumes = pod["spec"]["volumes"].as_array().context("it has no volumes")?;
        let found = volumes.iter().find(|found| found["name"] == *volume);
        let found = found.with_context(|| format!("no volume {volume}"))?;
        let sources = found["projected"]["sources"].as_array().context("it is not projected")?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let namespace = text(&pod["metadata"]["namespace"]);
        for source in sources {
            if let Some(token) = source.get("serviceAccountToken") {
                let account = text(&pod["spec"]["serviceAccountName"]);
                let seconds =
                    token["expirationSeconds"].as_u64().context("no `expirationSeconds`")?;
                let audience = token["audience"].as_str().unwrap_or(self.url());
                let signed = self.token(&namespace, &account, audience, seconds)?;
                write(here, &text(&token["path"]), &signed)?;
            } else if let Some(map) = source.get("configMap") {
                let path =
                    format!("/api/v1/namespaces/{namespace}/configmaps/{}", text(&map["name"]));
                let object = self.object(&path);
                ensure!(object.is_some() || map["optional"] == true, "there is no `{path}`");
                for item in map["items"].as_array().into_iter().flatten() {
                    let key = text(&item["key"]);
                    let value = object.as_ref().and_then(|object| object["data"][&key].as_str());
                    let value = value.with_context(|| format!("no `{key}` in `{path}`"))?;
                    write(here, &text(&item["path"]), value)?;
                }
            } else {
                bail!("this source is not known here: {source}");
            }
        }
        Ok(())
    }
}

fn write(folder: &Path, path: &str, text: &str) -> Result<()> {
    let file = folder.join(path);
    fs::create_dir_all(file.parent().context("no folder")?)?;
    Ok(fs::write(file, text)?)
}

fn moved(value: &str, mounts: &[(String, PathBuf)]) -> String {
    for (path, here) in mounts {
        if let Some(rest) = value.strip_prefix(path.as_str())
            && rest.starts_with('/')
        {
            return format!("{}{rest}", here.display());
        }
    }
    value.to_owned()
}

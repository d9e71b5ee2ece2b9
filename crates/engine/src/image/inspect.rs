//! All that is known about an image, in Docker's words and order.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Map, Value, json};
use strata_snapshot::DriverName;
use strata_store::records::{ImageRecord, Said};
use strata_types::reference::Reference;
use strata_types::{ImageId, Platform};

use super::attestation::Attested;
use crate::layers::Keeper;
use crate::{Engine, Result};

/// What `image inspect` prints; field by field as Docker 26 does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Inspected {
    /// The id.
    pub id: String,
    /// Tags, in their familiar form.
    pub repo_tags: Vec<String>,
    /// References by digest, in their familiar form.
    pub repo_digests: Vec<String>,
    /// The image it was committed from; empty if that is not here.
    pub parent: String,
    /// The remark of the last step.
    pub comment: String,
    /// When it was made, as it was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// The Docker that made it.
    pub docker_version: String,
    /// Who made it.
    pub author: String,
    /// How to run it, with all of Docker's fields.
    pub config: Value,
    /// The processor.
    pub architecture: String,
    /// Its variant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    /// The operating system.
    pub os: String,
    /// Its version.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// The sum of its layers.
    pub size: u64,
    /// Where the files are.
    pub graph_driver: GraphDriver,
    /// The layers.
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    /// What is known here only.
    pub metadata: Metadata,
    /// What its manifest says, as Podman prints it; Docker does not.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// What is attested of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attestations: Vec<Attested>,
}

/// Which driver keeps the files, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct GraphDriver {
    /// Directories and files, by Docker's names where there is one.
    pub data: Option<BTreeMap<&'static str, String>>,
    /// The driver.
    pub name: String,
}

/// The layers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "Type")]
    pub kind: String,
    /// The diff ids, lowest first.
    pub layers: Vec<String>,
}

/// What is known here only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metadata {
    /// When it last got a tag; the year 1 if never.
    pub last_tag_time: String,
}

/// Go's zero time.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// Tells all that is known about an image.
    ///
    /// # Errors
    /// When there is no such image.
    pub fn inspect_image(&self, name: &str) -> Result<Inspected> {
        self.inspect(name, self.image(name)?)
    }

    /// The same of the variant for a platform.
    ///
    /// # Errors
    /// When there is no such image, or none of it for the platform.
    pub fn inspect_image_for(&self, name: &str, platform: &Platform) -> Result<Inspected> {
        self.inspect(name, self.image_for(name, platform)?)
    }

    fn inspect(&self, name: &str, image: ImageRecord) -> Result<Inspected> {
        let config = self.config(&image.id)?;
        let said = self.said_under(name, &image.id)?;
        let annotations = match &said {
            Some(said) => said.annotations.manifest.clone(),
            None => self.annotations_of(&image)?.manifest,
        };
        let tags = self.store().tags().of(&image.id)?;
        let last_tag = tags.iter().filter(|tag| tag.name.digest().is_none()).map(|tag| tag.updated).max();
        let references = super::list::References::of(tags);
        let familiar =
            |names: &[strata_types::reference::Reference]| names.iter().map(|name| name.familiar()).collect();
        let last_comment = config.history.last().map(|step| step.comment.clone());
        let parent = image.parent.as_ref().map(|parent| self.store().images().get(parent)).transpose()?.flatten();
        Ok(Inspected {
            id: image.id.to_string(),
            repo_tags: familiar(&references.tags),
            repo_digests: familiar(&references.digests),
            parent: parent.map(|parent| parent.id.to_string()).unwrap_or_default(),
            comment: Some(config.comment.clone())
                .filter(|comment| !comment.is_empty())
                .or(last_comment)
                .unwrap_or_default(),
            created: config.created.clone(),
            docker_version: config.docker_version.clone(),
            author: config.author.clone(),
            config: docker_config(&config.run_value()),
            architecture: config.architecture.clone(),
            variant: config.variant.clone(),
            os: config.os.clone(),
            os_version: config.os_version.clone(),
            size: image.size_bytes,
            graph_driver: self.graph_of(&image, Keeper::of(&config))?,
            root_fs: RootFs {
                kind: config.rootfs.kind.clone(),
                layers: image.layers.iter().map(ToString::to_string).collect(),
            },
            metadata: Metadata { last_tag_time: last_tag.map_or_else(|| NEVER.to_owned(), |time| time.to_string()) },
            annotations,
            attestations: said.map_or_else(|| Ok(Vec::new()), |said| self.attested(&said))?,
        })
    }
}

impl Engine {
    /// What is said of an image under a name, or by its id; none if nothing is but what it came with.
    fn said_under(&self, name: &str, id: &ImageId) -> Result<Option<Said>> {
        let reference = name.parse::<Reference>().ok().map(|name| super::find::as_recorded(&name));
        let mut variants = match &reference {
            Some(reference) => self.store().variants().of(reference)?,
            None => Vec::new(),
        };
        variants.retain(|variant| variant.image == *id);
        let said = match variants.pop() {
            Some(variant) => variant.said,
            None => self.store().images().said(id)?,
        };
        Ok(Some(said).filter(|said| !said.is_empty()))
    }

    /// Where the files of an image are: those of the uppermost layer, and of all below it.
    fn graph_of(&self, image: &ImageRecord, keeper: Keeper) -> Result<GraphDriver> {
        let snapshots = self.snapshots()?;
        if keeper == Keeper::Windows {
            let top = image.layers.last().map(|layer| ("dir", snapshots.windows_dir(layer).display().to_string()));
            let name = DriverName::WindowsFilter.to_string();
            return Ok(GraphDriver { data: Some(top.into_iter().collect()), name });
        }
        let data = snapshots.files_of(&image.layers).map(|files| match files.split_first() {
            Some((upper, [])) => BTreeMap::from([("UpperDir", upper.display().to_string())]),
            Some((upper, lower)) => {
                BTreeMap::from([("LowerDir", joined(lower)), ("UpperDir", upper.display().to_string())])
            }
            None => BTreeMap::new(),
        });
        Ok(GraphDriver { data, name: snapshots.driver_name().to_string() })
    }
}

/// Directories as Docker lists them.
pub(crate) fn joined(dirs: &[PathBuf]) -> String {
    dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(":")
}

/// A run configuration with every field that Docker prints, in Docker's order; fields Docker does not know come last.
pub fn docker_config(config: &Value) -> Value {
    let empty = Map::new();
    let config = config.as_object().unwrap_or(&empty);
    let mut printed = Map::new();
    for (name, default) in docker_fields() {
        match (config.get(name), default) {
            (Some(value), Some(_)) if !value.is_null() => _ = printed.insert(name.to_owned(), sorted(value)),
            (Some(value), None) if !is_zero(value) => _ = printed.insert(name.to_owned(), sorted(value)),
            (_, Some(default)) => _ = printed.insert(name.to_owned(), default),
            (_, None) => {}
        }
    }
    for (name, value) in config {
        if !printed.contains_key(name) && !docker_fields().iter().any(|(known, _)| known == name) {
            printed.insert(name.clone(), value.clone());
        }
    }
    Value::Object(printed)
}

/// Maps (labels, ports, volumes) in the order of their keys, as Go prints them; a health check keeps Docker's order.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) if !map.contains_key("Test") => {
            let mut entries: Vec<_> = map.iter().collect();
            entries.sort_unstable_by_key(|(key, _)| *key);
            Value::Object(entries.into_iter().map(|(key, value)| (key.clone(), value.clone())).collect())
        }
        other => other.clone(),
    }
}

/// The fields of Docker's `container.Config` in order, with what is printed when they are not set; none if nothing is.
fn docker_fields() -> [(&'static str, Option<Value>); 25] {
    [
        ("Hostname", Some(json!(""))),
        ("Domainname", Some(json!(""))),
        ("User", Some(json!(""))),
        ("AttachStdin", Some(json!(false))),
        ("AttachStdout", Some(json!(false))),
        ("AttachStderr", Some(json!(false))),
        ("ExposedPorts", None),
        ("Tty", Some(json!(false))),
        ("OpenStdin", Some(json!(false))),
        ("StdinOnce", Some(json!(false))),
        ("Env", Some(Value::Null)),
        ("Cmd", Some(Value::Null)),
        ("Healthcheck", None),
        ("ArgsEscaped", None),
        ("Image", Some(json!(""))),
        ("Volumes", Some(Value::Null)),
        ("WorkingDir", Some(json!(""))),
        ("Entrypoint", Some(Value::Null)),
        ("NetworkDisabled", None),
        ("MacAddress", None),
        ("OnBuild", Some(Value::Null)),
        ("Labels", Some(Value::Null)),
        ("StopSignal", None),
        ("StopTimeout", None),
        ("Shell", None),
    ]
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_prints_as_docker_prints_it() {
        let config = json!({"Cmd": ["bash"], "Env": ["A=1"], "ArgsEscaped": true, "Shell": [], "Strange": 1});
        let expected = concat!(
            r#"{"Hostname":"","Domainname":"","User":"","AttachStdin":false,"AttachStdout":false,"AttachStderr":false,"#,
            r#""Tty":false,"OpenStdin":false,"StdinOnce":false,"Env":["A=1"],"Cmd":["bash"],"ArgsEscaped":true,"#,
            r#""Image":"","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null,"Strange":1}"#
        );
        assert_eq!(docker_config(&config).to_string(), expected);
    }
}

//! Image configs: OCI image-spec's `config.md` and what Docker adds to it.
//!
//! Every field that we do not know, at every level, survives parse → edit → print, and keys keep their order: the
//! document as it was read is kept beside the typed fields, and only what was edited is written into it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{DiffId, ImageId, Platform};

/// The largest config we read. Real ones have kilobytes; containerd draws the line at the same place.
pub const CONFIG_BYTES_MAX: u64 = 8 << 20;

/// What an image is, how to run it and how it came about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageConfig {
    /// The fields we know.
    pub fields: Fields,
    origin: Map<String, Value>,
}

/// The fields of an image config that we know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// When it was made, as it was written (RFC 3339, any precision).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who made it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub author: String,
    /// The processor: `amd64`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub architecture: String,
    /// The processor's variant: `v7`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub variant: String,
    /// The operating system: `linux`.
    #[serde(default, deserialize_with = "null_as_default")]
    pub os: String,
    /// The version of the operating system.
    #[serde(
        rename = "os.version",
        default,
        skip_serializing_if = "String::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub os_version: String,
    /// Features the operating system must have.
    #[serde(
        rename = "os.features",
        default,
        skip_serializing_if = "Vec::is_empty",
        deserialize_with = "null_as_default"
    )]
    pub os_features: Vec<String>,
    /// How to run it.
    #[serde(default, deserialize_with = "null_as_default")]
    pub config: RunConfig,
    /// Its layers, lowest first.
    pub rootfs: RootFs,
    /// How it came about, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub history: Vec<History>,
    /// A remark; Docker's commit message is here in old images.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub comment: String,
    /// The Docker that made it.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub docker_version: String,
}

/// The layers of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootFs {
    /// Always `layers`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The digests of the uncompressed tars, lowest first.
    #[serde(default, deserialize_with = "null_as_default")]
    pub diff_ids: Vec<DiffId>,
}

impl Default for RootFs {
    fn default() -> Self {
        Self { kind: "layers".to_owned(), diff_ids: Vec::new() }
    }
}

/// One step of how an image came about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    /// When, as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<String>,
    /// Who.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub author: String,
    /// The command.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub created_by: String,
    /// A remark, such as the message of a commit.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub comment: String,
    /// Whether the step added no layer.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_as_default")]
    pub empty_layer: bool,
}

/// How to run an image: OCI's `config` object and Docker's additions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RunConfig {
    /// `USER`: name or number, perhaps with `:GROUP`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub user: String,
    /// `EXPOSE`: `PORT/PROTOCOL`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "set")]
    pub exposed_ports: BTreeSet<String>,
    /// `ENV`: `NAME=VALUE`, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub env: Vec<String>,
    /// `ENTRYPOINT`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "words")]
    pub cmd: Option<Vec<String>>,
    /// `HEALTHCHECK`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub healthcheck: Option<Healthcheck>,
    /// Windows: the command is one escaped string.
    #[serde(default, skip_serializing_if = "std::ops::Not::not", deserialize_with = "null_as_default")]
    pub args_escaped: bool,
    /// `VOLUME`: paths.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty", with = "set")]
    pub volumes: BTreeSet<String>,
    /// `WORKDIR`.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub working_dir: String,
    /// `ONBUILD`: instructions for the next build.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub on_build: Vec<String>,
    /// `LABEL`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "null_as_default")]
    pub labels: BTreeMap<String, String>,
    /// `STOPSIGNAL`: a name or a number.
    #[serde(default, skip_serializing_if = "String::is_empty", deserialize_with = "null_as_default")]
    pub stop_signal: String,
    /// Seconds to wait for the end after the stop signal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<i64>,
    /// `SHELL`: what the shell form of commands is run by.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub shell: Vec<String>,
}

/// What runs lines unless SHELL says otherwise.
const SHELL: [&str; 2] = ["/bin/sh", "-c"];

impl RunConfig {
    /// Sets a variable where it stands, or appends it.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        set_variable(&mut self.env, name, value);
    }

    /// What runs lines.
    pub fn line_shell(&self) -> Vec<String> {
        if self.shell.is_empty() { SHELL.map(str::to_owned).to_vec() } else { self.shell.clone() }
    }

    /// A path as it is seen from the working directory, without `.`, `..` and doubled slashes.
    pub fn at_working_dir(&self, path: &str) -> String {
        let dir = if path.starts_with('/') { "" } else { &self.working_dir };
        let mut clean: Vec<&str> = Vec::new();
        for part in dir.split('/').chain(path.split('/')) {
            match part {
                "" | "." => {}
                ".." => _ = clean.pop(),
                part => clean.push(part),
            }
        }
        format!("/{}", clean.join("/"))
    }
}

/// Sets a variable of an environment where it stands, or appends it.
pub fn set_variable(env: &mut Vec<String>, name: &str, value: &str) {
    let entry = format!("{name}={value}");
    match env.iter_mut().find(|entry| entry.split('=').next() == Some(name)) {
        Some(present) => *present = entry,
        None => env.push(entry),
    }
}

/// How to tell whether a container is well. Durations are nanoseconds; 0 means "as usual".
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Healthcheck {
    /// `["NONE"]`, `["CMD", …]` or `["CMD-SHELL", COMMAND]`; empty means inherited.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "null_as_default")]
    pub test: Vec<String>,
    /// Between two checks.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub interval: i64,
    /// Until a check counts as failed.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub timeout: i64,
    /// While failures do not count.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub start_period: i64,
    /// Between two checks during the start period.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub start_interval: i64,
    /// How many failures in a row make it unhealthy.
    #[serde(default, skip_serializing_if = "is_zero", deserialize_with = "null_as_default")]
    pub retries: i64,
}

/// Why bytes are not an image config.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// There are too many bytes.
    #[error("the image config has more than {CONFIG_BYTES_MAX} bytes")]
    TooLarge,
    /// It is not JSON, or fields are missing or of another type.
    #[error("the image config cannot be understood")]
    Json(#[source] serde_json::Error),
    /// The number of layers differs between `rootfs` and `history`.
    #[error("the image config names {layers} layers, its history {steps}")]
    History {
        /// How many `rootfs` names.
        layers: usize,
        /// How many steps of the history added a layer.
        steps: usize,
    },
}

impl ImageConfig {
    /// Parses a config.
    ///
    /// # Errors
    /// When it is too large or malformed.
    pub fn parse(bytes: &[u8]) -> Result<Self, ConfigError> {
        if bytes.len() as u64 > CONFIG_BYTES_MAX {
            return Err(ConfigError::TooLarge);
        }
        let origin: Map<String, Value> = serde_json::from_slice(bytes).map_err(ConfigError::Json)?;
        let fields = Fields::deserialize(&origin).map_err(ConfigError::Json)?;
        Ok(Self { fields, origin })
    }

    /// Prints it: what was parsed, with the fields that were edited replaced in their place.
    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(&self.to_value()).expect("a JSON value always prints")
    }

    /// The config as a JSON object, for `inspect`.
    pub fn to_value(&self) -> Value {
        let before = Fields::deserialize(&self.origin).map(|fields| object(&fields)).unwrap_or_default();
        let mut merged = self.origin.clone();
        merge(&mut merged, &before, &object(&self.fields));
        Value::Object(merged)
    }

    /// A field we have no name for, at the top level.
    pub fn other(&self, key: &str) -> Option<&Value> {
        self.origin.get(key)
    }

    /// Sets or removes a field we have no name for, at the top level.
    pub fn set_other(&mut self, key: &str, value: Option<Value>) {
        match value {
            Some(value) => _ = self.origin.insert(key.to_owned(), value),
            None => _ = self.origin.shift_remove(key),
        }
    }

    /// The document's `config` object as it was read, with Docker's fields that we have no name for.
    pub fn run_value(&self) -> Value {
        self.to_value().get("config").cloned().unwrap_or_default()
    }

    /// The id of the image that has this config, as printed.
    pub fn image_id(&self) -> ImageId {
        ImageId::new(crate::Digest::sha256(&self.to_bytes()))
    }

    /// What the image runs on.
    pub fn platform(&self) -> Platform {
        Platform {
            os_version: self.fields.os_version.clone(),
            os_features: self.fields.os_features.clone(),
            ..Platform::new(&self.fields.os, &self.fields.architecture, &self.fields.variant)
        }
    }

    /// Its layers, lowest first.
    pub fn diff_ids(&self) -> &[DiffId] {
        &self.fields.rootfs.diff_ids
    }

    /// Checks that the history, where there is one, speaks of as many layers as there are.
    ///
    /// # Errors
    /// When it does not.
    pub fn check_history(&self) -> Result<(), ConfigError> {
        let layers = self.diff_ids().len();
        let steps = self.fields.history.iter().filter(|step| !step.empty_layer).count();
        if self.fields.history.is_empty() || layers == steps {
            return Ok(());
        }
        Err(ConfigError::History { layers, steps })
    }
}

impl std::ops::Deref for ImageConfig {
    type Target = Fields;

    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl std::ops::DerefMut for ImageConfig {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}

impl From<Fields> for ImageConfig {
    /// A new config, with nothing but the fields we know.
    fn from(fields: Fields) -> Self {
        Self { fields, origin: Map::new() }
    }
}

fn object(fields: &Fields) -> Map<String, Value> {
    match serde_json::to_value(fields) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Writes the difference between `before` and `after` into `target`, and leaves everything else in it alone.
fn merge(target: &mut Map<String, Value>, before: &Map<String, Value>, after: &Map<String, Value>) {
    for (key, new) in after {
        let old = before.get(key);
        if old == Some(new) {
            continue;
        }
        match target.get_mut(key) {
            Some(present) => merge_value(present, old.unwrap_or(&Value::Null), new),
            None => _ = target.insert(key.clone(), new.clone()),
        }
    }
    for key in before.keys().filter(|key| !after.contains_key(*key)) {
        target.shift_remove(key);
    }
}

fn merge_value(target: &mut Value, before: &Value, after: &Value) {
    match (&mut *target, before, after) {
        (Value::Object(target), Value::Object(before), Value::Object(after)) => merge(target, before, after),
        (Value::Array(items), Value::Array(before), Value::Array(after)) if items.len() == before.len() => {
            items.truncate(after.len());
            for (index, new) in after.iter().enumerate() {
                match (items.get_mut(index), before.get(index)) {
                    (Some(_), Some(old)) if old == new => {}
                    (Some(item), Some(old)) => merge_value(item, old, new),
                    _ => items.push(new.clone()),
                }
            }
        }
        _ => *target = after.clone(),
    }
}

/// Reads `null` as the empty value, as Go programs write it.
fn null_as_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Reads a list of words, or a single string, as images of Docker's first years have it.
fn words<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Words {
        One(String),
        Many(Vec<String>),
    }
    Ok(Option::<Words>::deserialize(deserializer)?.map(|words| match words {
        Words::One(word) => vec![word],
        Words::Many(words) => words,
    }))
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// Sets as Go writes them: `{"a": {}, "b": {}}`.
mod set {
    use super::{BTreeMap, BTreeSet, Deserialize, Deserializer, Map, Serialize, Serializer, Value};

    pub(super) fn serialize<S: Serializer>(set: &BTreeSet<String>, serializer: S) -> Result<S::Ok, S::Error> {
        set.iter().map(|key| (key, Map::new())).collect::<BTreeMap<_, _>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeSet<String>, D::Error> {
        let map = Option::<BTreeMap<String, Value>>::deserialize(deserializer)?;
        Ok(map.unwrap_or_default().into_keys().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A config as Docker 20 wrote it, with fields of every level that we do not know.
    const DOCKER: &str = r#"{"zeta":1,"architecture":"amd64","config":{"Hostname":"","AttachStdin":false,"ExposedPorts":{"80/tcp":{"x":1}},"Env":["PATH=/bin"],"Cmd":["sh"],"Image":"sha256:0","Volumes":null,"WorkingDir":"","Entrypoint":null,"OnBuild":null,"Labels":null,"Memory":5},"container":"c0","created":"2024-01-02T03:04:05.123456700Z","docker_version":"20.10","history":[{"created":"2024-01-02T03:04:05Z","created_by":"ADD <x> & y","extra":{"a":[1.50]}}],"os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"],"odd":true},"last":null}"#;

    fn text(config: &ImageConfig) -> String {
        String::from_utf8(config.to_bytes()).unwrap()
    }

    #[test]
    fn an_unedited_config_prints_as_it_was() {
        let config = ImageConfig::parse(DOCKER.as_bytes()).unwrap();
        assert_eq!(text(&config), DOCKER.replace("1.50", "1.5"));
        assert_eq!(config.created.as_deref(), Some("2024-01-02T03:04:05.123456700Z"));
        config.check_history().unwrap();
    }

    #[test]
    fn an_edit_changes_only_what_was_edited() {
        let mut config = ImageConfig::parse(DOCKER.as_bytes()).unwrap();
        config.config.env.push("A=1".to_owned());
        config.config.exposed_ports.insert("81/tcp".to_owned());
        config.config.labels.insert("k".to_owned(), "v".to_owned());
        config.config.cmd = None;
        config.history.push(History { created_by: "sh".to_owned(), empty_layer: true, ..History::default() });
        config.author = "me".to_owned();
        let expected = DOCKER
            .replace("1.50", "1.5")
            .replace(r#""PATH=/bin""#, r#""PATH=/bin","A=1""#)
            .replace(r#"{"x":1}}"#, r#"{"x":1},"81/tcp":{}}"#)
            .replace(r#""Labels":null"#, r#""Labels":{"k":"v"}"#)
            .replace(r#""Cmd":["sh"],"#, "")
            .replace(r#"}],"os""#, r#"},{"created_by":"sh","empty_layer":true}],"os""#)
            .replace(r#""last":null"#, r#""last":null,"author":"me""#);
        assert_eq!(text(&config), expected);
        assert_eq!(ImageConfig::parse(expected.as_bytes()).unwrap().fields, config.fields);
    }

    #[test]
    fn a_new_config_has_only_known_fields() {
        let fields = Fields { os: "linux".to_owned(), architecture: "amd64".to_owned(), ..Fields::default() };
        let expected = r#"{"architecture":"amd64","os":"linux","config":{},"rootfs":{"type":"layers","diff_ids":[]}}"#;
        assert_eq!(text(&ImageConfig::from(fields)), expected);
    }

    #[test]
    fn a_command_may_be_one_string() {
        let old = r#"{"rootfs":{"type":"layers"},"config":{"Cmd":"/bin/sh"}}"#;
        let config = ImageConfig::parse(old.as_bytes()).unwrap();
        assert_eq!(config.config.cmd, Some(vec!["/bin/sh".to_owned()]));
        assert_eq!(text(&config), old);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in ["", "[]", "{}", r#"{"rootfs":{"type":"layers","diff_ids":["../x"]}}"#] {
            assert!(ImageConfig::parse(bad.as_bytes()).is_err(), "{bad} parsed");
        }
        let short = r#"{"rootfs":{"type":"layers"},"history":[{}]}"#;
        assert!(ImageConfig::parse(short.as_bytes()).unwrap().check_history().is_err());
    }

    #[test]
    fn working_directories_are_clean_and_follow_one_another() {
        let config = RunConfig { working_dir: "/a/b".to_owned(), ..RunConfig::default() };
        assert_eq!(config.at_working_dir("../c/./d//"), "/a/c/d");
        assert_eq!(config.at_working_dir("/x"), "/x");
        assert_eq!(RunConfig::default().at_working_dir("x"), "/x");
    }
}

//! The options of `--mount` as Docker's API has them: `BindOptions`, `VolumeOptions`, `TmpfsOptions` of `HostConfig.Mounts`.
//! What was not asked for is left out.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::opts::mount::{Bind, Mount, Recursive, Source, Tmpfs, Volume};

/// The options of a mount by the name they go by; nothing if it has none.
pub(super) fn shown(mount: &Mount) -> Map<String, Value> {
    let (name, options) = match &mount.source {
        Source::Bind(of) => ("BindOptions", bind(of)),
        Source::Volume(of) => ("VolumeOptions", volume(of)),
        Source::Tmpfs(of) => ("TmpfsOptions", tmpfs(of)),
        Source::Image { subpath, .. } => {
            ("ImageOptions", given([("Subpath", subpath.as_ref().map(|path| json!(path)))]))
        }
    };
    if options.is_empty() { Map::new() } else { given([(name, Some(Value::Object(options)))]) }
}

fn bind(bind: &Bind) -> Map<String, Value> {
    let when = |recursive| (bind.recursive == recursive).then_some(Value::Bool(true));
    given([
        ("Propagation", bind.propagation.map(|propagation| json!(propagation.name()))),
        ("NonRecursive", when(Recursive::Disabled)),
        ("ReadOnlyNonRecursive", when(Recursive::Writable)),
        ("ReadOnlyForceRecursive", when(Recursive::ReadOnly)),
    ])
}

fn volume(volume: &Volume) -> Map<String, Value> {
    let of = |pairs: &[(String, String)]| {
        // In the order in which Go writes maps.
        let sorted: BTreeMap<&String, &String> = pairs.iter().map(|(key, value)| (key, value)).collect();
        (!sorted.is_empty()).then(|| json!(sorted))
    };
    let options = given([
        ("NoCopy", volume.empty.then_some(Value::Bool(true))),
        ("Labels", of(&volume.labels)),
        ("Subpath", volume.subpath.as_ref().map(|path| json!(path))),
    ]);
    let driver = given([("Name", volume.driver.as_ref().map(|name| json!(name))), ("Options", of(&volume.options))]);
    if options.is_empty() && driver.is_empty() {
        return options;
    }
    let mut options = options;
    options.insert("DriverConfig".to_owned(), Value::Object(driver));
    options
}

fn tmpfs(tmpfs: &Tmpfs) -> Map<String, Value> {
    given([("SizeBytes", tmpfs.size_bytes.map(|bytes| json!(bytes))), ("Mode", tmpfs.mode.map(|mode| json!(mode)))])
}

fn given<const N: usize>(fields: [(&str, Option<Value>); N]) -> Map<String, Value> {
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

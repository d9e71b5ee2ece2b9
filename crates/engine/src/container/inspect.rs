//! A container field by field, as `docker inspect` shows it.

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use strata_net::Connected;
use strata_runtime::{Health, HealthResult, State, Status};
use strata_types::ids::{IdMaps, IdRange};

use crate::container::{ContainerConfig, HostConfig, Known, MountFrom, MountPoint, etc_files};
use crate::image::joined;
use crate::{Engine, Result};

/// Go's zero time, which Docker shows for what has not happened.
const NEVER: &str = "0001-01-01T00:00:00Z";

impl Engine {
    /// Everything about a container, in Docker's shape and order.
    ///
    /// # Errors
    /// When its state or its files cannot be read.
    pub fn inspect_container(&self, known: &Known, with_size: bool) -> Result<Value> {
        let Known { record, document } = known;
        let state = self.container_state(known)?;
        let dir = self.container_dir(&record.id);
        let words = document.words();
        let started = state.started_at.is_some();
        let (_, beside_socket) = self.places_of_files(&record.id);
        let places = etc_files::Places { dir: &dir, beside_socket: &beside_socket };
        let file = |name: &str| if started { json!(places.path(document, name)) } else { json!("") };
        let log = dir.join("log.json");
        let log_path = if started && document.host.log_config.kind != "none" { json!(log) } else { json!("") };
        // The store may have been moved since the container was made.
        let driver = self.snapshots()?.driver_name().to_string();
        let mut value = json!({
            "Id": record.id.as_str(),
            "Created": record.created.to_string(),
            "Path": words.first(),
            "Args": words.get(1..).unwrap_or_default(),
            "State": state_of(&state),
            "Image": record.image.to_string(),
            "ResolvConfPath": file("resolv.conf"),
            "HostnamePath": file("hostname"),
            "HostsPath": file("hosts"),
            "LogPath": log_path,
            "Name": format!("/{}", record.name),
            "RestartCount": state.restarts,
            "Driver": driver,
            "Platform": "linux",
            "MountLabel": "",
            "ProcessLabel": "",
            "AppArmorProfile": "",
            "ExecIDs": null,
            "HostConfig": host_config(&document.host),
            "GraphDriver": { "Data": self.graph(known)?, "Name": driver },
        });
        let more = value.as_object_mut().expect("it was made an object");
        if with_size {
            let (own, image_bytes) = self.container_usage(known)?;
            more.insert("SizeRw".into(), json!(own.content_bytes));
            more.insert("SizeRootFs".into(), json!(own.content_bytes + image_bytes));
        }
        let mounts: Vec<Value> =
            document.mounts.iter().filter_map(|point| self.mount_value(&document.host, point)).collect();
        more.insert("Mounts".into(), json!(mounts));
        more.insert("Config".into(), config(&document.config));
        if let Some(maps) = &document.user_namespace {
            more.insert("IDMappings".into(), id_mappings(maps));
        }
        if !document.secrets.is_empty() {
            more.insert("Secrets".into(), json!(document.secrets));
        }
        let connected =
            if state.status.is_alive() { self.process(&record.id).connected()? } else { Connected::default() };
        more.insert("NetworkSettings".into(), self.network_settings(known, &connected));
        Ok(value)
    }

    fn graph(&self, known: &Known) -> Result<Value> {
        let Some(lower) = self.snapshots()?.files_of(&known.record.layers) else { return Ok(Value::Null) };
        let dir = self.container_dir(known.id());
        Ok(json!({ "LowerDir": joined(&lower), "UpperDir": dir.join("upper"), "WorkDir": dir.join("work") }))
    }

    fn mount_value(&self, host: &HostConfig, point: &MountPoint) -> Option<Value> {
        let writable = !point.read_only;
        Some(match &point.source {
            MountFrom::Bind { path, propagation, .. } => json!({
                "Type": "bind", "Source": path, "Destination": point.target, "Mode": point.mode, "RW": writable,
                "Propagation": propagation,
            }),
            MountFrom::Volume { name, anonymous, .. } => {
                // Docker's default, unless the volume is one without a name made by `-v` or the image.
                let has_default = !anonymous || host.mounts.iter().any(|mount| mount.target == point.target);
                let mode = if point.mode.is_empty() && has_default { "z" } else { &point.mode };
                json!({
                    "Type": "volume", "Name": name,
                    "Source": self.settings().root.join("volumes").join(name).join("_data"),
                    "Destination": point.target, "Driver": "local", "Mode": mode, "RW": writable, "Propagation": "",
                })
            }
            // Those of `--tmpfs` are in HostConfig only.
            MountFrom::Tmpfs { .. } if host.tmpfs.contains_key(&point.target) => return None,
            MountFrom::Tmpfs { .. } => json!({
                "Type": "tmpfs", "Source": "", "Destination": point.target, "Mode": point.mode, "RW": writable,
                "Propagation": "",
            }),
            MountFrom::Image { name, .. } => json!({
                "Type": "image", "Source": name, "Destination": point.target, "Mode": point.mode, "RW": false,
                "Propagation": "",
            }),
        })
    }
}

/// As podman shows them: `inside:outside:size`.
fn id_mappings(maps: &IdMaps) -> Value {
    let shown = |ranges: &[IdRange]| -> Vec<String> {
        ranges.iter().map(|range| format!("{}:{}:{}", range.inside, range.outside, range.size)).collect()
    };
    json!({ "UidMap": shown(&maps.users), "GidMap": shown(&maps.groups) })
}

fn state_of(state: &State) -> Value {
    let time = |time: Option<Timestamp>| time.map_or_else(|| NEVER.to_owned(), |time| time.to_string());
    let mut value = json!({
        "Status": state.status.as_str(),
        "Running": state.status.is_up(),
        "Paused": state.status == Status::Paused,
        "Restarting": state.status == Status::Restarting,
        "OOMKilled": state.oom_killed,
        "Dead": state.status == Status::Dead,
        "Pid": if state.status.is_alive() { state.pid } else { 0 },
        "ExitCode": state.exit_code,
        "Error": state.error,
        "StartedAt": time(state.started_at),
        "FinishedAt": time(state.finished_at.filter(|_| !state.status.is_alive() || state.started_at.is_some())),
    });
    if let (Some(health), Some(map)) = (&state.health, value.as_object_mut()) {
        map.insert("Health".to_owned(), health_of(health));
    }
    value
}

fn health_of(health: &Health) -> Value {
    let result = |result: &HealthResult| {
        json!({
            "Start": result.start.to_string(), "End": result.end.to_string(), "ExitCode": result.exit_code,
            "Output": result.output,
        })
    };
    let log: Vec<Value> = health.log.iter().map(result).collect();
    json!({ "Status": health.status.as_str(), "FailingStreak": health.failing_streak, "Log": log })
}

/// What Docker's `HostConfig` has besides, and that strata never sets: after which field, and its value.
const NEVER_SET: &[(&str, &[(&str, Unset)])] = &[
    ("DeviceCgroupRules", &[("DeviceRequests", Unset::Null)]),
    (
        "Ulimits",
        &[
            ("CpuCount", Unset::Zero),
            ("CpuPercent", Unset::Zero),
            ("IOMaximumIOps", Unset::Zero),
            ("IOMaximumBandwidth", Unset::Zero),
        ],
    ),
];

/// A value that says nothing.
#[derive(Clone, Copy)]
enum Unset {
    Null,
    Zero,
}

/// Docker's `HostConfig`, complete and in order.
fn host_config(host: &HostConfig) -> Value {
    let mut complete = Map::new();
    let Value::Object(ours) = json!(host) else { return Value::Null };
    for (name, value) in ours {
        let more = NEVER_SET.iter().find(|(after, _)| *after == name).map_or(&[][..], |(_, more)| *more);
        complete.insert(name, value);
        for (name, unset) in more {
            let value = match unset {
                Unset::Null => Value::Null,
                Unset::Zero => json!(0),
            };
            complete.insert((*name).to_owned(), value);
        }
    }
    Value::Object(complete)
}

/// Docker's `Config`: names that are always there, and those that are left out when empty.
fn config(config: &ContainerConfig) -> Value {
    let run = &config.run;
    let set = |names: &std::collections::BTreeSet<String>| -> Value {
        names.iter().map(|name| (name.clone(), json!({}))).collect::<Map<_, _>>().into()
    };
    let mut map = Map::new();
    let mut put = |name: &str, value: Value| _ = map.insert(name.to_owned(), value);
    put("Hostname", json!(config.hostname));
    put("Domainname", json!(config.domainname));
    put("User", json!(run.user));
    put("AttachStdin", json!(config.attach_stdin));
    put("AttachStdout", json!(config.attach_stdout));
    put("AttachStderr", json!(config.attach_stderr));
    if !run.exposed_ports.is_empty() {
        put("ExposedPorts", set(&run.exposed_ports));
    }
    put("Tty", json!(config.tty));
    put("OpenStdin", json!(config.open_stdin));
    put("StdinOnce", json!(config.stdin_once));
    put("Env", json!(run.env));
    put("Cmd", json!(run.cmd));
    if let Some(healthcheck) = &run.healthcheck {
        put("Healthcheck", json!(healthcheck));
    }
    if run.args_escaped {
        put("ArgsEscaped", json!(true));
    }
    put("Image", json!(config.image));
    put("Volumes", if run.volumes.is_empty() { Value::Null } else { set(&run.volumes) });
    put("WorkingDir", json!(run.working_dir));
    put("Entrypoint", json!(run.entrypoint));
    put("OnBuild", Value::Null);
    put("Labels", json!(run.labels));
    if !run.stop_signal.is_empty() {
        put("StopSignal", json!(run.stop_signal));
    }
    if let Some(timeout) = run.stop_timeout {
        put("StopTimeout", json!(timeout));
    }
    if !run.shell.is_empty() {
        put("Shell", json!(run.shell));
    }
    Value::Object(map)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_has_dockers_fields_in_dockers_order() {
        let value = config(&ContainerConfig { hostname: "h".into(), ..ContainerConfig::default() });
        let names: Vec<&str> = value.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "Hostname Domainname User AttachStdin AttachStdout AttachStderr Tty OpenStdin StdinOnce Env Cmd \
                        Image Volumes WorkingDir Entrypoint OnBuild Labels";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn what_has_not_happened_is_gos_zero_time() {
        let value = state_of(&State::created());
        assert_eq!(value["Status"], "created");
        assert_eq!(value["StartedAt"], NEVER);
        assert_eq!(value["Running"], false);
    }
}

//! Values as Go sees them. Docker's templates run over Go structs, ours over the JSON of the same things; what the types
//! know and JSON does not (a map or a struct? an empty list or nothing?) is kept here, by field name.

use serde_json::{Map, Number, Value as Json};

use super::{omitted, typed};

/// A value in a template.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A map's entry that is not there.
    None,
    /// A null that Docker's types know to be of some shape.
    Null(Shape),
    /// A pointer to nothing, by the name of its field, which JSON leaves out.
    Omitted(&'static str),
    /// A truth.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A number of nanoseconds that Docker's types know to be a time.
    Duration(i64),
    /// Text.
    String(String),
    /// A list.
    List(Vec<Json>),
    /// Names and values, a type of Docker's: a name that is not among them is an error.
    Struct(Map<String, Json>),
    /// The same, where Docker says the name of the type when a name is not among them.
    Typed(&'static str, Map<String, Json>),
    /// Keys and values of the person's: a key may be missing.
    Map(Map<String, Json>),
}

/// What a null would be if it were something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A list without elements.
    List,
    /// A map without entries.
    Map,
    /// A pointer to nothing.
    Pointer,
}

/// Fields that are maps in Docker's types.
const MAPS: &[&str] = &[
    "Labels",
    "Volumes",
    "ExposedPorts",
    "Ports",
    "Networks",
    "PortBindings",
    "LogConfig.Config",
    "Sysctls",
    "Tmpfs",
    "Annotations",
    "Data",
    "StorageOpt",
    "Containers",
    "Options",
    "DriverOpts",
    "Metadata",
    "Attributes",
    "Runtimes",
];

/// Fields that are pointers in Docker's types and are not left out when null.
const POINTERS: &[&str] = &[
    "PidsLimit",
    "MemorySwappiness",
    "OomKillDisable",
    "Init",
    "Healthcheck",
    "Health",
    "StopTimeout",
    "GraphDriver",
    "HostConfig",
    "Config",
    "NetworkSettings",
    "IPAMConfig",
];

/// Fields that are lists in Docker's types, also when null.
const LISTS: &[&str] = &[
    "OnBuild",
    "Cmd",
    "Entrypoint",
    "Env",
    "Shell",
    "Args",
    "Binds",
    "CapAdd",
    "CapDrop",
    "Dns",
    "DnsOptions",
    "DnsSearch",
    "ExtraHosts",
    "GroupAdd",
    "Links",
    "SecurityOpt",
    "Devices",
    "DeviceCgroupRules",
    "DeviceRequests",
    "Ulimits",
    "Mounts",
    "ExecIDs",
    "MaskedPaths",
    "ReadonlyPaths",
    "RepoTags",
    "RepoDigests",
    "Layers",
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "Aliases",
    "DNSNames",
    "VolumesFrom",
    "Test",
    "Log",
];

impl Value {
    /// The value of a field with this name; `""` at the top.
    pub fn new(name: &str, json: &Json) -> Self {
        match json {
            Json::Null if MAPS.contains(&name) => Self::Null(Shape::Map),
            Json::Null if LISTS.contains(&name) => Self::Null(Shape::List),
            Json::Null if POINTERS.contains(&name) => Self::Null(Shape::Pointer),
            Json::Null => Self::None,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::Number(number.clone()),
            Json::String(text) => Self::String(text.clone()),
            Json::Array(items) => Self::List(items.clone()),
            Json::Object(map) if MAPS.contains(&name) => Self::Map(map.clone()),
            Json::Object(map) => Self::Struct(map.clone()),
        }
    }

    /// An object of one of Docker's types.
    pub fn typed(of: &'static str, json: &Json) -> Self {
        match json {
            Json::Object(fields) => Self::Typed(of, fields.clone()),
            other => Self::new("", other),
        }
    }

    /// The value of a field of a struct.
    fn child(parent: &Map<String, Json>, name: &str, json: &Json) -> Self {
        match json {
            // A log driver's options, which share their name with a container's config.
            Json::Object(map) if name == "Config" && parent.contains_key("Type") => Self::Map(map.clone()),
            Json::Number(number) if is_healthcheck(parent) && DURATIONS.contains(&name) => {
                Self::Duration(number.as_i64().unwrap_or_default())
            }
            _ => Self::new(name, json),
        }
    }

    /// The same as JSON.
    pub fn to_json(&self) -> Json {
        match self {
            Self::None | Self::Null(_) | Self::Omitted(_) => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Number(number) => Json::Number(number.clone()),
            Self::Duration(ns) => Json::Number((*ns).into()),
            Self::String(text) => Json::String(text.clone()),
            Self::List(items) => Json::Array(items.clone()),
            Self::Struct(map) | Self::Typed(_, map) | Self::Map(map) => Json::Object(map.clone()),
        }
    }

    /// What `if` sees.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::None | Self::Null(_) | Self::Omitted(_) => false,
            Self::Bool(value) => *value,
            Self::Number(number) => number.as_f64() != Some(0.0),
            Self::Duration(ns) => *ns != 0,
            Self::String(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Struct(_) | Self::Typed(..) => true,
        }
    }

    /// The value of `.name`.
    pub(super) fn field(&self, name: &str) -> Result<Self, String> {
        match self {
            Self::Map(map) => Ok(map.get(name).map_or(Self::None, |json| Self::new("", json))),
            Self::Struct(map) => {
                // Go's names and JSON's differ in case for some: ID and Id.
                let found = map.get_key_value(name);
                let found = found.or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)));
                if found.is_none() && is_healthcheck(map) {
                    // JSON leaves out what is zero.
                    match name {
                        "Retries" => return Ok(Self::Number(0.into())),
                        name if DURATIONS.contains(&name) => return Ok(Self::Duration(0)),
                        _ => {}
                    }
                }
                match found {
                    Some((key, json)) => Ok(Self::child(map, key, json)),
                    None => omitted::field(map, name).ok_or_else(|| no_entry(name)),
                }
            }
            Self::Typed(of, fields) => typed::field(of, fields, name),
            Self::Null(Shape::Map) => Ok(Self::None),
            Self::Omitted(own) => Err(no_entry(own)),
            Self::None | Self::Null(_) => Err(format!("nil pointer evaluating interface {{}}.{name}")),
            _ => Err(no_field(name, "interface {}")),
        }
    }

    /// Go's name for its type, as near as it can be known.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::None | Self::Null(_) | Self::Omitted(_) => "<nil>",
            Self::Bool(_) => "bool",
            Self::Number(number) if number.is_f64() => "float64",
            Self::Number(_) => "int",
            Self::Duration(_) => "time.Duration",
            Self::String(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Struct(_) | Self::Map(_) => "map[string]interface {}",
            Self::Typed(of, _) => of,
        }
    }

    /// What an action prints.
    pub(super) fn printed(&self) -> String {
        match self {
            Self::None => String::from("<no value>"),
            other => other.formatted(),
        }
    }

    /// What `%v` prints.
    pub(super) fn formatted(&self) -> String {
        let mut text = String::new();
        self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::None | Self::Null(Shape::Pointer) | Self::Omitted(_) => text.push_str("<nil>"),
            Self::Null(Shape::List) => text.push_str("[]"),
            Self::Null(Shape::Map) => text.push_str("map[]"),
            Self::Bool(value) => text.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => text.push_str(&number_text(number)),
            Self::Duration(ns) => text.push_str(&duration_text(*ns)),
            Self::String(value) => text.push_str(value),
            Self::List(items) => {
                let items = items.iter().map(|item| Self::new("", item).formatted());
                text.push_str(&format!("[{}]", items.collect::<Vec<_>>().join(" ")));
            }
            Self::Struct(map) | Self::Typed(_, map) => {
                let values = map.iter().map(|(key, json)| Self::child(map, key, json).formatted());
                text.push_str(&format!("{{{}}}", values.collect::<Vec<_>>().join(" ")));
            }
            Self::Map(map) => {
                let mut entries: Vec<(&String, &Json)> = map.iter().collect();
                entries.sort_unstable_by_key(|(key, _)| *key);
                let entries = entries.iter().map(|(key, json)| format!("{key}:{}", Self::new("", json).formatted()));
                text.push_str(&format!("map[{}]", entries.collect::<Vec<_>>().join(" ")));
            }
        }
    }
}

/// What Go says of something that has no fields.
pub(super) fn no_field(name: &str, of: &str) -> String {
    format!("can't evaluate field {name} in type {of}")
}

/// What Go says of a map that must have a key and has it not.
fn no_entry(key: &str) -> String {
    format!("map has no entry for key {key:?}")
}

/// The times in a health check.
const DURATIONS: &[&str] = &["Interval", "Timeout", "StartPeriod", "StartInterval"];

fn is_healthcheck(map: &Map<String, Json>) -> bool {
    map.contains_key("Test")
}

/// A time as Go prints it: `1h0m5s`, `1.5s`, `20ms`.
fn duration_text(ns: i64) -> String {
    const UNITS: [(u64, &str); 3] = [(1_000_000, "ms"), (1_000, "µs"), (1, "ns")];
    let (sign, ns) = (if ns < 0 { "-" } else { "" }, ns.unsigned_abs());
    let fraction = |ns: u64, unit: u64| {
        let digits = format!("{:09}", ns % unit * (1_000_000_000 / unit));
        let digits = digits.trim_end_matches('0');
        if digits.is_empty() { (ns / unit).to_string() } else { format!("{}.{digits}", ns / unit) }
    };
    if ns == 0 {
        return String::from("0s");
    }
    if let Some((unit, name)) = UNITS.into_iter().find(|(unit, _)| ns < 1_000_000_000 && ns >= *unit) {
        return format!("{sign}{}{name}", fraction(ns, unit));
    }
    let minutes = ns / 60_000_000_000;
    let seconds = fraction(ns % 60_000_000_000, 1_000_000_000);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}

/// A number as Go's `%v` prints it.
pub(super) fn number_text(number: &Number) -> String {
    match number.as_f64().filter(|_| number.is_f64()) {
        Some(value) => super::printf::general(value),
        None => number.to_string(),
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::String(text)
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::Number(value.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_print_as_go_prints_them() {
        for (ns, expected) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5µs"),
            (20_000_000, "20ms"),
            (1_500_000_000, "1.5s"),
            (30_000_000_000, "30s"),
            (60_000_000_000, "1m0s"),
            (90_250_000_000, "1m30.25s"),
            (3_600_000_000_000, "1h0m0s"),
            (-5_000_000_000, "-5s"),
        ] {
            assert_eq!(duration_text(ns), expected);
        }
    }
}

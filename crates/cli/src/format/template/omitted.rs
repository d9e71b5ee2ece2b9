//! Fields that Docker's JSON leaves out when they are empty, but that a template may ask for: `{{if .State.Health}}` is
//! written everywhere, and Go's structs have the field although the JSON has it not.
//!
//! Docker executes a template over the struct first, and over the JSON when that fails. So an empty field prints what Go
//! prints for its type, and something below a pointer to nothing is an error in the words of the JSON's map.

use serde_json::{Map, Value as Json};

use super::Value;
use super::value::Shape;

/// The structs of Docker's `api/types` with fields that may be left out: a key that tells what the struct is, and the
/// fields with the values they have when they are not there.
const STRUCTS: &[(&str, &[(&str, Empty)])] = &[
    ("OOMKilled", &[("Health", Empty::Pointer)]),
    (
        "NetworkMode",
        &[
            ("Annotations", Empty::Map),
            ("Init", Empty::Pointer),
            ("KernelMemory", Empty::Number),
            ("KernelMemoryTCP", Empty::Number),
            ("Mounts", Empty::List),
            ("StorageOpt", Empty::Map),
            ("Sysctls", Empty::Map),
            ("Tmpfs", Empty::Map),
        ],
    ),
    (
        "AttachStdin",
        &[
            ("ArgsEscaped", Empty::Bool),
            ("ExposedPorts", Empty::Map),
            ("Healthcheck", Empty::Pointer),
            ("MacAddress", Empty::Text),
            ("NetworkDisabled", Empty::Bool),
            ("Shell", Empty::List),
            ("StopSignal", Empty::Text),
            ("StopTimeout", Empty::Pointer),
        ],
    ),
    ("RestartCount", &[("Node", Empty::Pointer), ("SizeRootFs", Empty::Pointer), ("SizeRw", Empty::Pointer)]),
    (
        "RootFS",
        &[
            ("Container", Empty::Text),
            ("ContainerConfig", Empty::Pointer),
            ("OsVersion", Empty::Text),
            ("Variant", Empty::Text),
            ("VirtualSize", Empty::Number),
        ],
    ),
    ("Destination", &[("Driver", Empty::Text), ("Name", Empty::Text)]),
    (
        "Target",
        &[
            ("BindOptions", Empty::Pointer),
            ("Consistency", Empty::Text),
            ("ReadOnly", Empty::Bool),
            ("Source", Empty::Text),
            ("TmpfsOptions", Empty::Pointer),
            ("VolumeOptions", Empty::Pointer),
        ],
    ),
    ("Mountpoint", &[("ClusterVolume", Empty::Pointer), ("Status", Empty::Map), ("UsageData", Empty::Pointer)]),
    ("IPAM", &[("Peers", Empty::List), ("Services", Empty::Map)]),
];

/// What a field is when it is left out.
#[derive(Clone, Copy)]
enum Empty {
    Bool,
    Number,
    Text,
    List,
    Map,
    Pointer,
}

/// The value of a field that a struct's JSON has not, if Docker's type has it.
pub(super) fn field(of: &Map<String, Json>, name: &str) -> Option<Value> {
    let fields = STRUCTS.iter().filter(|(mark, _)| of.contains_key(*mark)).flat_map(|(_, fields)| *fields);
    let (name, empty) = fields.into_iter().find(|(field, _)| *field == name)?;
    Some(match empty {
        Empty::Bool => Value::Bool(false),
        Empty::Number => Value::Number(0.into()),
        Empty::Text => Value::String(String::new()),
        Empty::List => Value::Null(Shape::List),
        Empty::Map => Value::Null(Shape::Map),
        Empty::Pointer => Value::Omitted(name),
    })
}

//! What this runtime can do, as a document (runtime-spec, features.md).

use serde_json::{Value, json};
use strata_sys::caps::{CapSet, Capability};
use strata_sys::cgroup::Layout;
use strata_sys::seccomp::{Arch, Flags};
use strata_types::runtime_spec::VERSION;

use super::namespaces;
use crate::inside::options;

/// The document.
pub fn features() -> Value {
    let architectures =
        [Arch::X86_64, Arch::X86, Arch::X32, Arch::Aarch64, Arch::Arm].map(strata_sys::seccomp::Arch::libseccomp_name);
    json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": options::known(),
        "linux": {
            "namespaces": namespaces::kinds().collect::<Vec<_>>(),
            "capabilities": CapSet::ALL.iter().map(Capability::name).collect::<Vec<_>>(),
            "cgroup": {
                "v1": Layout::probe() != Layout::V2,
                "v2": true,
                "systemd": true,
                "systemdUser": true,
                "rdma": true,
            },
            "seccomp": {
                "enabled": Arch::NATIVE.is_some(),
                "actions": [
                    "SCMP_ACT_ALLOW", "SCMP_ACT_ERRNO", "SCMP_ACT_KILL", "SCMP_ACT_KILL_PROCESS",
                    "SCMP_ACT_KILL_THREAD", "SCMP_ACT_LOG", "SCMP_ACT_NOTIFY", "SCMP_ACT_TRACE",
                    "SCMP_ACT_TRAP",
                ],
                "operators": [
                    "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_LE", "SCMP_CMP_LT", "SCMP_CMP_MASKED_EQ",
                    "SCMP_CMP_NE",
                ],
                "archs": architectures,
                "knownFlags": Flags::names().collect::<Vec<_>>(),
                "supportedFlags": Flags::names().collect::<Vec<_>>(),
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": true, "schemata": true, "monitoring": true},
            "mountExtensions": {"idmap": {"enabled": true}},
        },
        "annotations": {"org.strata.runtime": env!("CARGO_PKG_VERSION")},
        "potentiallyUnsafeConfigAnnotations": [],
    })
}

//! Operations on containers.
//!
//! ```text
//! config.rs     what is kept about a container, in Docker's shapes
//! create.rs     request + image → record, writable layer, volumes        merge.rs check.rs names.rs help it
//! spec.rs       record → runtime::Spec, for each start                   etc_files.rs devices.rs security.rs help it
//! mounts.rs     what `-v`, `--mount`, VOLUME mean on this host            volume.rs  volumes themselves
//! start.rs stop.rs remove.rs exec.rs list.rs inspect.rs top.rs …          one operation each
//! ```

mod backing;
mod boot;
pub(crate) mod check;
mod config;
mod cpuset;
mod create;
mod debris;
mod devices;
mod diff;
mod emulation;
mod error;
pub(crate) mod etc_files;
mod exec;
mod export;
mod find;
mod inspect;
mod label;
mod life;
mod limits;
mod list;
mod logging;
mod merge;
mod mounts;
mod names;
mod prune;
mod remove;
mod rename;
mod seam;
mod secrets;
mod security;
mod shared;
mod spec;
mod start;
mod stats;
mod stop;
pub(crate) mod storage;
mod top;
mod transfer;
pub(crate) mod user_namespace;
mod volume;

pub use config::{
    ContainerConfig, Device, DeviceRate, DeviceWeight, Document, HostConfig, LogConfig, MASKED_PATHS, MountFrom,
    MountPoint, MountShown, PortBinding, READONLY_PATHS, Resources, RestartPolicy, SHM_SIZE_BYTES, SecretMount, Ulimit,
};
pub(crate) use create::check_config;
pub use create::{CreateRequest, Created};
pub(crate) use emulation::Runs;
pub use error::ContainerError;
pub use exec::ExecRequest;
pub(crate) use export::TarSink;
pub use find::Known;
pub use limits::Change as LimitsChange;
pub use list::Listed;
pub use mounts::{MountRequest, MountWish};
pub use prune::{PruneFilter, Pruned};
pub use remove::Remove;
pub(crate) use seam::EMPTY_TAR;
pub(crate) use spec::check as check_host;
pub use stats::Sample;
pub use stop::Stop;
pub use strata_snapshot::{Change, ChangeKind};
pub use top::Processes;
pub use transfer::CopyWish;
pub(crate) use transfer::FdReader;
pub use volume::{VolumeRequest, VolumeUse};

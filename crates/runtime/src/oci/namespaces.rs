//! Namespaces of a bundle's container: which are new, which are joined, and in what order.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use strata_sys::process::{self, NamespaceSet};
use strata_types::ids::{IdMaps, IdRange};
use strata_types::runtime_spec::{Config, IdMapping, TimeOffset};

use super::Error;

/// Words of the specification, and the names below `/proc/<pid>/ns`.
const KINDS: [(&str, NamespaceSet, &str); 8] = [
    ("user", NamespaceSet::USER, "user"),
    ("cgroup", NamespaceSet::CGROUP, "cgroup"),
    ("ipc", NamespaceSet::IPC, "ipc"),
    ("uts", NamespaceSet::UTS, "uts"),
    ("network", NamespaceSet::NET, "net"),
    ("pid", NamespaceSet::PID, "pid"),
    ("mount", NamespaceSet::MOUNT, "mnt"),
    ("time", NamespaceSet::TIME, "time"),
];

/// The namespaces of a container.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    own: NamespaceSet,
    /// In the order in which they can be joined.
    joined: Vec<(NamespaceSet, OwnedFd)>,
}

/// The words, for people who ask what there is.
pub(super) fn kinds() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(word, ..)| *word)
}

impl Namespaces {
    /// Opens those that are joined.
    pub(super) fn of(config: &Config) -> Result<Self, Error> {
        let mut this = Self::default();
        for namespace in &config.linux.namespaces {
            let kind = namespace.kind.as_str();
            let found = KINDS.iter().find(|(word, ..)| *word == kind);
            let (_, bit, _) = found.ok_or_else(|| Error::Config(format!("namespace {kind:?} does not exist")))?;
            if this.own_or_joined().has(*bit) {
                return Err(Error::Config(format!("malformed spec file: duplicated ns {kind:?}")));
            }
            if namespace.path.is_empty() {
                this.own = this.own.and(*bit);
            } else {
                let fd = rustix::fs::open(&namespace.path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
                let failed = crate::Error::path("open namespace", &namespace.path);
                this.joined.push((*bit, fd.map_err(failed)?));
            }
        }
        let place = |bit: NamespaceSet| KINDS.iter().position(|(_, known, _)| *known == bit);
        this.joined.sort_by_key(|(bit, _)| place(*bit));
        Ok(this)
    }

    /// Those of the process `pid` that are not this process's.
    pub(super) fn of_process(pid: i32) -> Result<Self, Error> {
        let mut this = Self::default();
        for (_, bit, name) in KINDS {
            let path = format!("/proc/{pid}/ns/{name}");
            let open = |path: &str| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
            let theirs = match open(&path) {
                // Kernels without this kind.
                Err(rustix::io::Errno::NOENT) if bit == NamespaceSet::TIME => continue,
                opened => opened.map_err(crate::Error::path("open namespace", &path))?,
            };
            let ours = process::own_namespace(name).map_err(crate::Error::path("open namespace", name))?;
            let number = |fd: &OwnedFd| rustix::fs::fstat(fd).map(|stat| (stat.st_dev, stat.st_ino));
            let failed = crate::Error::path("look at namespace", &path);
            if number(&ours).and_then(|ours| Ok(ours != number(&theirs)?)).map_err(failed)? {
                this.joined.push((bit, theirs));
            }
        }
        Ok(this)
    }

    /// Those that are made for it.
    pub(crate) const fn own(&self) -> NamespaceSet {
        self.own
    }

    /// Those that are not the runtime's.
    pub(crate) fn own_or_joined(&self) -> NamespaceSet {
        self.joined.iter().fold(self.own, |all, (bit, _)| all.and(*bit))
    }

    /// What a process is cloned with: the rest it leaves later, when it is in its control groups and its clocks are set.
    pub(super) fn at_clone(&self) -> NamespaceSet {
        self.own.without(NamespaceSet::CGROUP).without(NamespaceSet::TIME)
    }

    /// The user namespace to join, if there is one: whoever makes the others must be in it before.
    pub(super) fn joined_users(&self) -> Option<BorrowedFd<'_>> {
        self.joined.iter().find(|(bit, _)| *bit == NamespaceSet::USER).map(|(_, fd)| fd.as_fd())
    }

    /// In the runtime: later children are in the process id namespace.
    pub(super) fn join_pids(&self) -> Result<(), Error> {
        self.join(|bit| bit == NamespaceSet::PID).map_err(Error::Step)
    }

    /// In the new process: joins the others.
    pub(crate) fn join_inside(&self) -> Result<(), crate::Error> {
        self.join(|bit| bit != NamespaceSet::PID && bit != NamespaceSet::USER)
    }

    /// In a process that joins a container: the users first.
    pub(crate) fn join_users(&self) -> Result<(), crate::Error> {
        self.join(|bit| bit == NamespaceSet::USER)
    }

    fn join(&self, wanted: impl Fn(NamespaceSet) -> bool) -> Result<(), crate::Error> {
        for (bit, fd) in self.joined.iter().filter(|(bit, _)| wanted(*bit)) {
            let name = KINDS.iter().find(|(_, known, _)| known == bit).map_or("", |(word, ..)| word);
            process::join(fd.as_fd(), *bit).map_err(crate::Error::path("join namespace", name))?;
        }
        Ok(())
    }

    /// In the new process: becomes root of a user namespace, if there is one.
    pub(crate) fn become_somebody(&self) -> Result<(), crate::Error> {
        if self.own_or_joined().has(NamespaceSet::USER) {
            return crate::inside::mapped::become_root_of_users();
        }
        crate::inside::hide_from_container()
    }

    /// In the new process: has clocks of its own.
    pub(crate) fn set_clocks(&self, offsets: &BTreeMap<String, TimeOffset>) -> Result<(), crate::Error> {
        if !self.own.has(NamespaceSet::TIME) {
            return Ok(());
        }
        let failed = crate::Error::step("have clocks to ourselves");
        let lines: String =
            offsets.iter().map(|(clock, by)| format!("{clock} {} {}\n", by.secs, by.nanosecs)).collect();
        let done = process::unshare(NamespaceSet::TIME).and_then(|()| {
            if !lines.is_empty() {
                let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                let file = rustix::fs::open("/proc/self/timens_offsets", flags, Mode::empty())?;
                rustix::io::write(&file, lines.as_bytes())?;
            }
            let own = process::own_namespace("time_for_children")?;
            process::join(own.as_fd(), NamespaceSet::TIME)
        });
        done.map_err(failed)
    }
}

/// Who is whom in a new user namespace.
pub(super) fn id_maps(users: &[IdMapping], groups: &[IdMapping]) -> IdMaps {
    let ranges = |mappings: &[IdMapping]| {
        let range = |one: &IdMapping| IdRange { inside: one.container_id, outside: one.host_id, size: one.size };
        mappings.iter().map(range).collect()
    };
    IdMaps { users: ranges(users), groups: ranges(groups) }
}

//! Files between a container and the host, by the rules of `docker cp`.

mod ids;
mod place;
mod volumes;

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, OFlags};
use strata_layer::dir::{self, Applier, Options, Whiteouts};
use strata_layer::pipeline::Packer;
use strata_layer::{Entry, LayerPath, LayerSink, tar, unpack};
use strata_store::records::ContainerRecord;
use strata_sys::failpoint;
use strata_sys::root_dir::RootDir;
use strata_types::ids::IdMaps;
use strata_types::mount::Access;
use strata_types::{ContainerId, Watch};

use super::export::TarSink;
use crate::container::{ContainerError, Known};
use crate::{Engine, Error, Result, events};

pub(super) use place::{Place, contents_only, resolve_last};

/// How to copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyWish {
    /// Copy what a symbolic link at the end of the source leads to, not the link.
    pub follow_link: bool,
    /// Into a container: files belong to the user the container runs as.
    pub archive: bool,
}

/// Who the copies belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Owner<'a> {
    /// Whom the originals belong to.
    Same,
    /// This one.
    Is(u32, u32),
    /// Whom the originals belong to inside, seen from outside.
    Inside(&'a IdMaps),
    /// Who stands outside for whom the originals belong to.
    Outside(&'a IdMaps),
}

impl Engine {
    /// Copies from a container to the host; says how many bytes of content that were.
    ///
    /// # Errors
    /// When there is nothing at the source, or it does not fit at the destination.
    pub fn copy_from(&self, name: &str, from: &Path, to: &Path, wish: CopyWish, watch: &dyn Watch) -> Result<u64> {
        let container = self.container(name)?;
        let source = Source::open(self.tree_of(&container, from)?, from, wish, &shown_in(name))?;
        self.record_event(events::of(&container, "archive-path"));
        let host = host_root()?;
        let place = Place::find(&host, to, &source.shape(), &|dir| ContainerError::NoOutput(dir.to_owned()))?;
        let own = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        source.copy(place, Owner::Is(own.0, own.1), watch)
    }

    /// Copies from the host into a container; says how many bytes of content that were.
    ///
    /// # Errors
    /// When there is nothing at the source, or it does not fit at the destination.
    pub fn copy_to(&self, name: &str, from: &Path, to: &Path, wish: CopyWish, watch: &dyn Watch) -> Result<u64> {
        let container = self.container(name)?;
        let source = Source::open(host_root()?, from, wish, &|path: &Path| {
            ContainerError::NoSource(path.display().to_string())
        })?;
        let root = self.writable_tree_of(&container)?;
        let place = Place::find(&root, &absolute(to), &source.shape(), &shown_in(name))?;
        self.record_event(events::of(&container, "extract-to-dir"));
        failpoint!("engine.cp.opened");
        let maps = self.ids_of_running(&container.record)?;
        let owner = match (if wish.archive { self.owner_in(&container.record, &root)? } else { Owner::Same }, &maps) {
            (Owner::Is(uid, gid), Some(maps)) => {
                let (uid, gid) = ids::outside(maps, (uid, gid));
                Owner::Is(uid, gid)
            }
            (_, Some(maps)) => Owner::Outside(maps),
            (owner, None) => owner,
        };
        let _as_root = ids::as_root_of(maps.as_ref())?;
        source.copy(place, owner, watch)
    }

    /// Writes what is at a path in a container as a tar.
    ///
    /// # Errors
    /// When there is nothing at the path.
    pub fn copy_out(
        &self,
        name: &str,
        from: &Path,
        target: &mut (dyn Write + Send),
        wish: CopyWish,
        watch: &dyn Watch,
    ) -> Result<()> {
        let container = self.container(name)?;
        let source = Source::open(self.tree_of(&container, from)?, from, wish, &shown_in(name))?;
        self.record_event(events::of(&container, "archive-path"));
        let top = if contents_only(from) { LayerPath::root() } else { source.own_name()? };
        let mut sink = TarSink(target);
        let mut packer = Packer::new(&mut sink);
        let maps = self.ids_of_running(&container.record)?;
        source.pack(&mut packer, &top, maps.as_ref().map_or(Owner::Same, Owner::Inside), watch)?;
        packer.finish()?;
        Ok(())
    }

    /// Unpacks a tar into a directory of a container.
    ///
    /// # Errors
    /// When the path is no directory, or the tar has something that is not allowed.
    pub fn copy_in(&self, name: &str, to: &Path, tar: &mut dyn Read, watch: &dyn Watch) -> Result<()> {
        let container = self.container(name)?;
        let root = self.writable_tree_of(&container)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let dir = root.open(&absolute(to), flags).map_err(|_| {
            ContainerError::Invalid(format!("destination \"{name}:{}\" must be a directory", to.display()))
        })?;
        self.record_event(events::of(&container, "extract-to-dir"));
        let maps = self.ids_of_running(&container.record)?;
        let _as_root = ids::as_root_of(maps.as_ref())?;
        let mut applier = Applier::new(dir, options())?;
        match &maps {
            None => unpack(tar, &mut applier, &tar::Limits::GENEROUS, watch)?,
            Some(maps) => {
                let mut sink = ids::Outside { sink: &mut applier, maps };
                unpack(tar, &mut sink, &tar::Limits::GENEROUS, watch)?
            }
        };
        Ok(applier.finish()?)
    }

    /// A container's files for reading, with what is mounted in it.
    fn tree_of(&self, known: &Known, path: &Path) -> Result<RootDir> {
        let container = &known.record;
        let state = self.process(&container.id).state()?;
        let is_root = path.components().all(|part| !matches!(part, std::path::Component::Normal(_)));
        // The whole tree is taken without /proc and its like.
        if state.status.is_alive() && !is_root {
            return self.running_root(&container.id, state.pid);
        }
        if !state.status.is_alive() && !known.document.mounts.is_empty() {
            // Something has to be there to be mounted on.
            return self.writable_tree_of(known);
        }
        let snapshots = self.snapshots()?;
        Ok(snapshots.open_root(&snapshots.plan(&container.id, Access::ReadOnly)?)?)
    }

    fn writable_tree_of(&self, known: &Known) -> Result<RootDir> {
        let container = &known.record;
        let state = self.process(&container.id).state()?;
        if state.status.is_alive() {
            return self.running_root(&container.id, state.pid);
        }
        let snapshots = self.snapshots()?;
        self.with_volumes(known, snapshots.open_root(&snapshots.plan(&container.id, Access::ReadWrite)?)?)
    }

    /// The root of a running container, as its first process sees it.
    fn running_root(&self, id: &ContainerId, pid: i32) -> Result<RootDir> {
        // What is open here may be read and written after the container has ended.
        strata_runtime::tell_joined(&self.settings().run_dir, id)?;
        RootDir::open_host(Path::new(&format!("/proc/{pid}/root")))
            .map_err(|source| Error::Read { what: "the container's filesystem".to_owned(), source })
    }

    /// The user a container runs as, by its own `/etc/passwd`.
    fn owner_in(&self, container: &ContainerRecord, root: &RootDir) -> Result<Owner<'static>> {
        let user = self.run_config(container)?.user;
        let name = user.split(':').next().unwrap_or_default();
        if name.is_empty() {
            return Ok(Owner::Same);
        }
        let passwd = root.read_to_string(Path::new("/etc/passwd"), PASSWD_BYTES_MAX);
        let passwd = passwd.map_err(|source| Error::Read { what: "the container's /etc/passwd".to_owned(), source })?;
        let found = passwd.as_deref().unwrap_or_default().lines().find_map(|line| {
            let fields: Vec<&str> = line.split(':').collect();
            let [this, _, uid, gid, ..] = fields.as_slice() else { return None };
            (*this == name || *uid == name).then(|| Some((uid.parse().ok()?, gid.parse().ok()?))).flatten()
        });
        Ok(match (found, name.parse()) {
            (Some((uid, gid)), _) => Owner::Is(uid, gid),
            (None, Ok(uid)) => Owner::Is(uid, 0),
            (None, Err(_)) => Owner::Same,
        })
    }
}

/// The largest `/etc/passwd` that is read.
const PASSWD_BYTES_MAX: u64 = 1 << 20;

/// What is copied.
struct Source {
    root: RootDir,
    /// With links at its end followed, if that was asked for.
    path: PathBuf,
    /// As it was typed.
    typed: PathBuf,
    kind: FileType,
}

impl Source {
    fn open(root: RootDir, typed: &Path, wish: CopyWish, missing: &dyn Fn(&Path) -> ContainerError) -> Result<Self> {
        let reading = |source| Error::Read { what: typed.display().to_string(), source };
        let mut path = absolute(typed);
        let wants_dir = place::ends_with_slash(typed) || contents_only(typed);
        if wish.follow_link || wants_dir {
            path = resolve_last(&root, &path).map_err(reading)?;
        }
        let stat = root.lstat(&path).map_err(reading)?.ok_or_else(|| missing(typed))?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        if wants_dir && kind != FileType::Directory {
            return Err(ContainerError::NotADirectory(typed.display().to_string()).into());
        }
        Ok(Self { root, path, typed: typed.to_owned(), kind })
    }

    fn shape(&self) -> place::Shape<'_> {
        place::Shape {
            is_dir: self.kind == FileType::Directory,
            name: self.typed.file_name().unwrap_or_else(|| OsStr::new("")),
            contents_only: contents_only(&self.typed) || self.typed.file_name().is_none(),
            typed: &self.typed,
        }
    }

    fn own_name(&self) -> Result<LayerPath> {
        let name = self.typed.file_name().map(OsStr::as_bytes).unwrap_or_default();
        if name.is_empty() { Ok(LayerPath::root()) } else { layer_path(name) }
    }

    fn copy(&self, place: Place, owner: Owner<'_>, watch: &dyn Watch) -> Result<u64> {
        let top = if place.name.is_empty() { LayerPath::root() } else { layer_path(&place.name)? };
        let mut applier = Counting { applier: Applier::new(place.dir, options())?, bytes: 0 };
        let mut packer = Packer::new(&mut applier);
        self.pack(&mut packer, &top, owner, watch)?;
        packer.finish()?;
        let Counting { applier, bytes } = applier;
        applier.finish()?;
        Ok(bytes)
    }

    /// Adds what is copied as `top`: a directory with all that is in it.
    fn pack(&self, packer: &mut Packer<'_>, top: &LayerPath, owner: Owner<'_>, watch: &dyn Watch) -> Result<()> {
        let opening = |source| Error::Read { what: self.typed.display().to_string(), source };
        let (parent, name) = match self.path.file_name() {
            Some(_) => self.root.parent(&self.path).map_err(opening)?,
            // A descriptor that is a place only has no extended attributes.
            None => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                (self.root.open(Path::new("."), flags).map_err(opening)?, OsStr::new(""))
            }
        };
        let own = if name.is_empty() { LayerPath::root() } else { layer_path(name.as_bytes())? };
        let entry = dir::entry_at(parent.as_fd(), &own)?;
        let entry = entry.ok_or_else(|| ContainerError::NoSource(self.typed.display().to_string()))?;
        let entry = rebased(&entry, top.clone(), owner);
        match self.kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK;
                let file = self.root.open(&self.path, flags).map_err(opening)?;
                packer.add(&entry, &mut FdReader(file.as_fd()))?;
            }
            FileType::Directory => {
                if !top.is_root() {
                    packer.add(&entry, &mut io::empty())?;
                }
                let flags = OFlags::RDONLY | OFlags::DIRECTORY;
                let tree = self.root.open(&self.path, flags).map_err(opening)?;
                pack_tree(packer, &tree, top, owner, watch)?;
            }
            _ => packer.add(&entry, &mut io::empty())?,
        }
        Ok(())
    }
}

fn pack_tree(
    packer: &mut Packer<'_>,
    tree: &OwnedFd,
    top: &LayerPath,
    owner: Owner<'_>,
    watch: &dyn Watch,
) -> Result<()> {
    let moved = |path: &LayerPath| -> strata_layer::Result<LayerPath> {
        let whole = [top.as_bytes(), b"/", path.as_bytes()].concat();
        LayerPath::parse(&whole).map_err(|source| strata_layer::Error::Path { entry: path.to_string(), source })
    };
    dir::walk(tree.as_fd(), &mut |entry, content| {
        if watch.cancelled() {
            return Err(strata_layer::Error::Cancelled);
        }
        let mut entry = rebased(entry, moved(&entry.path)?, owner);
        if let strata_layer::Kind::Hardlink { target } = &mut entry.kind {
            *target = moved(target)?;
        }
        match content {
            Some(fd) => packer.add(&entry, &mut FdReader(fd)),
            None => packer.add(&entry, &mut io::empty()),
        }
    })?;
    Ok(())
}

fn rebased(entry: &Entry, path: LayerPath, owner: Owner<'_>) -> Entry {
    let mut entry = Entry { path, ..entry.clone() };
    let before = (entry.uid, entry.gid);
    (entry.uid, entry.gid) = match owner {
        Owner::Same => before,
        Owner::Is(uid, gid) => (uid, gid),
        Owner::Inside(maps) => ids::inside(maps, before),
        Owner::Outside(maps) => ids::outside(maps, before),
    };
    entry
}

fn layer_path(name: &[u8]) -> Result<LayerPath> {
    let entry = String::from_utf8_lossy(name).into_owned();
    Ok(LayerPath::parse(name).map_err(|source| strata_layer::Error::Path { entry, source })?)
}

fn options() -> Options {
    Options { whiteouts: Whiteouts::Execute, power: dir::Power::here() }
}

fn host_root() -> Result<RootDir> {
    RootDir::open_host(Path::new("/")).map_err(|source| Error::Read { what: "/".to_owned(), source })
}

/// A path in a container is always seen from its root.
fn absolute(path: &Path) -> PathBuf {
    Path::new("/").join(path)
}

fn shown_in(container: &str) -> impl Fn(&Path) -> ContainerError {
    move |path| ContainerError::NoFile { path: path.to_owned(), container: container.to_owned() }
}

/// Reads what an open file has.
pub(crate) struct FdReader<'a>(pub(crate) BorrowedFd<'a>);

impl Read for FdReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(self.0, buffer)?)
    }
}

/// Counts bytes on their way to their place.
struct Counting {
    applier: Applier,
    bytes: u64,
}

impl LayerSink for Counting {
    fn bytes(&mut self, chunk: &[u8]) -> strata_layer::Result<()> {
        self.bytes += chunk.len() as u64;
        self.applier.bytes(chunk)
    }

    fn framing(&mut self, chunk: &[u8]) -> strata_layer::Result<()> {
        self.applier.framing(chunk)
    }

    fn entry(&mut self, entry: &Entry, data_offset: u64) -> strata_layer::Result<()> {
        failpoint!("engine.cp.entry");
        self.applier.entry(entry, data_offset)
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> strata_layer::Result<()> {
        self.applier.data(offset, chunk)
    }

    fn end(&mut self) -> strata_layer::Result<()> {
        self.applier.end()
    }
}

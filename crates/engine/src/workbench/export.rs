//! Trees as files outside the store.

use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::OFlags;
use strata_layer::dir::{self, Applier, Options, Power, Whiteouts};
use strata_layer::pipeline::{self, Packer};
use strata_layer::tar::Limits;
use strata_layer::{Entry, Kind, LayerPath, LayerSink, PathProblem, Time};
use strata_types::{Algorithm, DiffId, Digest, Hasher, Watch};

use super::Workbench;
use crate::container::{FdReader, TarSink};
use crate::{Error, Result};

/// How much of a file is read at once.
const CHUNK_BYTES: usize = 128 << 10;

/// A tree to be written.
#[derive(Clone, Debug)]
pub struct Tree<'a> {
    /// Its layers, the lowest first.
    pub layers: &'a [DiffId],
    /// The directory that it is put in; none if it is the whole.
    pub dir: Option<String>,
    /// Files that are put beside what is in the layers.
    pub files: Vec<TreeFile>,
    /// The time of what is not in the layers.
    pub time: Time,
}

/// A file beside a tree.
#[derive(Clone, Debug)]
pub struct TreeFile {
    /// Its name.
    pub name: String,
    /// What is in it.
    pub content: Vec<u8>,
}

/// Where trees are written.
pub enum TreeTarget<'a> {
    /// As a tar.
    Tar(&'a mut (dyn Write + Send)),
    /// As files in a directory that is there, all of them its owner's.
    Dir(&'a Path),
}

impl Workbench<'_> {
    /// Writes trees of layers.
    ///
    /// # Errors
    /// When one cannot be read or not be written.
    pub fn write_trees(&self, trees: &[Tree<'_>], to: TreeTarget<'_>, watch: &dyn Watch) -> Result<()> {
        match to {
            TreeTarget::Tar(target) => self.pack(trees, &mut TarSink(target), false, watch),
            TreeTarget::Dir(path) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let target = rustix::fs::open(path, flags, rustix::fs::Mode::empty());
                let target = target.map_err(|errno| failed(&path.display().to_string())(errno.into()))?;
                let options = Options { whiteouts: Whiteouts::Execute, power: Power::here() };
                let mut applier = Applier::new(target, options)?;
                self.pack(trees, &mut applier, true, watch)?;
                Ok(applier.finish()?)
            }
        }
    }

    fn pack(&self, trees: &[Tree<'_>], sink: &mut dyn LayerSink, is_ours: bool, watch: &dyn Watch) -> Result<()> {
        let mut packer = Packer::new(sink);
        let owner = match is_ours {
            true => Some((rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())),
            false => None,
        };
        for tree in trees {
            let root = self.open_tree(tree.layers)?;
            pack_one(&mut packer, tree, root.as_fd(), owner, watch)?;
        }
        packer.finish()?;
        Ok(())
    }

    fn open_tree(&self, layers: &[DiffId]) -> Result<OwnedFd> {
        let root = self.tree(layers)?;
        let root = root.open(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY);
        root.map_err(failed("the image's tree"))
    }

    /// The digests of all files of a tree, by their paths.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn file_digests(&self, layers: &[DiffId], watch: &dyn Watch) -> Result<Vec<(String, Digest)>> {
        let root = self.open_tree(layers)?;
        let mut digests = Vec::new();
        dir::walk(root.as_fd(), &mut |entry, content| {
            if watch.cancelled() {
                return Err(strata_layer::Error::Cancelled);
            }
            if let Some(file) = content {
                let digest = digest_of(file).map_err(strata_layer::Error::io("read a file of the image"))?;
                digests.push((String::from_utf8_lossy(entry.path.as_bytes()).into_owned(), digest));
            }
            Ok(())
        })?;
        Ok(digests)
    }
}

impl Workbench<'_> {
    /// Reads the exact tar of the uppermost of `layers`, taken apart.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read_layer(&self, layers: &[DiffId], sink: &mut dyn LayerSink, watch: &dyn Watch) -> Result<()> {
        let mut tar = self.engine.layer_tar(layers)?;
        pipeline::unpack(&mut tar.reader, sink, &Limits::GENEROUS, watch)?;
        Ok(())
    }
}

fn pack_one(
    packer: &mut Packer<'_>,
    tree: &Tree<'_>,
    root: BorrowedFd<'_>,
    owner: Option<(u32, u32)>,
    watch: &dyn Watch,
) -> Result<()> {
    let named = |problem: PathProblem| failed("the tree")(io::Error::other(problem));
    let below = match &tree.dir {
        Some(dir) => LayerPath::parse(dir.as_bytes()).map_err(named)?,
        None => LayerPath::root(),
    };
    let (uid, gid) = owner.unwrap_or_default();
    let own = |path, kind, mode| Entry { path, kind, mode, uid, gid, mtime: tree.time, xattrs: Vec::new() };
    if !below.is_root() {
        packer.add(&own(below.clone(), Kind::Dir, 0o755), &mut io::empty())?;
    }
    dir::walk(root, &mut |entry, content| {
        if watch.cancelled() {
            return Err(strata_layer::Error::Cancelled);
        }
        let entry = placed(entry, &below, owner)
            .map_err(|source| strata_layer::Error::Path { entry: entry.path.to_string(), source })?;
        match content {
            Some(fd) => packer.add(&entry, &mut FdReader(fd)),
            None => packer.add(&entry, &mut io::empty()),
        }
    })?;
    for file in &tree.files {
        let kind = Kind::File { size_bytes: file.content.len() as u64, sparse: None };
        let path = below.join(file.name.as_bytes()).map_err(named)?;
        packer.add(&own(path, kind, 0o600), &mut file.content.as_slice())?;
    }
    Ok(())
}

/// An entry below a directory, and its new owner's.
fn placed(entry: &Entry, below: &LayerPath, owner: Option<(u32, u32)>) -> Result<Entry, PathProblem> {
    let at = |path: &LayerPath| match below.is_root() {
        true => Ok(path.clone()),
        false => LayerPath::parse(&[below.as_bytes(), b"/", path.as_bytes()].concat()),
    };
    let mut placed = Entry { path: at(&entry.path)?, ..entry.clone() };
    if let Kind::Hardlink { target } = &mut placed.kind {
        *target = at(target)?;
    }
    if let Some((uid, gid)) = owner {
        (placed.uid, placed.gid) = (uid, gid);
    }
    Ok(placed)
}

fn digest_of(file: BorrowedFd<'_>) -> io::Result<Digest> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        match io::Read::read(&mut FdReader(file), &mut buffer)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}

fn failed(what: &str) -> impl Fn(io::Error) -> Error + use<> {
    let what = what.to_owned();
    move |source| Error::Read { what: what.clone(), source }
}

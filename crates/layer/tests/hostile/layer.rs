//! One layer in all its forms: its tar, its index, mounted, read, and as directories.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::mount::MountAttrFlags;
use strata_layer::dir::{Applier, Options, Power, Whiteouts, walk};
use strata_layer::erofs::{Builder, Part, Reader, merge};
use strata_layer::tar::Limits;
use strata_layer::whiteout::Namespace;
use strata_layer::{Device, Entry, Error, Kind, LayerPath, unpack};
use strata_testkit::host;
use strata_types::{Digest, ErrorClass, Silent};

use crate::mutate::Dice;

/// A tree as a list: entries with the digest of their content.
pub(crate) type Listing = Vec<(Entry, Option<Digest>)>;

/// Why a tar did not become a layer.
#[derive(Debug)]
pub(crate) struct Refused(Error);

impl Refused {
    /// The message says what is wrong with the tar, and it is the tar's fault.
    pub(crate) fn assert_in_words(&self) {
        let Self(error) = self;
        let is_a_limit_of_the_filesystem = matches!(error, Error::File { .. });
        assert!(error.class() != ErrorClass::Internal || is_a_limit_of_the_filesystem, "{error:?}");
        assert!(error.to_string().split_whitespace().count() > 3, "{error}");
    }
}

/// A layer's two files.
pub(crate) struct Layer {
    dir: tempfile::TempDir,
    tar_bytes: u64,
}

impl Layer {
    pub(crate) fn new(tar: &[u8]) -> Result<Self, Refused> {
        let mut builder = Builder::new(Namespace::Trusted);
        let unpacked = unpack(&mut &tar[..], &mut builder, &Limits::GENEROUS, &Silent).map_err(Refused)?;
        let image = builder.finish(unpacked.tar_bytes).map_err(Refused)?;
        // An image on a tmpfs is not mounted.
        let layer =
            Self { dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(), tar_bytes: unpacked.tar_bytes };
        std::fs::write(layer.tar(), tar).unwrap();
        image.write_to(&mut File::create(layer.index()).unwrap()).unwrap();
        Ok(layer)
    }

    pub(crate) fn tar(&self) -> PathBuf {
        self.dir.path().join("tar")
    }

    pub(crate) fn index(&self) -> PathBuf {
        self.dir.path().join("index.erofs")
    }

    pub(crate) fn part(&self) -> Part {
        Part { index: self.reader().unwrap(), tars: vec![self.tar_bytes] }
    }

    fn reader(&self) -> Result<Reader, Error> {
        Reader::open(File::open(self.index()).unwrap())
    }

    pub(crate) fn fsck(&self) {
        fsck(&self.index(), &[self.tar()]);
    }

    /// A mount that is in no tree.
    pub(crate) fn mount(&self) -> OwnedFd {
        mount(&self.index(), &[self.tar()])
    }

    pub(crate) fn mounted(&self) -> Listing {
        listing(self.mount())
    }

    /// What the reader sees, as the same list.
    pub(crate) fn read(&self) -> Listing {
        let (reader, tar) = (self.reader().unwrap(), File::open(self.tar()).unwrap());
        let mut lines = Vec::new();
        let mut seen: HashMap<u64, LayerPath> = HashMap::new();
        let walked = reader.walk(&mut |node| {
            let mut entry = node.entry.clone();
            let whiteout = entry.kind == Kind::Char(Device { major: 0, minor: 0 });
            if node.links > 1 && !entry.is_dir() && !whiteout {
                if let Some(target) = seen.get(&node.inode) {
                    (entry.kind, entry.xattrs) = (Kind::Hardlink { target: target.clone() }, Vec::new());
                }
                seen.entry(node.inode).or_insert_with(|| entry.path.clone());
            }
            let digest = match entry.is_file() {
                true => Some(digest(reader.content(node, vec![tar.as_fd()])?)),
                false => None,
            };
            if !entry.path.is_root() {
                assert_eq!(reader.lookup(&entry.path)?.as_ref(), Some(node));
                lines.push((entry, digest));
            }
            Ok(())
        });
        walked.unwrap();
        lines
    }

    /// Changes some bytes of the index, or its length.
    pub(crate) fn damage(&self, dice: &mut Dice) {
        let mut bytes = std::fs::read(self.index()).unwrap();
        for _ in 0..=dice.below(12) {
            // Most of all where the superblock and inodes are.
            let end = *dice.one(&[bytes.len(), 1300, 4096 + 800]);
            let at = dice.below(end.min(bytes.len()));
            bytes[at] = match dice.below(3) {
                0 => 0xff,
                1 => 0,
                _ => bytes[at] ^ 1 << dice.below(8),
            };
        }
        if dice.below(8) == 0 {
            bytes.truncate(dice.below(bytes.len()));
        }
        std::fs::write(self.index(), bytes).unwrap();
    }

    /// Asks everything that can be asked of an index.
    pub(crate) fn look_at_all(&self) {
        let Ok(reader) = self.reader() else { return };
        let tar = File::open(self.tar()).unwrap();
        let path = LayerPath::parse(b"odd/dir/sub/deep").unwrap();
        let _may_fail = (reader.lookup(&path).is_ok(), reader.list(&path).is_ok(), reader.fits(&[1]));
        // A damaged directory may be its own child, so that there is no end.
        let mut left = 2000;
        let _may_fail = reader.walk(&mut |node| {
            left -= 1;
            let stop = || Error::Cancelled;
            let pieces = reader.pieces(node)?;
            if let Ok(content) = reader.content(node, vec![tar.as_fd()]) {
                let _may_fail = content.take(1 << 16).read_to_end(&mut Vec::new());
            }
            (left > 0 && pieces.len() < 1 << 24).then_some(()).ok_or_else(stop)
        });
        let part = Part { index: reader, tars: vec![self.tar_bytes] };
        if left > 0 {
            let _may_fail = merge(&[part], Namespace::Trusted).map(|image| image.size_bytes());
        }
    }
}

pub(crate) fn mount(index: &Path, tars: &[PathBuf]) -> OwnedFd {
    let devices = tars.iter().map(|tar| format!("device={}", tar.display()));
    let options: Vec<String> = [format!("source={}", index.display())].into_iter().chain(devices).collect();
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    strata_sys::detached::filesystem("erofs", &options, MountAttrFlags::MOUNT_ATTR_RDONLY).unwrap()
}

pub(crate) fn fsck(index: &Path, tars: &[PathBuf]) {
    let (sound, said) = judge(index, tars);
    assert!(sound, "fsck.erofs: {said}");
}

/// What `fsck.erofs` says of an image, all contents read.
fn judge(index: &Path, tars: &[PathBuf]) -> (bool, String) {
    let mut command = Command::new(host::fsck_erofs().unwrap());
    command.args(tars.iter().map(|tar| format!("--device={}", tar.display()))).arg("--extract").arg(index);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    (output.status.success(), said)
}

/// The program takes our blocks of 512 bytes, and finds fault with what is at fault.
pub(crate) fn assert_fsck_judges(tar: &[u8]) {
    let layer = Layer::new(tar).unwrap();
    layer.fsck();
    let mut bytes = std::fs::read(layer.index()).unwrap();
    let root = 4096 + 32 * usize::from(u16::from_le_bytes([bytes[1038], bytes[1039]]));
    bytes[root + 5] ^= 0xf0;
    std::fs::write(layer.index(), bytes).unwrap();
    assert!(!judge(&layer.index(), &[layer.tar()]).0);
}

/// The directory that the same tar makes, by our hand.
pub(crate) fn applied(tar: &[u8], scratch: &Path) -> Result<Listing, Refused> {
    let dir = tempfile::tempdir_in(scratch).unwrap();
    let options = Options { whiteouts: Whiteouts::Overlay(Namespace::Trusted), power: Power::Root };
    let mut applier = Applier::new(File::open(dir.path()).unwrap().into(), options).unwrap();
    unpack(&mut &tar[..], &mut applier, &Limits::GENEROUS, &Silent).map_err(Refused)?;
    applier.finish().map_err(Refused)?;
    Ok(listing(File::open(dir.path()).unwrap()))
}

/// The directory that GNU tar makes, if it does so without a word, and the tar says nothing of layers below.
///
/// For it the whole machine but the directory is read-only.
pub(crate) fn by_gnu_tar(tar: &[u8], scratch: &Path) -> Option<Listing> {
    let blocks = || tar.chunks_exact(512);
    let has = |needle: &[u8]| tar.windows(needle.len()).any(|window| window == needle);
    // Docker and we take what is called a file for one, whatever its name ends with, and let no header rename all.
    let ends_with_a_slash = |block: &[u8]| {
        let name = block[..100].split(|&byte| byte == 0).next().unwrap_or_default();
        b"07".contains(&block[156]) && name.ends_with(b"/")
    };
    let has_a_long_name = has(b"././@LongLink\0") && has(b"n/n/\0");
    // What it is told of holes in front of anything but a file, it keeps in mind for the next file.
    let misplaced = |at: usize| {
        let behind = tar[at * 512..].chunks_exact(512).skip(1).find(|block| block.starts_with(b"odd/"));
        tar[at * 512..][..512].windows(11).any(|text| text == b"GNU.sparse.")
            && behind.is_none_or(|block| block[156] != b'0')
    };
    if (0..tar.len() / 512).any(misplaced) {
        return None;
    }
    if has(b".wh.") || has_a_long_name || blocks().any(|block| block[156] == b'g' || ends_with_a_slash(block)) {
        return None;
    }
    let dir = tempfile::tempdir_in(scratch).unwrap();
    let (target, archive) = (dir.path().join("tree"), dir.path().join("tar"));
    std::fs::create_dir(&target).unwrap();
    std::fs::write(&archive, tar).unwrap();
    let script = "mount -o remount,bind,ro / && exec tar --extract --numeric-owner --same-owner --preserve-permissions \
                  --delay-directory-restore --xattrs --xattrs-include='*' --file \"$1\" --directory \"$2\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"]).arg(&archive).arg(&target);
    let output = command.env("LC_ALL", "C").output().unwrap();
    (output.status.success() && output.stderr.is_empty()).then(|| listing(File::open(&target).unwrap()))
}

/// What GNU tar and we agree on: it gives directories that nobody describes the time of their making, and knows nothing of
/// attributes that no layer may have.
pub(crate) fn as_tar_sees(tree: Listing) -> Listing {
    let plain = |(entry, digest): (Entry, Option<Digest>)| {
        let mtime = if entry.is_dir() { Default::default() } else { entry.mtime };
        (Entry { xattrs: Vec::new(), mtime, ..entry }, digest)
    };
    tree.into_iter().map(plain).collect()
}

pub(crate) fn listing(root: impl AsFd) -> Listing {
    let mut lines = Vec::new();
    let walked = walk(root.as_fd(), &mut |entry, content| {
        let digest = content.map(|fd| digest(File::from(fd.try_clone_to_owned().unwrap())));
        lines.push((entry.clone(), digest));
        Ok(())
    });
    walked.unwrap();
    lines
}

/// Of the beginning: a file may be said to have an exabyte of holes.
fn digest(content: impl Read) -> Digest {
    const BYTES_MAX: u64 = 8 << 20;
    let mut bytes = Vec::new();
    content.take(BYTES_MAX).read_to_end(&mut bytes).unwrap();
    Digest::sha256(&bytes)
}

pub(crate) fn assert_same(actual: &Listing, expected: &Listing, how: &str) {
    for (actual, expected) in actual.iter().zip(expected) {
        assert_eq!(actual, expected, "{how}");
    }
    let names = |listing: &Listing| listing.iter().map(|(entry, _)| entry.path.clone()).collect::<Vec<_>>();
    assert_eq!(names(actual), names(expected), "{how}");
}

//! An index looked into without mounting it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;

use super::format::*;
use super::holes::{Chunk, Holes, chunk_bytes};
use super::tree::{self, Tree};
use crate::whiteout::Namespace;
use crate::{Device, Entry, Error, Extent, Kind, LayerPath, Result, Time, Xattr};

/// How deep [`Reader::walk`] goes: no path is deeper.
const DEPTH_MAX: usize = 2048;
/// The longest attributes of one inode.
const XATTRS_BYTES_MAX: usize = u16::MAX as usize * 4 + XATTR_HEADER_BYTES;

/// Looks into an index without mounting it. Reads only what is asked for; trusts nothing in the image.
#[derive(Debug)]
pub struct Reader {
    file: File,
    size_bytes: u64,
    root: u64,
    /// The tars in the numbering of blocks that spans all devices.
    tars: Vec<std::ops::Range<u64>>,
}

/// A thing in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it is; whiteouts are character devices 0:0. Further names of a file are the file again, and where its holes
    /// are is left to [`Reader::pieces`].
    pub entry: Entry,
    /// The same for all names of one file.
    pub inode: u64,
    /// How many names it has.
    pub links: u32,
    body: Body,
}

/// Where an inode's content is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Body {
    layout: u16,
    pointer: u32,
    size: u64,
    /// What follows the inode and its attributes.
    tail: u64,
}

/// A piece of a file's content; what lies between pieces is a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which part of the file.
    pub extent: Extent,
    /// Where it lies.
    pub place: Place,
}

/// A place of content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At this byte of a tar.
    Tar {
        /// Which: the layer's own is 0, its lenders' follow.
        tar: u16,
        /// Where in it.
        at: u64,
    },
    /// At this byte of the index itself.
    Index(u64),
}

const fn damaged(problem: &'static str) -> Error {
    Error::Damaged { what: "layer index", problem }
}

impl Reader {
    /// Opens the index in `file`.
    pub fn open(file: File) -> Result<Self> {
        let size_bytes = file.metadata().map_err(Error::io("open the layer's index"))?.len();
        let mut reader = Self { file, size_bytes, root: 0, tars: Vec::new() };
        let super_block = reader.read(SUPER_OFFSET as u64, SUPER_BYTES)?;
        if number(&super_block, 0, 4) != u64::from(MAGIC) {
            return Err(damaged("it is not an EROFS image"));
        }
        let features = number(&super_block, 80, 4);
        if super_block[12] != BLOCK_BITS || features != u64::from(INCOMPAT_CHUNKED | INCOMPAT_DEVICES) {
            return Err(damaged("it was not made by this program"));
        }
        if number(&super_block, 40, 4) != u64::from(META_BLOCK) || number(&super_block, 88, 2) != u64::from(DEVICE_SLOT)
        {
            return Err(damaged("its parts are not where they should be"));
        }
        let count = number(&super_block, 86, 2) as usize;
        let slots = reader.read((SUPER_OFFSET + SUPER_BYTES) as u64, count * DEVICE_SLOT_BYTES)?;
        let span = |slot: &[u8]| number(slot, 68, 4)..number(slot, 68, 4) + number(slot, 64, 4);
        reader.tars = slots.chunks_exact(DEVICE_SLOT_BYTES).map(span).collect();
        reader.root = number(&super_block, 14, 2);
        Ok(reader)
    }

    /// Whether the tars are as many and as long as the index says.
    pub fn fits(&self, tars: &[u64]) -> bool {
        let blocks = tars.iter().map(|bytes| bytes.div_ceil(BLOCK_BYTES as u64));
        blocks.eq(self.tars.iter().map(|span| span.end - span.start))
    }

    /// The root directory.
    pub(super) fn root(&self) -> Result<Node> {
        self.node(self.root, LayerPath::root())
    }

    /// Whether the layer hides everything below its root. Overlayfs does not look for that mark on a root: whoever stacks
    /// layers has to leave out those below.
    pub fn root_is_opaque(&self, namespace: Namespace) -> Result<bool> {
        let mark = namespace.opaque();
        Ok(self.root()?.entry.xattr(&mark.name) == Some(&mark.value))
    }

    /// What is at `path`, not following symbolic links.
    pub fn lookup(&self, path: &LayerPath) -> Result<Option<Node>> {
        let mut node = self.root()?;
        for name in path.components() {
            if !node.entry.is_dir() {
                return Ok(None);
            }
            let Some(inode) = self.find(&node, name)? else { return Ok(None) };
            let path = join(&node.entry.path, name)?;
            node = self.node(inode, path)?;
        }
        Ok(Some(node))
    }

    /// The entries of the directory at `path`, sorted by name; `None` if there is no such directory.
    pub fn list(&self, path: &LayerPath) -> Result<Option<Vec<Node>>> {
        match self.lookup(path)? {
            Some(node) if node.entry.is_dir() => self.children(&node).map(Some),
            _ => Ok(None),
        }
    }

    /// Visits everything, each directory before what is in it, sorted by name, the root first.
    pub fn walk(&self, visit: &mut dyn FnMut(&Node) -> Result<()>) -> Result<()> {
        let mut todo = vec![self.root()?];
        while let Some(node) = todo.pop() {
            visit(&node)?;
            if node.entry.is_dir() {
                if node.entry.path.components().count() >= DEPTH_MAX {
                    return Err(damaged("its directories are too deep"));
                }
                todo.extend(self.children(&node)?.into_iter().rev());
            }
        }
        Ok(())
    }

    /// Where the content of a file lies, ascending.
    pub fn pieces(&self, node: &Node) -> Result<Vec<Piece>> {
        let Kind::File { size_bytes: size, .. } = node.entry.kind else { return Ok(Vec::new()) };
        if size == 0 {
            return Ok(Vec::new());
        }
        if node.body.layout != LAYOUT_CHUNKS {
            let place = self.place(node.body.pointer.into())?;
            return Ok(vec![Piece { extent: Extent { offset: 0, length: size }, place }]);
        }
        let bytes = chunk_bytes(node.body.pointer & CHUNK_BITS_MAX);
        let mut pieces: Vec<Piece> = Vec::new();
        for (chunk, place) in self.chunks(&node.body)? {
            let offset = chunk * bytes;
            push_piece(&mut pieces, Piece { extent: Extent { offset, length: bytes.min(size - offset) }, place });
        }
        Ok(pieces)
    }

    /// The chunks of a file's map that are no holes.
    fn chunks(&self, body: &Body) -> Result<Vec<(u64, Place)>> {
        let bytes = chunk_bytes(body.pointer & CHUNK_BITS_MAX);
        let start = body.tail.next_multiple_of(CHUNK_INDEX_BYTES as u64);
        let length = usize::try_from(body.size.div_ceil(bytes) * CHUNK_INDEX_BYTES as u64);
        let map = self.read(start, length.map_err(|_| damaged("a map is too long"))?)?;
        let place = |(chunk, index): (u64, &[u8])| {
            let (device, block) = (number(index, 2, 2), number(index, 4, 4));
            let at = block << BLOCK_BITS;
            let place = match (device as u16).checked_sub(TAR_DEVICE) {
                Some(tar) => Place::Tar { tar, at },
                None => Place::Index(at),
            };
            (block != u64::from(NO_BLOCK)).then_some((chunk, place))
        };
        Ok((0..).zip(map.chunks_exact(CHUNK_INDEX_BYTES)).filter_map(place).collect())
    }

    /// A file as another tree is to have it, in which this layer's first tar has the number `first`.
    pub(super) fn body(&self, node: &Node, first: u16, tree: &mut Tree) -> Result<tree::Body> {
        let size = node.body.size;
        if node.body.layout != LAYOUT_CHUNKS {
            let nowhere = Place::Tar { tar: 0, at: 0 };
            let place = if size == 0 { nowhere } else { self.place(node.body.pointer.into())? };
            let Place::Tar { tar, at: tar_offset } = place else { return Err(damaged("a file is not in a tar")) };
            return Ok(tree::Body::File { size, tar: first + tar, tar_offset });
        }
        let chunk_bits = node.body.pointer & CHUNK_BITS_MAX;
        let mut holes = Holes { size, chunk_bits, chunks: BTreeMap::new(), copied: Vec::new() };
        let bytes = usize::try_from(chunk_bytes(chunk_bits)).map_err(|_| damaged("a chunk is too long"))?;
        for (chunk, place) in self.chunks(&node.body)? {
            holes.chunks.insert(
                chunk,
                match place {
                    Place::Tar { tar, at } => Chunk::Tar { tar: first + tar, block: at >> BLOCK_BITS },
                    Place::Index(at) => {
                        holes.copied.extend(self.read(at, bytes)?);
                        Chunk::Copied(holes.copied.len() - bytes)
                    }
                },
            );
        }
        tree.with_holes(holes, &node.entry)
    }

    /// Opens the content of a file of a layer with these tars.
    pub fn content<'a>(&'a self, node: &Node, tars: Vec<BorrowedFd<'a>>) -> Result<Content<'a>> {
        let Kind::File { size_bytes, .. } = node.entry.kind else { return Err(damaged("not a file")) };
        let mut pieces = self.pieces(node)?;
        pieces.reverse();
        Ok(Content { index: &self.file, tars, pieces, offset: 0, size_bytes })
    }

    /// The byte at which a block of the numbering that spans all devices lies.
    fn place(&self, block: u64) -> Result<Place> {
        let number = self.tars.partition_point(|span| span.end <= block);
        if let Some(span) = self.tars.get(number).filter(|span| span.contains(&block)) {
            return Ok(Place::Tar { tar: number as u16, at: (block - span.start) << BLOCK_BITS });
        }
        if self.tars.first().is_none_or(|first| block < first.start) {
            Ok(Place::Index(block << BLOCK_BITS))
        } else {
            Err(damaged("a block is nowhere"))
        }
    }

    fn node(&self, inode: u64, path: LayerPath) -> Result<Node> {
        let at = inode.checked_mul(SLOT_BYTES as u64).and_then(|at| at.checked_add(4096));
        let at = at.ok_or(damaged("an inode is nowhere"))?;
        let raw = self.read(at, INODE_BYTES)?;
        let format = number(&raw, 0, 2) as u16;
        if format & 1 != INODE_EXTENDED {
            return Err(damaged("an inode is of another kind"));
        }
        let xattr_bytes = match number(&raw, 2, 2) as usize {
            0 => 0,
            count => XATTR_HEADER_BYTES + (count - 1) * 4,
        };
        let xattrs = self.xattrs(at + INODE_BYTES as u64, xattr_bytes)?;
        let (mode, size, pointer) = (number(&raw, 4, 2) as u16, number(&raw, 8, 8), number(&raw, 16, 4) as u32);
        let tail = at + (INODE_BYTES + xattr_bytes) as u64;
        let body = Body { layout: format >> 1 & 7, pointer, size, tail };
        let (major, minor) = decode_device(pointer);
        let kind = match mode & S_IFMT {
            S_IFREG => Kind::File { size_bytes: size, sparse: None },
            S_IFDIR => Kind::Dir,
            S_IFLNK => Kind::Symlink { target: self.inline(body)? },
            S_IFCHR => Kind::Char(Device { major, minor }),
            S_IFBLK => Kind::Block(Device { major, minor }),
            S_IFIFO => Kind::Fifo,
            _ => return Err(damaged("an inode has no kind")),
        };
        let mtime = Time { seconds: number(&raw, 32, 8) as i64, nanoseconds: number(&raw, 40, 4) as u32 };
        let (uid, gid) = (number(&raw, 24, 4) as u32, number(&raw, 28, 4) as u32);
        let entry = Entry { path, kind, mode: mode & 0o7777, uid, gid, mtime, xattrs };
        Ok(Node { entry, inode, links: number(&raw, 44, 4) as u32, body })
    }

    fn xattrs(&self, at: u64, length: usize) -> Result<Vec<Xattr>> {
        const CUT: Error = damaged("attributes are cut off");
        if length == 0 {
            return Ok(Vec::new());
        }
        if length > XATTRS_BYTES_MAX {
            return Err(CUT);
        }
        let area = self.read(at, length)?;
        let mut rest = area.get(XATTR_HEADER_BYTES..).ok_or(CUT)?;
        let mut xattrs = Vec::new();
        while rest.len() >= 4 {
            let (name_length, index, value_length) = (usize::from(rest[0]), rest[1], number(rest, 2, 2) as usize);
            let name = rest.get(4..4 + name_length).ok_or(CUT)?;
            let value = rest.get(4 + name_length..4 + name_length + value_length).ok_or(CUT)?;
            let name = join_xattr(index, name).ok_or(damaged("an attribute has no namespace"))?;
            xattrs.push(Xattr { name, value: value.to_vec() });
            let used = (4 + name_length + value_length).next_multiple_of(4);
            rest = rest.get(used..).unwrap_or_default();
        }
        xattrs.sort();
        Ok(xattrs)
    }

    /// The content of a directory or a symbolic link.
    fn inline(&self, body: Body) -> Result<Vec<u8>> {
        if body.size > self.size_bytes {
            return Err(damaged("a directory is larger than the image"));
        }
        let size = body.size as usize;
        let block_at = u64::from(body.pointer) << BLOCK_BITS;
        if body.layout != LAYOUT_INLINE {
            return self.read(block_at, size);
        }
        let whole = size.saturating_sub(1) / BLOCK_BYTES * BLOCK_BYTES;
        let mut content = if whole > 0 { self.read(block_at, whole)? } else { Vec::new() };
        content.extend(self.read(body.tail, size - whole)?);
        Ok(content)
    }

    pub(super) fn children(&self, dir: &Node) -> Result<Vec<Node>> {
        let content = self.inline(dir.body)?;
        let mut nodes = Vec::new();
        for block in content.chunks(BLOCK_BYTES) {
            for line in lines(block) {
                let (name, inode) = line?;
                if name != b"." && name != b".." {
                    nodes.push(self.node(inode, join(&dir.entry.path, name)?)?);
                }
            }
        }
        Ok(nodes)
    }

    fn find(&self, dir: &Node, wanted: &[u8]) -> Result<Option<u64>> {
        let content = self.inline(dir.body)?;
        let blocks: Vec<&[u8]> = content.chunks(BLOCK_BYTES).collect();
        // Names are sorted through all blocks: the block is the last one whose first name is not beyond.
        let beyond = blocks
            .partition_point(|block| lines(block).next().and_then(Result::ok).is_some_and(|(name, _)| name <= wanted));
        let Some(block) = beyond.checked_sub(1).map(|last| blocks[last]) else { return Ok(None) };
        for line in lines(block) {
            let (name, inode) = line?;
            if name == wanted {
                return Ok(Some(inode));
            }
        }
        Ok(None)
    }

    fn read(&self, at: u64, length: usize) -> Result<Vec<u8>> {
        if at.checked_add(length as u64).is_none_or(|end| end > self.size_bytes) {
            return Err(damaged("it points beyond its end"));
        }
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, at).map_err(Error::io("read the layer's index"))?;
        Ok(bytes)
    }
}

/// The lines of one block of a directory.
fn lines(block: &[u8]) -> impl Iterator<Item = Result<(&[u8], u64)>> {
    const CUT: Error = damaged("a directory is cut off");
    let names_at = if block.len() < DIRENT_BYTES { 0 } else { number(block, 8, 2) as usize };
    let count = names_at / DIRENT_BYTES;
    (0..count).map(move |index| {
        let line = block.get(index * DIRENT_BYTES..(index + 1) * DIRENT_BYTES).ok_or(CUT)?;
        let start = number(line, 8, 2) as usize;
        let end = if index + 1 < count {
            let next = block.get((index + 1) * DIRENT_BYTES..(index + 2) * DIRENT_BYTES).ok_or(CUT)?;
            number(next, 8, 2) as usize
        } else {
            block.len()
        };
        let name = block.get(start..end).ok_or(CUT)?;
        let name = &name[..name.iter().position(|&byte| byte == 0).unwrap_or(name.len())];
        Ok((name, number(line, 0, 8)))
    })
}

fn join(dir: &LayerPath, name: &[u8]) -> Result<LayerPath> {
    dir.join(name).map_err(|_| damaged("a name is malformed"))
}

/// A little-endian number; callers have checked the length.
fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte))
}

/// Adds a piece, to the one before if it goes on where that ends.
fn push_piece(pieces: &mut Vec<Piece>, piece: Piece) {
    if let Some(last) = pieces.last_mut() {
        let follows = match (last.place, piece.place) {
            (Place::Tar { tar: one, at: a }, Place::Tar { tar: other, at: b }) => {
                one == other && a + last.extent.length == b
            }
            (Place::Index(a), Place::Index(b)) => a + last.extent.length == b,
            _ => false,
        };
        if follows && last.extent.offset + last.extent.length == piece.extent.offset {
            last.extent.length += piece.extent.length;
            return;
        }
    }
    pieces.push(piece);
}

/// The content of a file, from beginning to end.
#[derive(Debug)]
pub struct Content<'a> {
    index: &'a File,
    tars: Vec<BorrowedFd<'a>>,
    /// The next one last.
    pieces: Vec<Piece>,
    offset: u64,
    size_bytes: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len();
        let wanted = |length: u64| room.min(usize::try_from(length).unwrap_or(usize::MAX));
        let next = self.pieces.last().copied();
        let hole_end = next.map_or(self.size_bytes, |piece| piece.extent.offset);
        if self.offset < hole_end {
            let count = wanted(hole_end - self.offset);
            buffer[..count].fill(0);
            self.offset += count as u64;
            return Ok(count);
        }
        let Some(piece) = next else { return Ok(0) };
        let within = self.offset - piece.extent.offset;
        let target = &mut buffer[..wanted(piece.extent.length - within)];
        let count = match piece.place {
            Place::Tar { tar, at } => {
                let tar = self.tars.get(usize::from(tar)).ok_or(io::ErrorKind::NotFound)?;
                rustix::io::pread(tar, &mut *target, at + within)?
            }
            Place::Index(at) => self.index.read_at(target, at + within)?,
        };
        if count == 0 && !target.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the layer's tar is cut off"));
        }
        self.offset += count as u64;
        if self.offset == piece.extent.offset + piece.extent.length {
            self.pieces.pop();
        }
        Ok(count)
    }
}

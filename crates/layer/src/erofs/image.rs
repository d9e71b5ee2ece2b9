//! The image, laid out in one pass over the tree and written in another.

use std::io::Write;

use strata_types::Digest;

use super::dirent::{self, Line};
use super::format::*;
use super::holes::{Chunk, Holes};
use super::tree::{Body, Node, NodeId, ROOT, Tree};
use crate::whiteout::Namespace;
use crate::{Error, Result, Xattr};

/// A finished index.
pub struct Image {
    bytes: Vec<u8>,
}

/// Where an inode goes, and what goes with it.
struct Plan<'a> {
    node: NodeId,
    /// Its place among the inodes.
    offset: usize,
    xattrs: Vec<u8>,
    layout: u16,
    size: u64,
    /// The blocks of a directory.
    blocks: Vec<Vec<Line<'a, NodeId>>>,
}

/// Inodes in the order of a walk, with all that has to be known before one of them can be written.
struct Layout<'a> {
    tree: &'a Tree,
    plans: Vec<Plan<'a>>,
    /// The number of each node's inode.
    numbers: Vec<u64>,
    links: Vec<u32>,
    /// Bytes of inodes so far.
    end: usize,
    /// Where inodes begin.
    meta_block: u32,
}

impl Image {
    /// Writes it.
    pub fn write_to(&self, target: &mut dyn Write) -> Result<()> {
        target.write_all(&self.bytes).map_err(Error::io("write the layer's index"))
    }

    /// How large it is.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Lays out a tree whose files lie in tars of so many bytes.
    pub(super) fn new(tree: &Tree, namespace: Namespace, tars: &[u64]) -> Result<Self> {
        let layout = Layout::new(tree, namespace, tars.len());
        let meta_bytes = layout.end.next_multiple_of(BLOCK_BYTES);
        let meta_at = layout.meta_block as usize * BLOCK_BYTES;
        let first_block = layout.meta_block as usize + meta_bytes / BLOCK_BYTES;
        let image_blocks = first_block + layout.plans.iter().map(|plan| plan.own_blocks(tree)).sum::<usize>();
        let devices = devices(image_blocks, tars).ok_or_else(|| Error::Limit {
            entry: "/".to_owned(),
            what: "the size of the layer",
            limit: 1 << 41,
        })?;

        let mut bytes = vec![0; meta_at];
        bytes.reserve_exact(image_blocks * BLOCK_BYTES - meta_at);
        bytes.resize(bytes.len() + meta_bytes, 0);
        let mut writer = Writer { layout: &layout, bytes, devices: &devices };
        for index in 0..layout.plans.len() {
            writer.inode(index);
        }
        let mut bytes = writer.bytes;
        debug_assert_eq!(bytes.len(), image_blocks * BLOCK_BYTES);
        superblock(&mut bytes, &layout, image_blocks as u32, &devices);
        Ok(Self { bytes })
    }
}

/// A tar in the numbering of blocks that spans the image and all tars.
struct Span {
    first: u32,
    blocks: u32,
}

/// Where each tar begins; none if they are too large together. The last number stands for holes.
fn devices(image_blocks: usize, tars: &[u64]) -> Option<Vec<Span>> {
    let mut next = u32::try_from(image_blocks).ok()?;
    let span = |tar_bytes: &u64| {
        let blocks = u32::try_from(tar_bytes.div_ceil(BLOCK_BYTES as u64)).ok()?;
        let first = next;
        next = first.checked_add(blocks).filter(|&end| end < NO_BLOCK)?;
        Some(Span { first, blocks })
    };
    tars.iter().map(span).collect()
}

impl<'a> Layout<'a> {
    fn new(tree: &'a Tree, namespace: Namespace, tars: usize) -> Self {
        let count = tree.nodes.len();
        // The number 0 is left out: programs take it for none.
        let mut layout = Self {
            tree,
            plans: Vec::new(),
            numbers: vec![0; count],
            links: vec![0; count],
            end: SLOT_BYTES,
            meta_block: meta_block(tars),
        };
        let mut todo = vec![(ROOT, ROOT)];
        while let Some((node, parent)) = todo.pop() {
            let Some(dir) = tree.dir(node) else {
                layout.links[node] += 1;
                if layout.links[node] == 1 {
                    layout.place(node, parent, namespace);
                }
                continue;
            };
            let subdirs = dir.children.values().filter(|&&child| tree.dir(child).is_some()).count();
            layout.links[node] = 2 + subdirs as u32;
            layout.place(node, parent, namespace);
            todo.extend(dir.children.values().rev().map(|&child| (child, node)));
        }
        layout
    }

    fn place(&mut self, id: NodeId, parent: NodeId, namespace: Namespace) {
        let node = &self.tree.nodes[id];
        let opaque = self.tree.dir(id).is_some_and(|dir| dir.opaque).then(|| namespace.opaque());
        let xattrs = encode_xattrs(node.xattrs.iter().chain(&opaque));
        let mut plan = Plan { node: id, offset: 0, xattrs, layout: LAYOUT_PLAIN, size: 0, blocks: Vec::new() };
        let head = INODE_BYTES + plan.xattrs.len();
        let mut tail = 0;
        match &node.body {
            Body::Dir(dir) => {
                let mut lines = Vec::with_capacity(dir.children.len() + 2);
                lines.push(Line { name: b".", target: id });
                lines.push(Line { name: b"..", target: parent });
                lines.extend(dir.children.iter().map(|(name, &target)| Line { name, target }));
                plan.blocks = dirent::blocks(lines);
                tail = plan.blocks.last().map_or(0, |block| dirent::used(block));
                plan.size = ((plan.blocks.len() - 1) * BLOCK_BYTES + tail) as u64;
            }
            Body::Symlink(target) => {
                plan.size = target.len() as u64;
                tail = target.len();
            }
            Body::File { size, .. } => plan.size = *size,
            Body::Sparse(holes) => {
                plan.size = holes.size;
                plan.layout = LAYOUT_CHUNKS;
            }
            Body::Char(_) | Body::Block(_) | Body::Fifo | Body::Whiteout => {}
        }
        let mut offset = self.end.next_multiple_of(SLOT_BYTES);
        let mut end = offset + head;
        // A tail must not cross a block's end; as xattrs move it, not every tail fits at once.
        let start_of = |offset: usize| (offset + head) % BLOCK_BYTES;
        let places = (0..BLOCK_BYTES / SLOT_BYTES).map(|slot| offset + slot * SLOT_BYTES);
        if tail > 0
            && let Some(place) = { places }.find(|&place| start_of(place) + tail <= BLOCK_BYTES)
        {
            offset = place;
            end = offset + head + tail;
            plan.layout = LAYOUT_INLINE;
        } else if let Body::Sparse(holes) = &node.body {
            end = map_offset(offset, head) + holes.count() as usize * CHUNK_INDEX_BYTES;
        }
        plan.offset = offset;
        self.end = end;
        self.numbers[id] = (offset / SLOT_BYTES) as u64;
        self.plans.push(plan);
    }
}

/// Where the map of chunks begins.
fn map_offset(offset: usize, head: usize) -> usize {
    (offset + head).next_multiple_of(CHUNK_INDEX_BYTES)
}

impl Plan<'_> {
    /// How many blocks of its own it takes behind the inodes.
    fn own_blocks(&self, tree: &Tree) -> usize {
        match &tree.nodes[self.node].body {
            Body::Dir(_) => self.blocks.len() - usize::from(self.layout == LAYOUT_INLINE),
            Body::Symlink(target) if self.layout == LAYOUT_PLAIN => target.len().div_ceil(BLOCK_BYTES),
            Body::Sparse(holes) => holes.copied.len() / BLOCK_BYTES,
            _ => 0,
        }
    }
}

struct Writer<'a> {
    layout: &'a Layout<'a>,
    bytes: Vec<u8>,
    devices: &'a [Span],
}

impl Writer<'_> {
    fn inode(&mut self, index: usize) {
        let layout = self.layout;
        let plan = &layout.plans[index];
        let node = &layout.tree.nodes[plan.node];
        let own_block = (self.bytes.len() / BLOCK_BYTES) as u32;
        let tail = self.append_blocks(plan, node);
        let pointer = match &node.body {
            Body::File { size: 0, .. } | Body::Fifo | Body::Whiteout => 0,
            Body::File { tar, tar_offset, .. } => {
                self.devices[usize::from(*tar)].first + (tar_offset >> BLOCK_BITS) as u32
            }
            Body::Sparse(holes) => CHUNK_INDEXES | holes.chunk_bits,
            Body::Char(device) | Body::Block(device) => encode_device(device.major, device.minor),
            Body::Dir(_) | Body::Symlink(_) => own_block,
        };
        let at = layout.meta_block as usize * BLOCK_BYTES + plan.offset;
        let xattr_count = if plan.xattrs.is_empty() { 0 } else { (plan.xattrs.len() - XATTR_HEADER_BYTES) / 4 + 1 };
        let mut inode = Vec::with_capacity(INODE_BYTES);
        inode.extend_from_slice(&(plan.layout << 1 | INODE_EXTENDED).to_le_bytes());
        inode.extend_from_slice(&(xattr_count as u16).to_le_bytes());
        inode.extend_from_slice(&mode(node).to_le_bytes());
        inode.extend_from_slice(&[0; 2]);
        inode.extend_from_slice(&plan.size.to_le_bytes());
        inode.extend_from_slice(&pointer.to_le_bytes());
        inode.extend_from_slice(&(index as u32 + 1).to_le_bytes());
        inode.extend_from_slice(&node.uid.to_le_bytes());
        inode.extend_from_slice(&node.gid.to_le_bytes());
        inode.extend_from_slice(&node.mtime.seconds.to_le_bytes());
        inode.extend_from_slice(&node.mtime.nanoseconds.to_le_bytes());
        inode.extend_from_slice(&layout.links[plan.node].to_le_bytes());
        inode.resize(INODE_BYTES, 0);
        inode.extend_from_slice(&plan.xattrs);
        inode.extend_from_slice(&tail);
        self.bytes[at..at + inode.len()].copy_from_slice(&inode);
        if let Body::Sparse(holes) = &node.body {
            self.map(holes, map_offset(at, INODE_BYTES + plan.xattrs.len()), own_block);
        }
    }

    /// Appends what lies in blocks of its own, and gives back what lies behind the inode.
    fn append_blocks(&mut self, plan: &Plan<'_>, node: &Node) -> Vec<u8> {
        let inline = plan.layout == LAYOUT_INLINE;
        match &node.body {
            Body::Dir(_) => {
                let layout = self.layout;
                let resolve = |target: NodeId| (layout.numbers[target], dirent_type(mode(&layout.tree.nodes[target])));
                let mut tail = Vec::new();
                for (index, block) in plan.blocks.iter().enumerate() {
                    if inline && index + 1 == plan.blocks.len() {
                        dirent::write(block, resolve, &mut tail);
                    } else {
                        dirent::write(block, resolve, &mut self.bytes);
                        self.pad();
                    }
                }
                tail
            }
            Body::Symlink(target) if inline => target.clone(),
            Body::Symlink(target) => {
                self.bytes.extend_from_slice(target);
                self.pad();
                Vec::new()
            }
            Body::Sparse(holes) => {
                self.bytes.extend_from_slice(&holes.copied);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn map(&mut self, holes: &Holes, at: usize, own_block: u32) {
        for chunk in 0..holes.count() {
            let (device, block) = match holes.chunks.get(&chunk) {
                None => (0, NO_BLOCK),
                Some(Chunk::Tar { tar, block }) => (TAR_DEVICE + tar, *block as u32),
                Some(Chunk::Copied(at)) => (0, own_block + (at / BLOCK_BYTES) as u32),
            };
            let at = at + chunk as usize * CHUNK_INDEX_BYTES;
            self.bytes[at + 2..at + 4].copy_from_slice(&device.to_le_bytes());
            self.bytes[at + 4..at + 8].copy_from_slice(&block.to_le_bytes());
        }
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(BLOCK_BYTES), 0);
    }
}

fn mode(node: &Node) -> u16 {
    let kind = match &node.body {
        Body::Dir(_) => S_IFDIR,
        Body::File { .. } | Body::Sparse(_) => S_IFREG,
        Body::Symlink(_) => S_IFLNK,
        Body::Char(_) | Body::Whiteout => S_IFCHR,
        Body::Block(_) => S_IFBLK,
        Body::Fifo => S_IFIFO,
    };
    kind | node.mode & 0o7777
}

/// The attributes as they lie behind an inode; what fits was looked at when they came. Those in namespaces Linux does not have
/// are left out: no filesystem would take them.
fn encode_xattrs<'x>(xattrs: impl Iterator<Item = &'x Xattr>) -> Vec<u8> {
    let mut area = vec![0; XATTR_HEADER_BYTES];
    for xattr in xattrs {
        let Some((index, name)) = split_xattr(&xattr.name) else {
            tracing::debug!(name = %xattr.name.escape_ascii(), "an attribute of an unknown namespace is left out");
            continue;
        };
        let (Ok(name_length), Ok(value_length)) = (u8::try_from(name.len()), u16::try_from(xattr.value.len())) else {
            tracing::debug!(name = %xattr.name.escape_ascii(), "an attribute that does not fit is left out");
            continue;
        };
        area.extend_from_slice(&[name_length, index]);
        area.extend_from_slice(&value_length.to_le_bytes());
        area.extend_from_slice(name);
        area.extend_from_slice(&xattr.value);
        area.resize(area.len().next_multiple_of(4), 0);
    }
    if area.len() == XATTR_HEADER_BYTES { Vec::new() } else { area }
}

fn superblock(bytes: &mut [u8], layout: &Layout<'_>, image_blocks: u32, devices: &[Span]) {
    // Two layers are the same filesystem exactly if they have the same bytes.
    let uuid = Digest::sha256(&bytes[layout.meta_block as usize * BLOCK_BYTES..]);
    let block = &mut bytes[SUPER_OFFSET..];
    let mut put = |at: usize, value: &[u8]| block[at..at + value.len()].copy_from_slice(value);
    put(0, &MAGIC.to_le_bytes());
    put(12, &[BLOCK_BITS]);
    put(14, &(layout.numbers[ROOT] as u16).to_le_bytes());
    put(16, &(layout.plans.len() as u64).to_le_bytes());
    put(36, &image_blocks.to_le_bytes());
    put(40, &layout.meta_block.to_le_bytes());
    put(48, &uuid_bytes(uuid.hex()));
    put(80, &(INCOMPAT_CHUNKED | INCOMPAT_DEVICES).to_le_bytes());
    put(86, &(devices.len() as u16).to_le_bytes());
    put(88, &DEVICE_SLOT.to_le_bytes());
    for (number, device) in devices.iter().enumerate() {
        let slot = SUPER_BYTES + number * DEVICE_SLOT_BYTES;
        put(slot, b"tar");
        put(slot + 64, &device.blocks.to_le_bytes());
        put(slot + 68, &device.first.to_le_bytes());
    }
}

/// The first sixteen bytes of a digest, marked as a UUID of the kind whose meaning is the maker's own (RFC 9562, 5.8).
fn uuid_bytes(hex: &str) -> [u8; 16] {
    let mut uuid = [0; 16];
    for (byte, digits) in uuid.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(digits[at]).to_digit(16).unwrap_or_default() as u8;
        *byte = digit(0) << 4 | digit(1);
    }
    uuid[6] = 0x80 | uuid[6] & 0x0f;
    uuid[8] = 0x80 | uuid[8] & 0x3f;
    uuid
}

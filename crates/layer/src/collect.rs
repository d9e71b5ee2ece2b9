//! What tests look at: a sink that keeps everything, and entries with any content.

use proptest::prelude::*;

use crate::{Device, Entry, Extent, Kind, LayerPath, LayerSink, Result, Time, Xattr};

/// Keeps what it is given.
#[derive(Default)]
pub(crate) struct Collect {
    pub(crate) bytes: Vec<u8>,
    pub(crate) framing: Vec<u8>,
    pub(crate) items: Vec<Item>,
}

/// An entry with its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) entry: Entry,
    pub(crate) data_offset: u64,
    pub(crate) content: Vec<u8>,
    pub(crate) ended: bool,
}

impl LayerSink for Collect {
    fn bytes(&mut self, chunk: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    fn framing(&mut self, chunk: &[u8]) -> Result<()> {
        self.framing.extend_from_slice(chunk);
        Ok(())
    }

    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        self.items.push(Item { entry: entry.clone(), data_offset, content: Vec::new(), ended: false });
        Ok(())
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        let item = self.items.last_mut().unwrap();
        let end = offset as usize + chunk.len();
        item.content.resize(item.content.len().max(end), 0);
        item.content[offset as usize..end].copy_from_slice(chunk);
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let item = self.items.last_mut().unwrap();
        if let Kind::File { size_bytes, .. } = item.entry.kind {
            item.content.resize(size_bytes as usize, 0);
        }
        item.ended = true;
        Ok(())
    }
}

/// A path from text.
pub(crate) fn path(raw: &str) -> LayerPath {
    LayerPath::parse(raw.as_bytes()).unwrap()
}

/// A plain file.
pub(crate) fn file(name: &str, size_bytes: u64) -> Entry {
    with_kind(name, Kind::File { size_bytes, sparse: None })
}

/// Anything.
pub(crate) fn with_kind(name: &str, kind: Kind) -> Entry {
    Entry { path: path(name), kind, mode: 0o644, uid: 0, gid: 0, mtime: Time::default(), xattrs: Vec::new() }
}

fn any_name() -> impl Strategy<Value = LayerPath> {
    let component = prop::collection::vec(any::<u8>(), 1..60).prop_map(|mut name| {
        name.iter_mut().filter(|byte| matches!(byte, 0 | b'/')).for_each(|byte| *byte = b'x');
        if name == b"." || name == b".." { b"dots".to_vec() } else { name }
    });
    prop::collection::vec(component, 1..6)
        .prop_map(|parts| parts.iter().fold(LayerPath::root(), |dir, part| dir.join(part).unwrap()))
}

fn any_kind() -> impl Strategy<Value = (Kind, Vec<u8>)> {
    let device = (0u32..1 << 12, 0u32..1 << 20).prop_map(|(major, minor)| Device { major, minor });
    let no_content = prop_oneof![
        Just(Kind::Dir),
        Just(Kind::Fifo),
        device.clone().prop_map(Kind::Char),
        device.prop_map(Kind::Block),
        any_name().prop_map(|target| Kind::Hardlink { target }),
        any_name().prop_map(|target| Kind::Symlink { target: target.as_bytes().to_vec() }),
    ];
    let file = prop::collection::vec(any::<u8>(), 0..1500)
        .prop_map(|content| (Kind::File { size_bytes: content.len() as u64, sparse: None }, content));
    prop_oneof![file, no_content.prop_map(|kind| (kind, Vec::new()))]
}

/// Any entry with its content.
pub(crate) fn any_item() -> impl Strategy<Value = (Entry, Vec<u8>)> {
    let ids = (any::<u32>(), any::<u32>());
    let mtime = (any::<i32>(), 0..1_000_000_000u32, 0..8i64)
        .prop_map(|(low, nanoseconds, high)| Time { seconds: i64::from(low) + (high << 31), nanoseconds });
    let xattr = ("[a-z.]{1,20}", prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(name, value)| Xattr { name: format!("user.{name}").into_bytes(), value });
    let xattrs = prop::collection::btree_map(any::<u8>(), xattr, 0..3).prop_map(|map| {
        let mut xattrs: Vec<Xattr> = map.into_values().collect();
        xattrs.sort();
        xattrs.dedup_by(|a, b| a.name == b.name);
        xattrs
    });
    (any_name(), any_kind(), 0..0o10000u16, ids, mtime, xattrs).prop_map(
        |(path, (kind, content), mode, (uid, gid), mtime, xattrs)| {
            (Entry { path, kind, mode, uid, gid, mtime, xattrs }, content)
        },
    )
}

/// A file with holes.
pub(crate) fn sparse_file(name: &str, size_bytes: u64, extents: &[(u64, u64)]) -> Entry {
    let sparse = extents.iter().map(|&(offset, length)| Extent { offset, length }).collect();
    with_kind(name, Kind::File { size_bytes, sparse: Some(sparse) })
}

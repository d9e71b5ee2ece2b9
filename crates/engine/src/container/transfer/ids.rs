//! Copying into and out of running containers whose users are others outside.
//!
//! A container that does not run is looked at without its user namespace, and its files have the ids they have inside. The
//! files of one that runs are seen with the ids outside.

use strata_layer::{Entry, LayerSink};
use strata_store::records::ContainerRecord;
use strata_sys::user_namespace::FilesAs;
use strata_types::ids::{self, IdMaps};

use crate::container::{ContainerError, Document};
use crate::{Engine, Result};

/// Who owns files whose owner has no id on the other side: nobody.
const NOBODY: u32 = 65_534;

impl Engine {
    /// Who the users of a running container are outside, if they are others.
    pub(super) fn ids_of_running(&self, container: &ContainerRecord) -> Result<Option<IdMaps>> {
        if !self.is_running(&container.id)? {
            return Ok(None);
        }
        let read = Document::parse(&container.spec);
        Ok(read.map_err(|source| ContainerError::Record(container.id.clone(), source))?.user_namespace)
    }
}

/// While this lives, files are made as the container's root: nobody else could make any.
pub(super) fn as_root_of(maps: Option<&IdMaps>) -> Result<Option<FilesAs>> {
    let Some((uid, gid)) = maps.and_then(|maps| maps.outside(0, 0)) else { return Ok(None) };
    let acting = FilesAs::become_owner(uid, gid);
    let failed = ContainerError::step("cannot act as the container's root");
    acting.map(Some).map_err(|errno| failed(errno.into()))
}

/// The owner inside of a file seen from outside.
pub(super) fn inside(maps: &IdMaps, (uid, gid): (u32, u32)) -> (u32, u32) {
    (ids::inside(&maps.users, uid).unwrap_or(NOBODY), ids::inside(&maps.groups, gid).unwrap_or(NOBODY))
}

/// The owner outside of a file that is to belong to somebody inside.
pub(super) fn outside(maps: &IdMaps, (uid, gid): (u32, u32)) -> (u32, u32) {
    let nobody = |ranges| ids::outside(ranges, NOBODY).or(ids::outside(ranges, 0)).unwrap_or(NOBODY);
    let user = ids::outside(&maps.users, uid).unwrap_or_else(|| nobody(&maps.users));
    let group = ids::outside(&maps.groups, gid).unwrap_or_else(|| nobody(&maps.groups));
    (user, group)
}

/// Gives entries on to `sink` with the owners they have outside.
pub(super) struct Outside<'a, S> {
    pub(super) sink: &'a mut S,
    pub(super) maps: &'a IdMaps,
}

impl<S: LayerSink> LayerSink for Outside<'_, S> {
    fn bytes(&mut self, chunk: &[u8]) -> strata_layer::Result<()> {
        self.sink.bytes(chunk)
    }

    fn framing(&mut self, chunk: &[u8]) -> strata_layer::Result<()> {
        self.sink.framing(chunk)
    }

    fn entry(&mut self, entry: &Entry, data_offset: u64) -> strata_layer::Result<()> {
        let (uid, gid) = outside(self.maps, (entry.uid, entry.gid));
        self.sink.entry(&Entry { uid, gid, ..entry.clone() }, data_offset)
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> strata_layer::Result<()> {
        self.sink.data(offset, chunk)
    }

    fn end(&mut self) -> strata_layer::Result<()> {
        self.sink.end()
    }
}

//! From entries to an image.

use super::image::Image;
use super::tree::{Added, Body, NodeId, Tree};
use crate::lending::Borrowed;
use crate::whiteout::Namespace;
use crate::{Entry, LayerSink, Result};

/// Collects the entries of one layer, then writes its index. Whiteouts become overlayfs's; attributes that overlayfs
/// would take for its own are left out.
pub struct Builder {
    namespace: Namespace,
    tree: Tree,
    /// The file with holes whose content is coming.
    current: Option<NodeId>,
}

impl Builder {
    /// Starts an empty tree whose overlay marks are in `namespace`.
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace, tree: Tree::new(), current: None }
    }

    /// Lays out the image for a tar of `tar_bytes`.
    pub fn finish(self, tar_bytes: u64) -> Result<Image> {
        Image::new(&self.tree, self.namespace, &[tar_bytes])
    }

    /// The same for a layer some of which lies elsewhere: `borrowed` says what is in which of `tars`. The first of them is the
    /// layer's own.
    pub fn finish_borrowing(mut self, tars: &[u64], borrowed: &Borrowed) -> Result<Image> {
        for node in &mut self.tree.nodes {
            match &mut node.body {
                Body::File { size: 1.., tar, tar_offset } => {
                    (*tar, *tar_offset) = borrowed.place(*tar_offset).unwrap_or((*tar, *tar_offset));
                }
                Body::Sparse(holes) => holes.borrow(borrowed),
                _ => {}
            }
        }
        Image::new(&self.tree, self.namespace, tars)
    }
}

impl LayerSink for Builder {
    fn entry(&mut self, entry: &Entry, data_offset: u64) -> Result<()> {
        self.current = match self.tree.add(entry, data_offset)? {
            Added::Sparse(node) => Some(node),
            Added::Other => None,
        };
        Ok(())
    }

    fn data(&mut self, offset: u64, chunk: &[u8]) -> Result<()> {
        if let Some(node) = self.current
            && let Body::Sparse(holes) = &mut self.tree.nodes[node].body
        {
            holes.data(offset, chunk);
        }
        Ok(())
    }
}

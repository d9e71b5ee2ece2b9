//! Archives of images: Docker's and OCI's, as a tar or as a directory.
//!
//! ```text
//! oci-layout  index.json  blobs/sha256/<hex>      OCI layout
//! manifest.json  repositories                     what Docker reads; paths into the same blobs, or, before Docker 25,
//! <hex>.json  <hex>/layer.tar                     to files of its own
//! ```

mod documents;
mod source;
mod tar_index;
mod tar_writer;

pub use documents::LayoutName;
pub(crate) use documents::{Found, FoundImage, FoundLayer, Platforms, find, find_named, index_json, manifest_json};
pub(crate) use source::Bundle;
pub(crate) use tar_writer::TarWriter;

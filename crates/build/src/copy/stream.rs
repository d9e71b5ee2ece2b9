//! Entries as the bytes of a tar, read as they are needed.

use std::fs::File;
use std::io::{self, Read};

use strata_layer::tar::{Times, encode, end_of_archive, padding_bytes};
use strata_layer::{Entry, Kind, LayerPath};

use super::tree::Tree;

/// Where a file's content comes from.
#[derive(Clone, Debug)]
pub(crate) enum Content<'t> {
    /// There is none.
    None,
    /// A file of a tree.
    Of(Tree<'t>, LayerPath),
    /// The Dockerfile itself.
    Text(Vec<u8>),
}

/// A tar in the making.
pub(crate) struct TarStream<'t> {
    entries: std::vec::IntoIter<(Entry, Content<'t>)>,
    /// What comes next, from `position` on: headers, padding, texts.
    ready: Vec<u8>,
    position: usize,
    /// The file that follows, and how much of it is still to come.
    file: Option<(File, u64, LayerPath)>,
    padding: usize,
    ended: bool,
}

impl<'t> TarStream<'t> {
    /// The tar of these entries, in this order.
    pub(crate) fn new(entries: Vec<(Entry, Content<'t>)>) -> Self {
        Self { entries: entries.into_iter(), ready: Vec::new(), position: 0, file: None, padding: 0, ended: false }
    }

    /// Makes the next entry ready; false at the end.
    fn advance(&mut self) -> io::Result<bool> {
        self.ready.clear();
        self.position = 0;
        let Some((entry, content)) = self.entries.next() else {
            if !self.ended {
                self.ready.extend_from_slice(end_of_archive());
            }
            return Ok(!std::mem::replace(&mut self.ended, true));
        };
        encode(&entry, Times::Seconds, &mut self.ready);
        let Kind::File { size_bytes, .. } = entry.kind else { return Ok(true) };
        self.padding = padding_bytes(size_bytes);
        match content {
            Content::Of(tree, path) if size_bytes > 0 => {
                let file = tree.open(&path).map_err(|error| named(&path, &error))?;
                self.file = Some((file, size_bytes, path));
            }
            Content::Text(text) => {
                self.ready.extend_from_slice(&text);
                self.ready.resize(self.ready.len() + self.padding, 0);
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Read for TarStream<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.position < self.ready.len() {
                let length = buffer.len().min(self.ready.len() - self.position);
                buffer[..length].copy_from_slice(&self.ready[self.position..self.position + length]);
                self.position += length;
                return Ok(length);
            }
            if let Some((file, left, path)) = &mut self.file {
                let wanted = buffer.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                let read = file.read(&mut buffer[..wanted]).map_err(|error| named(path, &error))?;
                if read == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("{path} became shorter while it was read"),
                    ));
                }
                *left -= read as u64;
                if *left == 0 {
                    self.file = None;
                    self.ready = vec![0; self.padding];
                    self.position = 0;
                }
                return Ok(read);
            }
            if !self.advance()? {
                return Ok(0);
            }
        }
    }
}

fn named(path: &LayerPath, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{path}: {error}"))
}

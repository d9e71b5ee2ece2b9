//! gzip (RFC 1952) as a stream of members.

use std::io::{self, Read};

use flate2::bufread::GzDecoder;

use super::decode::only_zeros;
use super::member::Members;
use super::window::Window;

/// Reads all members one after another; zeros after the last one are padding, as for `gzip` itself.
pub(super) struct GzipReader<R> {
    place: Place<R>,
    members: Members,
    /// Nothing was read yet: there has to be a member.
    is_first: bool,
}

enum Place<R> {
    /// Before a member, or at the end of the data.
    Between(Window<R>),
    /// In one that is read piece by piece.
    Inside(Box<GzDecoder<Window<R>>>),
    End(Window<R>),
    /// Only while one becomes another.
    Nowhere,
}

impl<R: Read> GzipReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self { place: Place::Between(Window::new(source)), members: Members::new(), is_first: true }
    }

    pub(super) fn source(&self) -> &R {
        match &self.place {
            Place::Between(window) | Place::End(window) => window.source(),
            Place::Inside(member) => member.get_ref().source(),
            Place::Nowhere => unreachable!("it is somewhere whenever somebody asks"),
        }
    }

    /// Reads at a member's beginning, or finds that there is none: 0 if the caller has to look where it is now.
    fn begin(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Place::Between(window) = &mut self.place else { return Ok(0) };
        if !std::mem::take(&mut self.is_first) {
            let rest = window.at_least(1)?;
            let (is_empty, is_padding) = (rest.is_empty(), rest.first() == Some(&0));
            if is_padding && !only_zeros(window)? {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "there is garbage after the end"));
            }
            if is_empty || is_padding {
                self.go(Place::End);
                return Ok(0);
            }
        }
        if let Some(count) = self.members.inflate(window, buffer)? {
            return Ok(count);
        }
        self.go(|window| Place::Inside(Box::new(GzDecoder::new(window))));
        Ok(0)
    }

    fn go(&mut self, place: impl FnOnce(Window<R>) -> Place<R>) {
        self.place = match std::mem::replace(&mut self.place, Place::Nowhere) {
            Place::Inside(member) => place(member.into_inner()),
            Place::Between(window) | Place::End(window) => place(window),
            Place::Nowhere => Place::Nowhere,
        };
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        let rest = self.members.take_rest(buffer);
        if rest > 0 {
            return Ok(rest);
        }
        loop {
            let count = match &mut self.place {
                Place::End(_) | Place::Nowhere => return Ok(0),
                Place::Between(_) => self.begin(buffer)?,
                Place::Inside(member) => {
                    let count = member.read(buffer)?;
                    if count == 0 {
                        self.go(Place::Between);
                    }
                    count
                }
            };
            if count > 0 {
                return Ok(count);
            }
        }
    }
}

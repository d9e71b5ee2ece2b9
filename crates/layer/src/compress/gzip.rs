//! gzip (RFC 1952) as a stream of members.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::decode::only_zeros;

/// Reads all members one after another; zeros after the last one are padding, as for `gzip` itself.
pub(super) struct GzipReader<R> {
    /// `None` only while one member's end becomes the next one's beginning.
    member: Option<GzDecoder<R>>,
    ended: bool,
}

impl<R: BufRead> GzipReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self { member: Some(GzDecoder::new(source)), ended: false }
    }

    pub(super) fn source(&self) -> &R {
        self.member.as_ref().expect("a member is put back whenever one is taken").get_ref()
    }

    fn next_member(&mut self) -> io::Result<()> {
        let mut source = self.member.take().expect("a member is put back whenever one is taken").into_inner();
        let next = source.fill_buf().map(|rest| (rest.is_empty(), rest.first() == Some(&0)));
        let outcome = match next {
            Ok((true, _)) => Ok(true),
            Ok((_, true)) => only_zeros(&mut source).and_then(|zeros| {
                let garbage = || io::Error::new(io::ErrorKind::InvalidData, "there is garbage after the end");
                if zeros { Ok(true) } else { Err(garbage()) }
            }),
            Ok(_) => Ok(false),
            Err(error) => Err(error),
        };
        self.member = Some(GzDecoder::new(source));
        self.ended = outcome?;
        Ok(())
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.ended && !buffer.is_empty() {
            let member = self.member.as_mut().expect("a member is put back whenever one is taken");
            let count = member.read(buffer)?;
            if count > 0 {
                return Ok(count);
            }
            self.next_member()?;
        }
        Ok(0)
    }
}

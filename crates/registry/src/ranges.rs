//! A large blob in several ranges at once: they arrive side by side and are handed out in order.

use std::collections::VecDeque;

use bytes::Bytes;
use tokio::task::JoinHandle;

use crate::blob::{Stream, Target};
use crate::{Error, Result};

/// The size of one range: long enough to hide the wait for its first byte.
const RANGE_BYTES: u64 = 8 << 20;
/// How many ranges of one blob are under way at once; together with their size this bounds the memory of one blob.
const RANGES_AT_ONCE: usize = 4;

#[derive(Debug)]
pub(crate) struct Ranges {
    ready: VecDeque<Bytes>,
    coming: VecDeque<JoinHandle<Result<VecDeque<Bytes>>>>,
    /// Where the next range to be asked for begins.
    next: u64,
}

impl Ranges {
    /// Asks for the first range. A server that sends everything instead is taken at its word: the stream is given back.
    pub(crate) async fn open(target: &Target, offset: u64) -> Result<Result<Self, Stream>> {
        let end = (offset + RANGE_BYTES).min(target.size);
        let stream = target.stream(offset, Some(end)).await?;
        if !stream.is_range() {
            return Ok(Err(stream));
        }
        let first = tokio::spawn(collect(target.clone(), Some(stream), offset, end));
        let mut ranges = Self { ready: VecDeque::new(), coming: VecDeque::from([first]), next: end };
        ranges.ask(target);
        Ok(Ok(ranges))
    }

    /// The next bytes, of which there must be some.
    pub(crate) async fn next(&mut self, target: &Target) -> Result<Bytes> {
        loop {
            if let Some(chunk) = self.ready.pop_front() {
                return Ok(chunk);
            }
            let lost = |error| Error::Runtime(std::io::Error::other(error));
            let Some(coming) = self.coming.front_mut() else {
                return Err(Error::Runtime(std::io::ErrorKind::UnexpectedEof.into()));
            };
            self.ready = coming.await.map_err(lost)??;
            self.coming.pop_front();
            self.ask(target);
        }
    }

    /// Asks for further ranges, up to the limit.
    fn ask(&mut self, target: &Target) {
        while self.coming.len() < RANGES_AT_ONCE && self.next < target.size {
            let (start, end) = (self.next, (self.next + RANGE_BYTES).min(target.size));
            self.coming.push_back(tokio::spawn(collect(target.clone(), None, start, end)));
            self.next = end;
        }
    }
}

impl Drop for Ranges {
    fn drop(&mut self) {
        self.coming.iter().for_each(JoinHandle::abort);
    }
}

/// Reads one range whole.
async fn collect(target: Target, stream: Option<Stream>, start: u64, end: u64) -> Result<VecDeque<Bytes>> {
    let mut attempts = target.attempts();
    let mut stream = match stream {
        Some(stream) => stream,
        None => target.open(&mut attempts, start, Some(end)).await?,
    };
    let mut chunks = VecDeque::new();
    let mut at = start;
    while at < end {
        let mut chunk = target.next(&mut stream, &mut attempts, at, Some(end)).await?;
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        chunk.truncate(left);
        at += chunk.len() as u64;
        chunks.push_back(chunk);
    }
    Ok(chunks)
}

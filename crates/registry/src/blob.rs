//! Reading blobs: one stream, or several ranges at once, either of which goes on where it broke.

use std::io::{self, BufRead, Read};
use std::sync::Arc;

use bytes::{Buf as _, Bytes};
use http::header::{CONTENT_RANGE, RANGE};
use http::{Method, StatusCode};
use reqwest::Response;
use strata_types::{Descriptor, Digest, Hasher};
use tokio::runtime::Runtime;

use crate::client::header;
use crate::conf::Endpoint;
use crate::exchange::{Attempts, Exchange, Purpose};
use crate::http::Request;
use crate::ranges::Ranges;
use crate::{Error, NetworkError, Result};

/// From this size on a blob comes in several ranges at once; below, one connection is as fast.
const PARALLEL_BYTES_MIN: u64 = 32 << 20;

/// How many of a layer's `urls` are tried; manifests in the wild have one.
const URLS_MAX: usize = 8;

/// The bytes of a blob, as they come. Also a [`BufRead`], which spares a copy.
#[derive(Debug)]
pub struct BlobReader {
    opened: Opened,
    chunk: Bytes,
    /// Kept alive, because a reader may outlive its client; dropped last.
    runtime: Arc<Runtime>,
}

/// A blob that a registry has begun to send.
#[derive(Debug)]
pub(crate) struct Opened {
    target: Target,
    /// Where the next byte to be handed out stands.
    at: u64,
    how: How,
}

#[derive(Debug)]
enum How {
    /// One stream, and how often in a row it broke without a byte.
    Stream(Stream, Attempts),
    /// Ranges in order; the first is handed out while the others arrive.
    Ranges(Ranges),
    /// Nothing (left) to read.
    End,
}

/// What is read, and from where.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    exchange: Arc<Exchange>,
    endpoint: Arc<Endpoint>,
    /// Below the endpoint's `/v2/`, or a URL.
    path: String,
    digest: Digest,
    pub(crate) size: u64,
}

/// An answer's body, with what was read of it too early.
#[derive(Debug)]
pub(crate) struct Stream {
    response: Response,
    early: Bytes,
}

/// Asks an endpoint for a blob from `offset` on. What a registry does not have itself may be at the descriptor's `urls`.
pub(crate) async fn open(
    exchange: &Arc<Exchange>,
    endpoint: &Endpoint,
    blob: &Descriptor,
    offset: u64,
) -> Result<Opened> {
    let path = format!("{}/blobs/{}", endpoint.path, blob.digest);
    let endpoint = Arc::new(endpoint.clone());
    let mut target =
        Target { exchange: exchange.clone(), endpoint, path, digest: blob.digest.clone(), size: blob.size };
    let fault = match open_at(&target, offset).await {
        Err(error) if is_not_there(&error) && !target.endpoint.is_mirror => error,
        other => return other,
    };
    let is_web = |url: &&String| url.starts_with("https://") || url.starts_with("http://");
    for url in blob.urls.iter().filter(is_web).take(URLS_MAX) {
        target.path.clone_from(url);
        match open_at(&target, offset).await {
            Err(error) => tracing::info!(url, %error, "a layer is not where its manifest says"),
            opened => return opened,
        }
    }
    Err(fault)
}

fn is_not_there(error: &Error) -> bool {
    matches!(error, Error::Refused { source, .. } if source.status == 404)
}

async fn open_at(target: &Target, offset: u64) -> Result<Opened> {
    let left = target.size.saturating_sub(offset);
    let how = if left == 0 {
        How::End
    } else if left >= PARALLEL_BYTES_MIN && !target.endpoint.is_loopback() {
        match Ranges::open(target, offset).await? {
            Ok(ranges) => How::Ranges(ranges),
            Err(stream) => How::Stream(stream, target.attempts()),
        }
    } else {
        How::Stream(target.stream(offset, None).await?, target.attempts())
    };
    Ok(Opened { target: target.clone(), at: offset, how })
}

impl BlobReader {
    pub(crate) const fn new(runtime: Arc<Runtime>, opened: Opened) -> Self {
        Self { opened, chunk: Bytes::new(), runtime }
    }

    /// Reads the same bytes, and fails at the end if their digest is not that of `blob`. Only for readers from offset 0.
    pub fn verified(self, blob: &Descriptor) -> Box<dyn Read + Send> {
        let hasher = Some(Hasher::new(blob.digest.algorithm()));
        Box::new(Verified { reader: self, expected: blob.digest.clone(), hasher })
    }
}

impl BufRead for BlobReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            self.chunk = self.runtime.block_on(self.opened.next()).map_err(io::Error::other)?;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        self.chunk.advance(amount);
    }
}

impl Read for BlobReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}

impl Opened {
    /// The next bytes; none at the end.
    async fn next(&mut self) -> Result<Bytes> {
        let chunk = match &mut self.how {
            How::End => return Ok(Bytes::new()),
            How::Stream(stream, attempts) => self.target.next(stream, attempts, self.at, None).await?,
            How::Ranges(ranges) => ranges.next(&self.target).await?,
        };
        self.at += chunk.len() as u64;
        if self.at >= self.target.size {
            self.how = How::End;
        }
        Ok(chunk)
    }
}

impl Stream {
    async fn chunk(&mut self) -> reqwest::Result<Option<Bytes>> {
        if self.early.is_empty() { self.response.chunk().await } else { Ok(Some(std::mem::take(&mut self.early))) }
    }

    /// Whether the server sends the range that was asked for, and no more.
    pub(crate) fn is_range(&self) -> bool {
        self.response.status() == StatusCode::PARTIAL_CONTENT
    }
}

impl Target {
    pub(crate) fn attempts(&self) -> Attempts {
        Attempts::new(self.exchange.settings.patience)
    }

    /// The next chunk of a stream that stands at `at`; opens it again there, up to `end`, when it breaks.
    pub(crate) async fn next(
        &self,
        stream: &mut Stream,
        attempts: &mut Attempts,
        at: u64,
        end: Option<u64>,
    ) -> Result<Bytes> {
        loop {
            let fault = match stream.chunk().await {
                Ok(Some(chunk)) if chunk.is_empty() => continue,
                Ok(Some(chunk)) if at + chunk.len() as u64 > self.size => {
                    return Err(self.wrong_size(at + chunk.len() as u64));
                }
                Ok(Some(chunk)) => {
                    attempts.reset();
                    return Ok(chunk);
                }
                Ok(None) => self.wrong_size(at),
                Err(error) => self.broken(&error),
            };
            *stream = self.again(attempts, fault, at, end).await?;
        }
    }

    /// Asks for the bytes from `start` to before `end`, or to the blob's.
    pub(crate) async fn stream(&self, start: u64, end: Option<u64>) -> Result<Stream> {
        let mut request = Request::new(Method::GET);
        if start > 0 || end.is_some() {
            let last = end.map(|end| (end - 1).to_string()).unwrap_or_default();
            request = request.header(RANGE, &format!("bytes={start}-{last}"));
        }
        let purpose = Purpose::pull("get a blob", &self.endpoint);
        let response = self.exchange.send(&self.endpoint, &purpose, &self.path, &request).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            return Err(self.wrong_size(start));
        }
        let response = self.exchange.accepted(&self.endpoint, "give a blob", response).await?;
        self.positioned(response, start).await
    }

    /// Makes sure that what comes next in an answer is the byte at `start`: a server that ignores ranges sends all of
    /// the blob, and the beginning is passed over.
    async fn positioned(&self, response: Response, start: u64) -> Result<Stream> {
        let mut stream = Stream { response, early: Bytes::new() };
        if stream.is_range() {
            let said = header(&stream.response, CONTENT_RANGE.as_str()).unwrap_or_default();
            if said.starts_with(&format!("bytes {start}-")) {
                return Ok(stream);
            }
            let why = format!("it sent the range `{said}` when asked for one from {start} on");
            return Err(self.exchange.protocol(&self.endpoint, why));
        }
        if let Some(length) = stream.response.content_length().filter(|length| *length != self.size) {
            return Err(self.wrong_size(length));
        }
        let mut passed = 0;
        while passed < start {
            let mut chunk = match stream.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Err(self.wrong_size(passed)),
                Err(error) => return Err(self.broken(&error)),
            };
            let count = (start - passed).min(chunk.len() as u64);
            passed += count;
            stream.early = chunk.split_off(usize::try_from(count).unwrap_or(chunk.len()));
        }
        Ok(stream)
    }

    /// Opens a stream, with patience.
    pub(crate) async fn open(&self, attempts: &mut Attempts, at: u64, end: Option<u64>) -> Result<Stream> {
        match self.stream(at, end).await {
            Err(error @ Error::Network { .. }) => self.again(attempts, error, at, end).await,
            other => other,
        }
    }

    /// Waits and opens the stream again, until it works or patience ends.
    async fn again(&self, attempts: &mut Attempts, mut fault: Error, at: u64, end: Option<u64>) -> Result<Stream> {
        loop {
            let Some(delay) = attempts.next() else { return Err(fault) };
            tracing::debug!(digest = %self.digest, at, ?delay, error = %fault, "going on where it broke");
            tokio::time::sleep(delay).await;
            match self.stream(at, end).await {
                Err(error @ Error::Network { .. }) => fault = error,
                other => return other,
            }
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Error {
        let settings = &self.exchange.settings;
        let source = if error.is_timeout() {
            NetworkError::Timeout(settings.patience.idle.as_secs())
        } else {
            NetworkError::Lost(io::Error::other(innermost(error)))
        };
        Error::Network { host: self.endpoint.authority().to_owned(), act: "get a blob".to_owned(), source }
    }

    fn wrong_size(&self, actual_bytes: u64) -> Error {
        let (host, digest) = (self.endpoint.authority().to_owned(), self.digest.clone());
        Error::SizeMismatch { host, digest, expected_bytes: self.size, actual_bytes }
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    error.source().map_or_else(|| error.to_string(), innermost)
}

/// Checks the digest at the end.
struct Verified {
    reader: BlobReader,
    expected: Digest,
    /// Gone once the end was seen.
    hasher: Option<Hasher>,
}

impl Read for Verified {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&buffer[..count]);
            }
            return Ok(count);
        }
        let Some(actual) = self.hasher.take().map(Hasher::finish) else { return Ok(0) };
        if actual == self.expected {
            return Ok(0);
        }
        let host = self.reader.opened.target.endpoint.authority().to_owned();
        Err(io::Error::other(Error::DigestMismatch { host, expected: self.expected.clone(), actual }))
    }
}

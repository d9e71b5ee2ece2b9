//! The upload of one blob: begin, send, finish; and after every interruption ask where it stands and go on from there.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE};
use http::{Method, StatusCode};
use reqwest::{Body, Response, Url};
use strata_types::{Descriptor, Watch};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::client::header;
use crate::conf::Endpoint;
use crate::exchange::{Attempts, Exchange, Purpose, is_passing};
use crate::http::Request;
use crate::push::{self, BlobSource};
use crate::{Error, Refusal, Result};

/// How much is read from the source at once, and how many such pieces wait for the network.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_WAITING: usize = 4;
/// How much one request carries at a server that takes no large ones; above every minimum seen in the wild.
const SMALL_REQUEST_BYTES: u64 = 32 << 20;
/// A blob up to this size is sent with the request that finishes the upload.
const WHOLE_BYTES_MAX: u64 = 1 << 20;

/// One upload under way.
pub(crate) struct Upload<'a> {
    pub(crate) exchange: &'a Arc<Exchange>,
    pub(crate) runtime: &'a Runtime,
    pub(crate) endpoint: &'a Endpoint,
    pub(crate) purpose: Purpose,
    pub(crate) blob: &'a Descriptor,
    pub(crate) source: &'a dyn BlobSource,
    pub(crate) watch: &'a dyn Watch,
}

/// Where an upload stands.
#[derive(Clone, Debug)]
struct Session {
    /// Where the next request goes; every answer says it anew.
    url: Url,
    /// How many bytes the registry has.
    at: u64,
    /// How many bytes one request may carry.
    request_bytes: u64,
    /// How many it must carry at least, but for the last.
    request_bytes_min: u64,
}

/// What one request led to.
enum Step {
    /// The registry has more of it, or all but the end.
    On(Session),
    /// It is there.
    Done,
    /// Something went wrong that may pass; the session may still be good.
    Interrupted(Error, Session),
}

impl Upload<'_> {
    /// Uploads the blob.
    pub(crate) fn run(&self) -> Result<()> {
        let mut attempts = Attempts::new(self.exchange.settings.patience);
        let mut session = self.begin()?;
        loop {
            if self.watch.cancelled() {
                return Err(Error::Cancelled);
            }
            let before = session.at;
            let step = if session.at < self.blob.size && self.blob.size > WHOLE_BYTES_MAX {
                self.send(session)?
            } else {
                self.finish(session)?
            };
            session = match step {
                Step::Done => return Ok(()),
                Step::On(session) => session,
                Step::Interrupted(fault, session) => {
                    let delay = attempts.next().ok_or(fault)?;
                    tracing::debug!(digest = %self.blob.digest, ?delay, "upload interrupted");
                    self.runtime.block_on(async { tokio::time::sleep(delay).await });
                    self.ask(session)?
                }
            };
            if session.at > before {
                attempts.reset();
            }
        }
    }

    /// Begins a session.
    fn begin(&self) -> Result<Session> {
        let path = format!("{}/blobs/uploads/", self.endpoint.path);
        let response = self.exchange_request(&path, Request::new(Method::POST))?;
        let response = self.accepted("begin an upload", response)?;
        let url = location(&response).ok_or_else(|| self.nowhere())?;
        let minimum = header(&response, "oci-chunk-min-length").and_then(|text| text.parse().ok());
        Ok(Session { url, at: 0, request_bytes: u64::MAX, request_bytes_min: minimum.unwrap_or(0) })
    }

    /// Sends what is missing, or as much of it as one request may carry.
    fn send(&self, session: Session) -> Result<Step> {
        let end = session.at.saturating_add(session.request_bytes).min(self.blob.size);
        let mut request = Request::new(Method::PATCH)
            .header(CONTENT_TYPE, "application/octet-stream")
            .header(CONTENT_LENGTH, &(end - session.at).to_string());
        if session.at > 0 || end < self.blob.size {
            request = request.header(CONTENT_RANGE, &format!("{}-{}", session.at, end - 1));
        }
        let response = match self.stream(&session, end, request) {
            Ok(response) => response,
            Err(error @ Error::Network { .. }) => return Ok(Step::Interrupted(error, session)),
            Err(error) => return Err(error),
        };
        let status = response.status();
        if status.is_success() {
            let at = received(&response).unwrap_or(end).min(self.blob.size);
            let url = location(&response).unwrap_or(session.url);
            return Ok(Step::On(Session { url, at, ..session }));
        }
        let small = session.request_bytes_min.max(SMALL_REQUEST_BYTES);
        if status == StatusCode::PAYLOAD_TOO_LARGE && small < session.request_bytes {
            let fault = self.refused(response)?;
            return Ok(Step::Interrupted(fault, Session { request_bytes: small, ..session }));
        }
        self.interrupted(response, session)
    }

    /// Says that this was all; a small blob goes along.
    fn finish(&self, session: Session) -> Result<Step> {
        let mut url = session.url.clone();
        url.query_pairs_mut().append_pair("digest", &self.blob.digest.to_string());
        let mut request = Request::new(Method::PUT);
        let mut body = Vec::new();
        if session.at < self.blob.size {
            request = request.header(CONTENT_TYPE, "application/octet-stream");
            body = self.whole()?;
        }
        let sent = self.exchange.stream(self.endpoint, &self.purpose, &url, (&request, Body::from(body)));
        let response = match self.runtime.block_on(sent) {
            Ok(response) => response,
            Err(error @ Error::Network { .. }) => return Ok(Step::Interrupted(error, session)),
            Err(error) => return Err(error),
        };
        if response.status().is_success() {
            self.watch.progress(&self.blob.digest, self.blob.size, self.blob.size);
            return Ok(Step::Done);
        }
        self.interrupted(response, session)
    }

    /// Asks where the session stands; a lost one begins anew, unless the blob got there after all.
    fn ask(&self, session: Session) -> Result<Session> {
        let response = match self.exchange_request(session.url.as_str(), Request::new(Method::GET)) {
            Ok(response) => response,
            // Still out of reach: the next request finds out, and counts as an attempt.
            Err(Error::Network { .. }) => return Ok(session),
            Err(error) => return Err(error),
        };
        if response.status().is_success() {
            let at = received(&response).unwrap_or(0).min(self.blob.size);
            let url = location(&response).unwrap_or(session.url);
            // A part of what is sent whole cannot be gone on from.
            return if at > 0 && self.blob.size <= WHOLE_BYTES_MAX {
                self.begin()
            } else {
                Ok(Session { url, at, ..session })
            };
        }
        Ok(Session { request_bytes: session.request_bytes, ..self.begin()? })
    }

    /// Tells answers that may pass from those that will not.
    fn interrupted(&self, response: Response, session: Session) -> Result<Step> {
        let status = response.status();
        let lost = matches!(status, StatusCode::NOT_FOUND | StatusCode::RANGE_NOT_SATISFIABLE);
        let fault = self.refused(response)?;
        if lost && self.is_there()? {
            return Ok(Step::Done);
        }
        if lost || is_passing(status) || status == StatusCode::UNAUTHORIZED {
            return Ok(Step::Interrupted(fault, session));
        }
        Err(fault)
    }

    /// Streams the bytes from where the session stands to before `end`.
    fn stream(&self, session: &Session, end: u64, request: Request) -> Result<Response> {
        let mut reader = self.source.open(session.at).map_err(|source| self.unreadable(source))?;
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(PIECES_WAITING);
        let pieces =
            stream::unfold(receiver, async |mut receiver| receiver.recv().await.map(|piece| (piece, receiver)));
        let body = Body::wrap_stream(pieces);
        let (exchange, endpoint, purpose) = (self.exchange.clone(), self.endpoint.clone(), self.purpose.clone());
        let url = session.url.clone();
        let sending =
            self.runtime.spawn(async move { exchange.stream(&endpoint, &purpose, &url, (&request, body)).await });
        let fed = self.feed(&mut *reader, session.at..end, &sender);
        drop(sender);
        let response = self.runtime.block_on(sending).map_err(|error| Error::Runtime(io::Error::other(error)))?;
        fed.and(response)
    }

    /// Reads the source and hands it to the network, until all is read or the registry does not want more.
    fn feed(
        &self,
        reader: &mut dyn Read,
        range: std::ops::Range<u64>,
        sender: &mpsc::Sender<io::Result<Bytes>>,
    ) -> Result<()> {
        let mut at = range.start;
        while at < range.end {
            let wanted = usize::try_from(range.end - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
            let mut piece = vec![0; wanted];
            let fault = match reader.read_exact(&mut piece) {
                Ok(()) if self.watch.cancelled() => Some(Error::Cancelled),
                Ok(()) => None,
                Err(source) => Some(self.unreadable(source)),
            };
            if let Some(fault) = fault {
                // The request must not look complete; that it ends with an error is all that matters there.
                let _receiver_gone = sender.blocking_send(Err(io::ErrorKind::Interrupted.into()));
                return Err(fault);
            }
            at += wanted as u64;
            if sender.blocking_send(Ok(piece.into())).is_err() {
                return Ok(());
            }
            self.watch.progress(&self.blob.digest, at, self.blob.size);
        }
        Ok(())
    }

    fn whole(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.blob.size).unwrap_or(0)];
        let read = self.source.open(0).and_then(|mut reader| reader.read_exact(&mut bytes));
        read.map_err(|source| self.unreadable(source))?;
        Ok(bytes)
    }

    fn is_there(&self) -> Result<bool> {
        let has = push::has_blob(self.exchange, self.endpoint, &self.blob.digest);
        Ok(self.runtime.block_on(has)?.is_some())
    }

    fn exchange_request(&self, path: &str, request: Request) -> Result<Response> {
        self.runtime.block_on(self.exchange.send(self.endpoint, &self.purpose, path, &request))
    }

    fn accepted(&self, act: &str, response: Response) -> Result<Response> {
        self.runtime.block_on(self.exchange.accepted(self.endpoint, act, response))
    }

    /// Reads the refusal out of an answer.
    fn refused(&self, response: Response) -> Result<Error> {
        let status = response.status().as_u16();
        match self.accepted("take a blob", response) {
            Err(refused @ Error::Refused { .. }) => Ok(refused),
            Err(other) => Err(other),
            Ok(_) => {
                let source = Refusal::parse(status, b"");
                let host = self.endpoint.authority().to_owned();
                Ok(Error::Refused { host, act: "take a blob".to_owned(), source })
            }
        }
    }

    fn unreadable(&self, source: io::Error) -> Error {
        Error::Source { digest: self.blob.digest.clone(), source }
    }

    fn nowhere(&self) -> Error {
        self.exchange.protocol(self.endpoint, "it began an upload without saying where".to_owned())
    }
}

/// Where an answer says that the next request goes, relative or absolute. A registry behind a proxy that speaks TLS for it
/// may not know that it does: then TLS it stays. Nothing goes to another host in the clear.
pub(crate) fn location(response: &Response) -> Option<Url> {
    let mut next = response.url().join(header(response, LOCATION.as_str())?).ok()?;
    if response.url().scheme() == "https" && next.scheme() == "http" {
        if next.host_str() != response.url().host_str() {
            return None;
        }
        next.set_scheme("https").ok()?;
    }
    Some(next)
}

/// How many bytes the registry says it has: `Range: 0-LAST`. An empty upload is told as `0-0` by some and as `0--1` by
/// others, and one byte is never a whole request of ours.
fn received(response: &Response) -> Option<u64> {
    let last = header(response, RANGE.as_str())?.trim_start_matches("bytes=").strip_prefix("0-")?;
    match last.parse::<u64>() {
        Ok(0) | Err(_) => Some(0),
        Ok(last) => last.checked_add(1),
    }
}

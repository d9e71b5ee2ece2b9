//! Uploading blobs and manifests (distribution-spec, "Push").

use std::io::{self, Read};

use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Method, StatusCode};
use strata_types::Digest;

use crate::Result;
use crate::client::header;
use crate::conf::Endpoint;
use crate::exchange::{Exchange, Purpose};
use crate::http::Request;
use crate::upload::location;

/// Where the bytes of a blob to be pushed come from; opened again when an upload has to go on from the middle.
pub trait BlobSource: Sync {
    /// Opens the blob at `offset`.
    ///
    /// # Errors
    /// When it cannot be read.
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>>;
}

impl<F> BlobSource for F
where
    F: Fn(u64) -> io::Result<Box<dyn Read + Send>> + Sync,
{
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        self(offset)
    }
}

/// What became of the wish to mount a blob from another repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mounted {
    /// It is there now.
    Yes,
    /// It has to be uploaded.
    No,
}

pub(crate) async fn has_blob(exchange: &Exchange, endpoint: &Endpoint, digest: &Digest) -> Result<Option<u64>> {
    let purpose = Purpose::push("look for a blob", endpoint);
    let path = format!("{}/blobs/{digest}", endpoint.path);
    let response = exchange.send(endpoint, &purpose, &path, &Request::new(Method::HEAD)).await?;
    if response.status() == StatusCode::NOT_FOUND {
        return Ok(None);
    }
    let response = exchange.accepted(endpoint, "look for a blob", response).await?;
    Ok(header(&response, CONTENT_LENGTH.as_str()).and_then(|length| length.parse().ok()))
}

pub(crate) async fn mount_blob(
    exchange: &Exchange,
    endpoint: &Endpoint,
    digest: &Digest,
    from: &str,
) -> Result<Mounted> {
    let purpose = Purpose::mount("mount a blob", endpoint, from);
    let path = format!("{}/blobs/uploads/?mount={digest}&from={}", endpoint.path, from.replace('/', "%2F"));
    let response = exchange.send(endpoint, &purpose, &path, &Request::new(Method::POST)).await?;
    match response.status() {
        StatusCode::CREATED => Ok(Mounted::Yes),
        // A server that cannot or may not mount begins an upload instead; it is told that nothing will come.
        StatusCode::ACCEPTED => {
            if let Some(url) = location(&response) {
                let given_up = exchange.send(endpoint, &purpose, url.as_str(), &Request::new(Method::DELETE)).await;
                tracing::debug!(ok = given_up.is_ok(), "upload given up");
            }
            Ok(Mounted::No)
        }
        // The other repository may not be readable for us, which is no reason not to upload.
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(Mounted::No),
        _ => exchange.accepted(endpoint, "mount a blob", response).await.map(|_| Mounted::No),
    }
}

pub(crate) async fn push_manifest(
    exchange: &Exchange,
    endpoint: &Endpoint,
    tag: Option<&str>,
    (media_type, bytes): (&str, &[u8]),
) -> Result<Digest> {
    let digest = Digest::sha256(bytes);
    let path = format!("{}/manifests/{}", endpoint.path, tag.map_or_else(|| digest.to_string(), str::to_owned));
    let request = Request::new(Method::PUT).header(CONTENT_TYPE, media_type).body(bytes.to_vec());
    let purpose = Purpose::push("push the manifest", endpoint);
    let response = exchange.send(endpoint, &purpose, &path, &request).await?;
    let response = exchange.accepted(endpoint, "take the manifest", response).await?;
    match header(&response, "docker-content-digest") {
        Some(said) if said != digest.to_string() => {
            Err(exchange.protocol(endpoint, format!("it took the manifest {digest} for {said}")))
        }
        _ => Ok(digest),
    }
}

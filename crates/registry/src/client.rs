//! The client: what the engine asks for. Everything async is hidden here.

use std::io;
use std::sync::{Arc, OnceLock};

use http::Method;
use http::header::{ACCEPT, CONTENT_TYPE, LINK};
use reqwest::Response;
use strata_types::document::MANIFEST_BYTES_MAX;
use strata_types::{Descriptor, Digest, Document as Parsed, Hasher, Reference, Watch, media};
use tokio::runtime::Runtime;

use crate::auth::{Credential, LoggedIn};
use crate::blob::{self, BlobReader};
use crate::conf::Endpoint;
use crate::exchange::{Attempts, Exchange, Purpose, body};
use crate::http::Request;
use crate::push::{self, BlobSource, Mounted};
use crate::upload::Upload;
use crate::{Error, Refusal, Result, Settings};

/// The largest page of tags we read.
const TAGS_BYTES_MAX: usize = 4 << 20;
/// The most pages of tags we read, so that a registry cannot send us in circles.
const TAG_PAGES_MAX: usize = 1000;

/// A manifest or an index as a registry served it; its digest was checked and it is well-formed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Media type, digest and size.
    pub descriptor: Descriptor,
    /// The bytes that have that digest.
    pub bytes: Vec<u8>,
    /// What they say.
    pub content: Parsed,
}

/// Talks to registries. Cheap to make: nothing is read or opened before the first request. Used from many threads.
///
/// From the first request on the process has a further thread; it ends when the client and all its readers are dropped.
#[derive(Debug)]
pub struct Client {
    exchange: Arc<Exchange>,
    runtime: OnceLock<Arc<Runtime>>,
}

impl Client {
    /// Makes a client.
    pub fn new(settings: Settings) -> Self {
        Self { exchange: Arc::new(Exchange::new(settings)), runtime: OnceLock::new() }
    }

    /// What it was made with.
    pub fn settings(&self) -> &Settings {
        &self.exchange.settings
    }

    /// Fetches the manifest or index that a tag or a digest names; mirrors are asked first.
    ///
    /// # Errors
    /// Says what Docker says when there is none or it may not be had.
    pub fn resolve(&self, reference: &Reference) -> Result<Document> {
        let fetch = async |endpoint: &Endpoint| self.exchange.document(endpoint, reference).await;
        let found = self.runtime()?.block_on(self.exchange.first(reference, fetch));
        found.map_err(|error| in_words(error, reference))
    }

    /// Asks which manifest a tag names, without fetching it; `None` if the registry does not say without.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub fn head(&self, reference: &Reference) -> Result<Option<Descriptor>> {
        let fetch = async |endpoint: &Endpoint| self.exchange.head_document(endpoint, reference).await;
        let found = self.runtime()?.block_on(self.exchange.first(reference, fetch));
        found.map_err(|error| in_words(error, reference))
    }

    /// Fetches the manifest with this digest from the reference's repository.
    ///
    /// # Errors
    /// As [`Client::resolve`].
    pub fn manifest(&self, reference: &Reference, digest: &Digest) -> Result<Document> {
        self.resolve(&reference.with_digest(digest.clone()))
    }

    /// Opens a blob from `offset` on. Broken connections are continued where they broke; large blobs come in several
    /// ranges at once. The number of bytes is checked; the digest is for who reads them all, see [`BlobReader::verified`].
    ///
    /// # Errors
    /// When it is not there, may not be had, or the registry cannot be reached. What fails later fails the reader, with
    /// an [`Error`] inside the `io::Error`.
    pub fn blob(&self, reference: &Reference, blob: &Descriptor, offset: u64) -> Result<BlobReader> {
        let runtime = self.runtime()?;
        let open = async |endpoint: &Endpoint| blob::open(&self.exchange, endpoint, blob, offset).await;
        let opened = runtime.block_on(self.exchange.first(&by_digest(reference, blob), open));
        let opened = opened.map_err(|error| blob_in_words(error, reference, blob))?;
        Ok(BlobReader::new(runtime.clone(), opened))
    }

    /// Fetches a small blob, such as an image config, and checks its digest.
    ///
    /// # Errors
    /// As [`Client::blob`], and when it is larger than `limit_bytes` or not what its digest says.
    pub fn small_blob(&self, reference: &Reference, blob: &Descriptor, limit_bytes: u64) -> Result<Vec<u8>> {
        let host = || reference.domain().to_owned();
        if blob.size > limit_bytes {
            return Err(Error::TooLarge { host: host(), what: format!("blob {}", blob.digest), limit_bytes });
        }
        let mut bytes = Vec::new();
        let mut reader = self.blob(reference, blob, 0)?;
        io::Read::read_to_end(&mut reader, &mut bytes).map_err(|error| Error::of_io(error, reference))?;
        let actual = digest_like(&blob.digest, &bytes);
        if actual != blob.digest {
            return Err(Error::DigestMismatch { host: host(), expected: blob.digest.clone(), actual });
        }
        Ok(bytes)
    }

    /// Asks whether the repository has a blob, and how large it is. Mirrors do not count: this is for pushing.
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses to say.
    pub fn has_blob(&self, reference: &Reference, digest: &Digest) -> Result<Option<u64>> {
        let endpoint = self.primary(reference)?;
        let has = push::has_blob(&self.exchange, &endpoint, digest);
        self.runtime()?.block_on(has).map_err(|error| push_in_words(error, reference))
    }

    /// Asks the registry to take a blob from another of its repositories (`from` is a path, such as `library/debian`).
    ///
    /// # Errors
    /// When the registry cannot be reached or refuses uploads.
    pub fn mount_blob(&self, reference: &Reference, digest: &Digest, from: &str) -> Result<Mounted> {
        let endpoint = self.primary(reference)?;
        let mount = push::mount_blob(&self.exchange, &endpoint, digest, from);
        self.runtime()?.block_on(mount).map_err(|error| push_in_words(error, reference))
    }

    /// Uploads a blob; continues where it stood when the connection breaks. `watch` hears of the progress.
    ///
    /// # Errors
    /// When the source cannot be read, the registry refuses, or cannot be reached for longer than our patience.
    pub fn push_blob(
        &self,
        reference: &Reference,
        blob: &Descriptor,
        source: &dyn BlobSource,
        watch: &dyn Watch,
    ) -> Result<()> {
        let endpoint = self.primary(reference)?;
        let purpose = Purpose::push("push a blob", &endpoint);
        let (exchange, runtime, endpoint) = (&self.exchange, self.runtime()?, &endpoint);
        let upload = Upload { exchange, runtime, endpoint, purpose, blob, source, watch };
        upload.run().map_err(|error| push_in_words(error, reference))
    }

    /// Uploads a manifest or index under the reference's tag, or under its digest if there is no tag.
    ///
    /// # Errors
    /// When the registry refuses or cannot be reached.
    pub fn push_manifest(&self, reference: &Reference, media_type: &str, bytes: &[u8]) -> Result<Digest> {
        let endpoint = self.primary(reference)?;
        let pushed = push::push_manifest(&self.exchange, &endpoint, reference.tag(), (media_type, bytes));
        self.runtime()?.block_on(pushed).map_err(|error| push_in_words(error, reference))
    }

    /// Lists the tags of a repository.
    ///
    /// # Errors
    /// When there is no such repository, or it may not be read.
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>> {
        let endpoint = self.primary(reference)?;
        let listed = self.runtime()?.block_on(self.exchange.tags(&endpoint));
        listed.map_err(|error| in_words(error, reference))
    }

    /// Tries a credential at a registry (`docker.io`, `localhost:5000`). What to keep may differ from what was given: an
    /// identity token in place of a password. Saving it is [`crate::auth::CredentialStore::save`].
    ///
    /// # Errors
    /// When the registry does not accept it or cannot be reached.
    pub fn login(&self, host: &str, credential: &Credential) -> Result<LoggedIn> {
        let endpoint = self.exchange.settings.registries.host(host);
        let proved = self.runtime()?.block_on(self.exchange.prove(&endpoint, credential));
        let refresh = proved.map_err(|error| match error {
            Error::Refused { source, .. } if matches!(source.status, 401 | 403) => {
                Error::LoginRefused { host: host.to_owned(), source }
            }
            other => other,
        })?;
        let user = match credential {
            Credential::Password { user, .. } | Credential::IdentityToken { user, .. } => user.clone(),
            Credential::RegistryToken(_) => String::new(),
        };
        let kept = refresh.map(|token| Credential::IdentityToken { user, token });
        Ok(LoggedIn { credential: kept.unwrap_or_else(|| credential.clone()) })
    }

    fn primary(&self, reference: &Reference) -> Result<Endpoint> {
        let primary = self.exchange.settings.registries.primary(reference);
        primary.ok_or_else(|| Error::Blocked(reference.domain().to_owned()))
    }

    pub(crate) const fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// The private runtime: one thread moves the bytes of all connections, and callers drive their own requests.
    pub(crate) fn runtime(&self) -> Result<&Arc<Runtime>> {
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime);
        }
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).thread_name("registry").enable_all().build().map_err(Error::Runtime)?;
        Ok(self.runtime.get_or_init(|| Arc::new(runtime)))
    }
}

impl Exchange {
    /// Asks one endpoint after the other; the first answer counts. What the last one, the registry itself, says is the
    /// error.
    pub(crate) async fn first<T>(&self, reference: &Reference, ask: impl AsyncFn(&Endpoint) -> Result<T>) -> Result<T> {
        let endpoints = self.settings.registries.endpoints(reference);
        let endpoints = endpoints.ok_or_else(|| Error::Blocked(reference.domain().to_owned()))?;
        let mut fault = None;
        for endpoint in endpoints.iter().filter(|endpoint| !endpoint.is_mirror || !self.is_dead(endpoint)) {
            match ask(endpoint).await {
                Err(error) if endpoint.is_mirror => {
                    tracing::info!(mirror = endpoint.host, %error, "mirror passed over");
                    if matches!(error, Error::Network { .. }) {
                        self.bury(endpoint);
                    }
                    fault = Some(error);
                }
                other => return other,
            }
        }
        Err(fault.unwrap_or_else(|| Error::Blocked(reference.domain().to_owned())))
    }

    async fn document(&self, endpoint: &Endpoint, reference: &Reference) -> Result<Document> {
        let mut attempts = Attempts::new(self.settings.patience);
        loop {
            let response = self.ask_document(endpoint, reference, Method::GET).await?;
            let content_type = header(&response, CONTENT_TYPE.as_str()).map(str::to_owned);
            let host = endpoint.authority();
            let bytes = match body(response, MANIFEST_BYTES_MAX as usize, host, "a manifest").await {
                Ok(bytes) => bytes,
                Err(error @ Error::Network { .. }) => {
                    tokio::time::sleep(attempts.next().ok_or(error)?).await;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let digest = match reference.digest() {
                Some(expected) => {
                    let actual = digest_like(expected, &bytes);
                    if actual != *expected {
                        let expected = expected.clone();
                        return Err(Error::DigestMismatch { host: host.to_owned(), expected, actual });
                    }
                    actual
                }
                None => Digest::sha256(&bytes),
            };
            let parsed = Parsed::parse(&bytes, content_type.as_deref());
            let content = parsed.map_err(|source| Error::Document { reference: reference.familiar(), source })?;
            let descriptor = Descriptor::new(content.media_type(), digest, bytes.len() as u64);
            return Ok(Document { descriptor, bytes, content });
        }
    }

    async fn head_document(&self, endpoint: &Endpoint, reference: &Reference) -> Result<Option<Descriptor>> {
        let response = self.ask_document(endpoint, reference, Method::HEAD).await?;
        let text = |name: &str| header(&response, name);
        let digest = text("docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let size = text("content-length").and_then(|text| text.parse().ok());
        let media_type = media::essence(text("content-type").unwrap_or_default());
        Ok(digest.zip(size).map(|(digest, size)| Descriptor::new(media_type, digest, size)))
    }

    async fn ask_document(&self, endpoint: &Endpoint, reference: &Reference, method: Method) -> Result<Response> {
        let which = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or(strata_types::reference::DEFAULT_TAG).to_owned(),
        };
        let mut request = Request::new(method);
        for media_type in media::ACCEPT_MANIFESTS {
            request = request.header(ACCEPT, media_type);
        }
        let purpose = Purpose::pull("get the manifest", endpoint);
        let path = format!("{}/manifests/{which}", endpoint.path);
        let response = self.send(endpoint, &purpose, &path, &request).await?;
        self.accepted(endpoint, "give the manifest", response).await
    }

    async fn tags(&self, endpoint: &Endpoint) -> Result<Vec<String>> {
        #[derive(serde::Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let purpose = Purpose::pull("list tags", endpoint);
        let mut path = format!("{}/tags/list", endpoint.path);
        let mut tags = Vec::new();
        for _ in 0..TAG_PAGES_MAX {
            let response = self.send(endpoint, &purpose, &path, &Request::new(Method::GET)).await?;
            let response = self.accepted(endpoint, "list tags", response).await?;
            let next = header(&response, LINK.as_str()).and_then(next_page).map(str::to_owned);
            let bytes = body(response, TAGS_BYTES_MAX, endpoint.authority(), "a list of tags").await?;
            let page: Page = serde_json::from_slice(&bytes)
                .map_err(|error| self.protocol(endpoint, format!("its list of tags makes no sense: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) => path = next,
                None => return Ok(tags),
            }
        }
        Err(self.protocol(endpoint, format!("its list of tags has more than {TAG_PAGES_MAX} pages")))
    }
}

impl Error {
    /// Gets our error out of one that came by way of a reader, or tells the reader's in our words.
    pub fn of_io(error: io::Error, reference: &Reference) -> Self {
        match error.downcast::<Self>() {
            Ok(own) => own,
            Err(other) => Self::Network {
                host: reference.domain().to_owned(),
                act: "read a blob".to_owned(),
                source: crate::NetworkError::Lost(other),
            },
        }
    }
}

/// A header's text.
pub(crate) fn header<'a>(response: &'a Response, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Blobs are named by digest, which decides what mirrors are asked.
fn by_digest(reference: &Reference, blob: &Descriptor) -> Reference {
    reference.with_digest(blob.digest.clone())
}

fn digest_like(expected: &Digest, bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(expected.algorithm());
    hasher.update(bytes);
    hasher.finish()
}

/// `<URL>; rel="next"` (RFC 8288).
fn next_page(link: &str) -> Option<&str> {
    let (url, parameters) = link.strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then_some(url)
}

/// Tells a refusal to let us read as Docker does.
fn in_words(error: Error, reference: &Reference) -> Error {
    let Error::Refused { source, .. } = &error else { return error };
    let (name, source) = (reference.familiar_name(), source.clone());
    match (source.status, &*source.code) {
        (_, "NAME_UNKNOWN") => Error::RepositoryNotFound { name, source },
        (404, "" | "MANIFEST_UNKNOWN" | "NOT_FOUND") | (_, "MANIFEST_UNKNOWN") => {
            let source = Refusal { text: "manifest unknown: manifest unknown".to_owned(), ..source };
            Error::ManifestNotFound { reference: reference.familiar(), source }
        }
        (401 | 403, _) => Error::PullDenied { name, source },
        _ => error,
    }
}

fn blob_in_words(error: Error, reference: &Reference, blob: &Descriptor) -> Error {
    match error {
        Error::Refused { source, .. } if source.status == 404 => {
            Error::BlobNotFound { digest: blob.digest.clone(), name: reference.familiar_name() }
        }
        other => in_words(other, reference),
    }
}

fn push_in_words(error: Error, reference: &Reference) -> Error {
    match error {
        Error::Refused { source, .. } if matches!(source.status, 401 | 403) => {
            Error::PushDenied { name: reference.familiar_name(), source }
        }
        other => other,
    }
}

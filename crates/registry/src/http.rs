//! One HTTP exchange: the right client for each host, redirects without leaking who we are, errors in words.
//!
//! HTTP/1.1 only: bulk transfers gain nothing from sharing one connection, ranges of one blob want several, and frames
//! cost processor time.

use std::collections::HashMap;
use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION};
use http::{Method, StatusCode};
use reqwest::{Body, Response, Url};

use crate::conf::is_loopback;
use crate::dns::Names;
use crate::tls::{self, HostCertificates};
use crate::{NetworkError, Result, Settings};

/// How often a registry may send us elsewhere for one request; Docker's limit.
const REDIRECTS_MAX: usize = 10;

/// A request that can be sent again.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: Method,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Request {
    pub(crate) fn new(method: Method) -> Self {
        Self { method, headers: HeaderMap::new(), body: Bytes::new() }
    }

    pub(crate) fn header(mut self, name: http::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.append(name, value);
        }
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }
}

/// Why a request got no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    Network(NetworkError),
    Setup(crate::Error),
}

/// The connections, by kind of host.
#[derive(Debug, Default)]
pub(crate) struct Http {
    clients: Mutex<HashMap<Kind, reqwest::Client>>,
    names: Names,
}

/// Hosts of one kind share a client, and so its connections.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Loopback,
    Plain,
    System,
    Host { authority: String, verify: bool },
}

impl Http {
    /// Sends a request and follows redirects. `authorization` is shown to the host of `url` and to no other.
    pub(crate) async fn send(
        &self,
        settings: &Settings,
        url: &Url,
        request: &Request,
        authorization: Option<&HeaderValue>,
        verify: bool,
    ) -> Result<Response, Failure> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let client = self.client(settings, &at, verify || !same_host(&at, url)).map_err(Failure::Setup)?;
            let mut builder = client.request(request.method.clone(), at.clone()).headers(request.headers.clone());
            if let Some(value) = authorization.filter(|_| same_origin(&at, url)) {
                builder = builder.header(AUTHORIZATION, value);
            }
            if !request.body.is_empty() || matches!(request.method, Method::POST | Method::PUT | Method::PATCH) {
                builder = builder.body(request.body.clone());
            }
            let response = builder.send().await.map_err(|error| Failure::Network(network(&error, settings, &at)))?;
            let Some(next) = redirect(&request.method, &response) else { return Ok(response) };
            if at.scheme() == "https" && next.scheme() != "https" && verify {
                let why = format!("a redirect leads from HTTPS to {}://", next.scheme());
                return Err(Failure::Network(NetworkError::Other(why)));
            }
            tracing::debug!(host = next.host_str(), "redirected");
            at = next;
        }
        Err(Failure::Network(NetworkError::Other(format!("more than {REDIRECTS_MAX} redirects"))))
    }

    /// Sends a body that cannot be sent again; redirects are answers here.
    pub(crate) async fn stream(
        &self,
        settings: &Settings,
        url: &Url,
        (request, body): (&Request, Body),
        authorization: Option<&HeaderValue>,
        verify: bool,
    ) -> Result<Response, Failure> {
        let client = self.client(settings, url, verify).map_err(Failure::Setup)?;
        let mut builder = client.request(request.method.clone(), url.clone()).headers(request.headers.clone());
        if let Some(value) = authorization {
            builder = builder.header(AUTHORIZATION, value);
        }
        builder.body(body).send().await.map_err(|error| Failure::Network(network(&error, settings, url)))
    }

    fn client(&self, settings: &Settings, url: &Url, verify: bool) -> Result<reqwest::Client> {
        let authority = authority(url);
        let host = match url.scheme() {
            "https" => tls::host_dir(&settings.certs_dirs, &authority),
            _ => None,
        };
        let kind = match url.scheme() {
            "https" if host.is_some() || !verify => Kind::Host { authority, verify },
            "https" => Kind::System,
            _ if is_loopback(&authority) => Kind::Loopback,
            _ => Kind::Plain,
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&kind) {
            return Ok(client.clone());
        }
        let client = self.build(settings, &kind, host.as_deref())?;
        clients.insert(kind, client.clone());
        Ok(client)
    }

    fn build(&self, settings: &Settings, kind: &Kind, host: Option<&Path>) -> Result<reqwest::Client> {
        let loopback = match kind {
            Kind::Loopback => true,
            Kind::Host { authority, .. } => is_loopback(authority),
            _ => false,
        };
        let tls = match kind {
            Kind::Loopback | Kind::Plain => tls::distrusting()?,
            Kind::System => tls::config(None, true)?,
            Kind::Host { verify, .. } => tls::config(host.map(HostCertificates::read).transpose()?, *verify)?,
        };
        let patience = settings.patience;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls)
            .user_agent(&settings.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .dns_resolver(self.names.clone())
            .connect_timeout(patience.connect)
            .read_timeout(patience.idle)
            // None from the environment: whoever made the settings has read it.
            .no_proxy();
        if !loopback {
            for proxy in settings.proxies.to_reqwest().map_err(setup)? {
                builder = builder.proxy(proxy);
            }
        }
        builder.build().map_err(setup)
    }
}

/// Whether two URLs have scheme, host and port in common.
pub(crate) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme() && same_host(one, other)
}

fn same_host(one: &Url, other: &Url) -> bool {
    one.host_str() == other.host_str() && one.port_or_known_default() == other.port_or_known_default()
}

/// `HOST[:PORT]` of a URL.
pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

fn setup(error: reqwest::Error) -> crate::Error {
    crate::Error::Runtime(io::Error::other(error))
}

/// Where an answer sends us, if it does: only requests that change nothing follow.
fn redirect(method: &Method, response: &Response) -> Option<Url> {
    let moved = matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    if !moved || !matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    response.url().join(location).ok().filter(|next| matches!(next.scheme(), "http" | "https"))
}

/// Says why an exchange failed, in words.
pub(crate) fn network(error: &reqwest::Error, settings: &Settings, url: &Url) -> NetworkError {
    if error.is_timeout() {
        let patience = settings.patience;
        let limit = if error.is_connect() { patience.connect } else { patience.idle };
        return NetworkError::Timeout(limit.as_secs());
    }
    let mut cause = error.source();
    let mut last = error.to_string();
    while let Some(inner) = cause {
        if let Some(error) = inner.downcast_ref::<rustls::Error>() {
            return tls_fault(error);
        }
        if let Some(error) = inner.downcast_ref::<io::Error>() {
            match error.kind() {
                io::ErrorKind::ConnectionRefused => return NetworkError::Refused,
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof => return NetworkError::Lost(io::Error::from(error.kind())),
                _ => {}
            }
            if let Some(error) = tls_within(error) {
                return tls_fault(error);
            }
        }
        last = inner.to_string();
        cause = inner.source();
    }
    if error.is_dns() {
        return NetworkError::NoSuchHost(url.host_str().unwrap_or_default().to_owned());
    }
    if error.is_body() || error.is_decode() || error.is_request() && !error.is_connect() {
        return NetworkError::Lost(io::Error::other(last));
    }
    NetworkError::Other(last)
}

/// The TLS library's error inside one or several of the standard library's, which hide it from `source`.
fn tls_within(error: &io::Error) -> Option<&rustls::Error> {
    let inner = error.get_ref()?;
    inner.downcast_ref().or_else(|| tls_within(inner.downcast_ref()?))
}

fn tls_fault(error: &rustls::Error) -> NetworkError {
    match error {
        rustls::Error::InvalidMessage(_) => NetworkError::PlainHttp,
        other => NetworkError::Tls(other.to_string()),
    }
}

//! One exchange with a registry: where it listens, who we are, and patience.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use http::header::{HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, StatusCode};
use reqwest::{Body, Response, Url};

use crate::auth::Credential;
use crate::auth::challenge::Challenge;
use crate::auth::token::{self, Token, Wish};
use crate::conf::Endpoint;
use crate::http::{Failure, Http, Request, same_origin};
use crate::refusal::REFUSAL_BYTES_MAX;
use crate::{Error, NetworkError, Patience, Refusal, Result, Settings};

/// What a request is for: the act in error messages, and the rights it needs.
#[derive(Clone, Debug)]
pub(crate) struct Purpose {
    pub(crate) act: &'static str,
    pub(crate) scopes: Vec<String>,
}

impl Purpose {
    pub(crate) fn pull(act: &'static str, endpoint: &Endpoint) -> Self {
        Self { act, scopes: vec![format!("repository:{}:pull", endpoint.path)] }
    }

    pub(crate) fn push(act: &'static str, endpoint: &Endpoint) -> Self {
        Self { act, scopes: vec![format!("repository:{}:pull,push", endpoint.path)] }
    }

    pub(crate) fn mount(act: &'static str, endpoint: &Endpoint, from: &str) -> Self {
        let mut purpose = Self::push(act, endpoint);
        purpose.scopes.push(format!("repository:{from}:pull"));
        purpose.scopes.sort();
        purpose
    }
}

/// Exchanges requests with registries and remembers what it learns about them.
#[derive(Debug)]
pub(crate) struct Exchange {
    pub(crate) settings: Settings,
    http: Http,
    memory: Mutex<Memory>,
}

/// What was learned, by the registry's authority. Debug output has no secrets: header values are marked.
#[derive(Debug, Default)]
struct Memory {
    bases: HashMap<String, Url>,
    challenges: HashMap<String, Challenge>,
    headers: HashMap<(String, Vec<String>), HeaderValue>,
    dead: HashSet<String>,
}

impl Exchange {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, http: Http::default(), memory: Mutex::default() }
    }

    /// The connections.
    pub(crate) const fn http(&self) -> &Http {
        &self.http
    }

    /// Sends a request to `path` below the endpoint's `/v2/`, or to an absolute URL; proves who we are when asked;
    /// tries again what may work later. The answer may still be a refusal.
    pub(crate) async fn send(
        &self,
        endpoint: &Endpoint,
        purpose: &Purpose,
        path: &str,
        request: &Request,
    ) -> Result<Response> {
        let base = self.base(endpoint, purpose).await?;
        let url = base.join(path).map_err(|_| self.protocol(endpoint, format!("`{path}` leads nowhere")))?;
        let mut attempts = Attempts::new(self.settings.patience);
        let mut proved = false;
        loop {
            let authorization = match same_origin(&base, &url) {
                true => self.authorization(endpoint, purpose).await?,
                false => None,
            };
            let sent = self.http.send(&self.settings, &url, request, authorization.as_ref(), !endpoint.insecure).await;
            let delay = match sent {
                Ok(response) if response.status() == StatusCode::UNAUTHORIZED && !proved => {
                    proved = true;
                    if !self.learn(endpoint, purpose, &response) {
                        return Ok(response);
                    }
                    continue;
                }
                Ok(response) if is_passing(response.status()) => match attempts.after(&response) {
                    Some(delay) => delay,
                    None => return Ok(response),
                },
                Ok(response) => return Ok(response),
                Err(Failure::Setup(error)) => return Err(error),
                Err(Failure::Network(source @ NetworkError::Lost(_))) => {
                    attempts.next().ok_or_else(|| network(endpoint, purpose, source))?
                }
                Err(Failure::Network(source)) => return Err(network(endpoint, purpose, source)),
            };
            tracing::debug!(host = endpoint.authority(), act = purpose.act, ?delay, "trying again");
            tokio::time::sleep(delay).await;
        }
    }

    /// Sends a body that cannot be sent again. One attempt; whoever has the source tries again from where it stands.
    pub(crate) async fn stream(
        &self,
        endpoint: &Endpoint,
        purpose: &Purpose,
        url: &Url,
        (request, body): (&Request, Body),
    ) -> Result<Response> {
        let base = self.base(endpoint, purpose).await?;
        let authorization = match same_origin(&base, url) {
            true => self.authorization(endpoint, purpose).await?,
            false => None,
        };
        let verify = !endpoint.insecure;
        let sent = self.http.stream(&self.settings, url, (request, body), authorization.as_ref(), verify).await;
        let response = sent.map_err(|failure| match failure {
            Failure::Setup(error) => error,
            Failure::Network(source) => network(endpoint, purpose, source),
        })?;
        if response.status() == StatusCode::UNAUTHORIZED {
            self.learn(endpoint, purpose, &response);
        }
        Ok(response)
    }

    /// Tries a credential: asks for the protocol's root with it. Gives back a refresh token if there is one.
    pub(crate) async fn prove(&self, endpoint: &Endpoint, credential: &Credential) -> Result<Option<String>> {
        let purpose = Purpose { act: "log in", scopes: Vec::new() };
        let base = self.base(endpoint, &purpose).await?;
        let request = Request::new(Method::GET);
        let verify = !endpoint.insecure;
        let ask = async |authorization: Option<&HeaderValue>| {
            let sent = self.http.send(&self.settings, &base, &request, authorization, verify).await;
            sent.map_err(|failure| match failure {
                Failure::Setup(error) => error,
                Failure::Network(source) => network(endpoint, &purpose, source),
            })
        };
        let response = ask(None).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return self.accepted(endpoint, purpose.act, response).await.map(|_| None);
        }
        let challenge = Challenge::choose(texts(&response)).ok_or_else(|| Error::Challenge {
            host: endpoint.host.clone(),
            why: "there is neither Basic nor Bearer".to_owned(),
        })?;
        let (header, refresh) = match (&challenge, credential) {
            (Challenge::Basic, Credential::Password { user, password }) => (token::basic(user, password), None),
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { .. }, _) => {
                let token = self.token(endpoint, &challenge, (Vec::new(), true), Some(credential)).await?;
                (token::bearer(&token.access), token.refresh)
            }
        };
        let response = ask(Some(&header)).await?;
        self.accepted(endpoint, purpose.act, response).await.map(|_| refresh)
    }

    /// Reads a refusal out of an answer, or gives the answer back.
    pub(crate) async fn accepted(&self, endpoint: &Endpoint, act: &str, response: Response) -> Result<Response> {
        if response.status().is_success() {
            return Ok(response);
        }
        let status = response.status().as_u16();
        let body = body(response, REFUSAL_BYTES_MAX, endpoint.authority(), "an error").await.unwrap_or_default();
        let source = Refusal::parse(status, &body);
        Err(Error::Refused { host: endpoint.authority().to_owned(), act: act.to_owned(), source })
    }

    /// Remembers that a mirror does not answer, so that it is not asked again.
    pub(crate) fn bury(&self, endpoint: &Endpoint) {
        self.memory().dead.insert(endpoint.authority().to_owned());
    }

    pub(crate) fn is_dead(&self, endpoint: &Endpoint) -> bool {
        self.memory().dead.contains(endpoint.authority())
    }

    pub(crate) fn protocol(&self, endpoint: &Endpoint, why: String) -> Error {
        Error::Protocol { host: endpoint.authority().to_owned(), why }
    }

    /// Where the endpoint's `/v2/` is. Where plain HTTP is allowed, both ways are tried once: on this machine plain HTTP
    /// first, elsewhere TLS first, so that nobody on the way can talk us out of it.
    async fn base(&self, endpoint: &Endpoint, purpose: &Purpose) -> Result<Url> {
        let authority = endpoint.authority();
        if let Some(base) = self.memory().bases.get(authority) {
            return Ok(base.clone());
        }
        let root = |scheme: &str| {
            Url::parse(&format!("{scheme}://{authority}/v2/"))
                .map_err(|error| self.protocol(endpoint, format!("its name makes no URL: {error}")))
        };
        let base = if endpoint.is_loopback() {
            self.probe(endpoint, purpose, [root("http")?, root("https")?]).await?
        } else if endpoint.insecure {
            self.probe(endpoint, purpose, [root("https")?, root("http")?]).await?
        } else {
            root("https")?
        };
        self.memory().bases.insert(authority.to_owned(), base.clone());
        Ok(base)
    }

    /// Takes the first of two URLs where a registry answers. No credentials are shown.
    async fn probe(&self, endpoint: &Endpoint, purpose: &Purpose, [first, second]: [Url; 2]) -> Result<Url> {
        let mut fault = None;
        for url in [first, second] {
            let sent = self.http.send(&self.settings, &url, &Request::new(Method::GET), None, !endpoint.insecure).await;
            match sent {
                // Go's servers answer so on a TLS port.
                Ok(response) if response.status() == StatusCode::BAD_REQUEST && url.scheme() == "http" => {}
                Ok(response) => {
                    if response.status() == StatusCode::UNAUTHORIZED {
                        self.learn(endpoint, purpose, &response);
                    }
                    return Ok(url);
                }
                Err(Failure::Setup(error)) => return Err(error),
                Err(Failure::Network(source)) => fault = fault.or(Some(network(endpoint, purpose, source))),
            }
        }
        Err(fault.unwrap_or_else(|| self.protocol(endpoint, "it speaks neither HTTP nor HTTPS".to_owned())))
    }

    /// Takes in a challenge and forgets what did not satisfy it; false if there is none we can meet.
    fn learn(&self, endpoint: &Endpoint, purpose: &Purpose, response: &Response) -> bool {
        let Some(challenge) = Challenge::choose(texts(response)) else { return false };
        let authority = endpoint.authority().to_owned();
        let mut memory = self.memory();
        memory.headers.remove(&(authority.clone(), purpose.scopes.clone()));
        memory.challenges.insert(authority, challenge);
        true
    }

    /// The header that meets the endpoint's challenge, if it had one; from memory where possible.
    async fn authorization(&self, endpoint: &Endpoint, purpose: &Purpose) -> Result<Option<HeaderValue>> {
        let key = (endpoint.authority().to_owned(), purpose.scopes.clone());
        let challenge = {
            let memory = self.memory();
            if let Some(header) = memory.headers.get(&key) {
                return Ok(Some(header.clone()));
            }
            match memory.challenges.get(&key.0) {
                Some(challenge) => challenge.clone(),
                None => return Ok(None),
            }
        };
        let credential = self.credential(endpoint).await?;
        let header = match (&challenge, &credential) {
            (Challenge::Basic, Some(Credential::Password { user, password })) => token::basic(user, password),
            (Challenge::Basic, _) => return Ok(None),
            (Challenge::Bearer { .. }, _) => {
                let wanted = (purpose.scopes.clone(), false);
                token::bearer(&self.token(endpoint, &challenge, wanted, credential.as_ref()).await?.access)
            }
        };
        self.memory().headers.insert(key, header.clone());
        Ok(Some(header))
    }

    async fn token(
        &self,
        endpoint: &Endpoint,
        challenge: &Challenge,
        (mut scopes, offline): (Vec<String>, bool),
        credential: Option<&Credential>,
    ) -> Result<Token> {
        let Challenge::Bearer { realm, service, scope } = challenge else {
            return Err(self.protocol(endpoint, "a token was wanted without a challenge".to_owned()));
        };
        if scopes.is_empty() && !offline {
            scopes.extend(scope.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned));
        }
        let insecure = endpoint.insecure;
        let wish = Wish { host: &endpoint.host, realm, service, scopes, offline, insecure };
        token::fetch(&self.http, &self.settings, &wish, credential).await
    }

    /// Reads files and runs helpers, so it must not hold up the network's thread.
    async fn credential(&self, endpoint: &Endpoint) -> Result<Option<Credential>> {
        let (store, host, path) = (self.settings.credentials.clone(), endpoint.host.clone(), endpoint.path.clone());
        let found = tokio::task::spawn_blocking(move || store.find(&host, &path)).await;
        Ok(found.map_err(|error| Error::Runtime(std::io::Error::other(error)))??)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn texts(response: &Response) -> impl Iterator<Item = &str> {
    response.headers().get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok())
}

pub(crate) fn network(endpoint: &Endpoint, purpose: &Purpose, source: NetworkError) -> Error {
    Error::Network { host: endpoint.authority().to_owned(), act: purpose.act.to_owned(), source }
}

/// Whether the same request may succeed later.
pub(crate) fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// How long `Retry-After` asks to wait: a number of seconds, or a date (RFC 9110, 10.2.3).
fn wait_of(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = SystemTime::from(jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?);
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

/// Reads a whole answer that must not have more than `limit` bytes.
pub(crate) async fn body(mut response: Response, limit: usize, host: &str, what: &str) -> Result<Vec<u8>> {
    let too_large = || Error::TooLarge { host: host.to_owned(), what: what.to_owned(), limit_bytes: limit as u64 };
    if response.content_length().is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if bytes.len() + chunk.len() > limit => return Err(too_large()),
            Ok(Some(chunk)) => bytes.extend_from_slice(&chunk),
            Ok(None) => return Ok(bytes),
            Err(error) => {
                let source = NetworkError::Lost(std::io::Error::other(error.without_url()));
                return Err(Error::Network { host: host.to_owned(), act: format!("read {what}"), source });
            }
        }
    }
}

/// Counts attempts without progress, and says how long to wait before the next.
#[derive(Debug)]
pub(crate) struct Attempts {
    patience: Patience,
    made: u32,
}

impl Attempts {
    pub(crate) const fn new(patience: Patience) -> Self {
        Self { patience, made: 1 }
    }

    /// How long to wait; `None` when it is enough.
    pub(crate) fn next(&mut self) -> Option<Duration> {
        if self.made >= self.patience.attempts {
            return None;
        }
        let delay = self.patience.backoff.saturating_mul(1 << (self.made - 1).min(16));
        self.made += 1;
        Some(delay.min(self.patience.backoff_max))
    }

    /// The same after an answer that may say when to come back. A wait longer than our patience is none.
    pub(crate) fn after(&mut self, response: &Response) -> Option<Duration> {
        let own = self.next()?;
        let header = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok());
        let Some(wanted) = header.and_then(|text| wait_of(text, strata_sys::clock::now())) else { return Some(own) };
        (wanted <= self.patience.backoff_max).then(|| wanted.max(own))
    }

    /// Begins anew: there was progress.
    pub(crate) const fn reset(&mut self) {
        self.made = 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_say_when_to_come_back_in_two_ways() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_445_412_480);
        for (text, expected) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Wed, 21 Oct 2015 07:28:30 GMT", Some(30)),
            ("Wed, 21 Oct 2015 07:27:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(wait_of(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}

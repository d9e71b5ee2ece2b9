//! How a client meets the world. All of it is data: whoever makes a client has read the environment.

use std::path::PathBuf;
use std::time::Duration;

use crate::auth::CredentialStore;
use crate::conf::Registries;

/// What a [`crate::Client`] is made with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What we call ourselves: `strata/0.1.0 …`.
    pub user_agent: String,
    /// Where references lead: mirrors, insecure and blocked registries.
    pub registries: Registries,
    /// Where credentials come from.
    pub credentials: CredentialStore,
    /// Folders that have a folder `HOST[:PORT]` with `*.crt`, `*.cert` and `*.key` for some registries.
    pub certs_dirs: Vec<PathBuf>,
    /// Proxies.
    pub proxies: Proxies,
    /// How long to wait, and how often to try.
    pub patience: Patience,
}

impl Settings {
    /// Settings with no credentials, no mirrors and no proxies.
    pub fn new(user_agent: &str) -> Self {
        Self {
            user_agent: user_agent.to_owned(),
            registries: Registries::default(),
            credentials: CredentialStore::default(),
            certs_dirs: Vec::new(),
            proxies: Proxies::default(),
            patience: Patience::default(),
        }
    }
}

/// The values of `HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY` and `NO_PROXY`, of either case.
#[derive(Clone, Default)]
pub struct Proxies {
    /// For `http` URLs.
    pub http: Option<String>,
    /// For `https` URLs.
    pub https: Option<String>,
    /// For all others.
    pub all: Option<String>,
    /// Hosts that need none, separated by commas.
    pub none: Option<String>,
}

impl std::fmt::Debug for Proxies {
    /// Leaves the values out: they may have passwords.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Proxies")
            .field("http", &self.http.is_some())
            .field("https", &self.https.is_some())
            .field("all", &self.all.is_some())
            .field("none", &self.none)
            .finish()
    }
}

/// How long to wait, and how often to try.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For the next bytes.
    pub idle: Duration,
    /// Before the second attempt; doubled for each further one.
    pub backoff: Duration,
    /// The longest wait between two attempts, and the longest `Retry-After` that is followed.
    pub backoff_max: Duration,
    /// Attempts in a row without a single new byte.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            idle: Duration::from_secs(30),
            backoff: Duration::from_millis(500),
            backoff_max: Duration::from_secs(60),
            attempts: 6,
        }
    }
}

impl Proxies {
    /// The proxies as the HTTP library takes them.
    pub(crate) fn to_reqwest(&self) -> reqwest::Result<Vec<reqwest::Proxy>> {
        let none = || self.none.as_deref().and_then(reqwest::NoProxy::from_string);
        let given = |value: &Option<String>| value.clone().filter(|url| !url.is_empty());
        let mut proxies = Vec::new();
        if let Some(url) = given(&self.http) {
            proxies.push(reqwest::Proxy::http(url)?.no_proxy(none()));
        }
        if let Some(url) = given(&self.https) {
            proxies.push(reqwest::Proxy::https(url)?.no_proxy(none()));
        }
        if let Some(url) = given(&self.all) {
            proxies.push(reqwest::Proxy::all(url)?.no_proxy(none()));
        }
        Ok(proxies)
    }
}

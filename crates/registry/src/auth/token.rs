//! Bearer tokens (distribution, "Token Authentication" and "OAuth2 Token Authentication").

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use http::header::{CONTENT_TYPE, HeaderValue};
use reqwest::Url;
use serde::Deserialize;

use super::Credential;
use crate::conf::is_loopback;
use crate::http::{Failure, Http, Request, authority};
use crate::{Error, Refusal, Result, Settings};

/// The largest answer of a token server we read; real ones have a few kilobytes.
const TOKEN_BYTES_MAX: usize = 1 << 20;
/// What we call ourselves to token servers.
const CLIENT_ID: &str = "strata";

/// What a token is wanted for.
#[derive(Debug)]
pub(crate) struct Wish<'a> {
    /// The registry, as in a reference.
    pub(crate) host: &'a str,
    pub(crate) realm: &'a str,
    pub(crate) service: &'a str,
    /// Sorted, without repetitions.
    pub(crate) scopes: Vec<String>,
    /// Whether a refresh token is wanted too, for `login`.
    pub(crate) offline: bool,
    /// Whether the registry may be spoken to without verified TLS; its token server then too.
    pub(crate) insecure: bool,
}

/// What a token server gave.
pub(crate) struct Token {
    pub(crate) access: String,
    pub(crate) refresh: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    refresh_token: Option<String>,
}

/// The header for a credential that is shown as it is.
pub(crate) fn basic(user: &str, password: &str) -> HeaderValue {
    secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

/// The header for a token.
pub(crate) fn bearer(token: &str) -> HeaderValue {
    secret(&format!("Bearer {token}"))
}

/// A header value that debug output leaves out. What cannot be a header is not sent, and so refused by the other side.
fn secret(text: &str) -> HeaderValue {
    let mut value = HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""));
    value.set_sensitive(true);
    value
}

/// Asks the realm of a challenge for a token; anonymously if there is no credential.
pub(crate) async fn fetch(
    http: &Http,
    settings: &Settings,
    wish: &Wish<'_>,
    credential: Option<&Credential>,
) -> Result<Token> {
    let realm = realm(wish)?;
    let (request, url, authorization) = match credential {
        Some(Credential::RegistryToken(token)) => return Ok(Token { access: token.clone(), refresh: None }),
        Some(Credential::IdentityToken { token, .. }) => (refresh(wish, token), realm, None),
        Some(Credential::Password { user, password }) => {
            (Request::new(Method::GET), query(realm, wish, Some(user)), Some(basic(user, password)))
        }
        None => (Request::new(Method::GET), query(realm, wish, None), None),
    };
    let answer = http.send(settings, &url, &request, authorization.as_ref(), !wish.insecure).await;
    let response = answer.map_err(|failure| match failure {
        Failure::Setup(error) => error,
        Failure::Network(source) => Error::Network { host: authority(&url), act: "get a token".to_owned(), source },
    })?;
    let status = response.status();
    let body = crate::exchange::body(response, TOKEN_BYTES_MAX, &authority(&url), "a token").await?;
    if !status.is_success() {
        let source = Refusal::parse(status.as_u16(), &body);
        return Err(Error::Refused { host: authority(&url), act: "give a token".to_owned(), source });
    }
    let unusable = |why: &str| Error::Challenge { host: wish.host.to_owned(), why: why.to_owned() };
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|_quotes_secrets| unusable("its token server's answer makes no sense"))?;
    let refresh = answer.refresh_token.filter(|token| !token.is_empty());
    let access = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    access.map(|access| Token { access, refresh }).ok_or_else(|| unusable("its token server gave no token"))
}

/// The realm as a URL; one that would show credentials to everybody on the way is refused.
fn realm(wish: &Wish<'_>) -> Result<Url> {
    let unusable = |why: String| Error::Challenge { host: wish.host.to_owned(), why };
    let url = Url::parse(wish.realm).map_err(|_| unusable(format!("`{}` is not a URL", wish.realm)))?;
    match url.scheme() {
        "https" => Ok(url),
        "http" if wish.insecure || is_loopback(&authority(&url)) => Ok(url),
        _ => Err(unusable(format!("the token server {} is not reached by HTTPS", authority(&url)))),
    }
}

fn query(mut realm: Url, wish: &Wish<'_>, account: Option<&str>) -> Url {
    {
        let mut pairs = realm.query_pairs_mut();
        if !wish.service.is_empty() {
            pairs.append_pair("service", wish.service);
        }
        for scope in &wish.scopes {
            pairs.append_pair("scope", scope);
        }
        if wish.offline {
            pairs.append_pair("offline_token", "true").append_pair("client_id", CLIENT_ID);
        }
        if let Some(account) = account.filter(|account| !account.is_empty()) {
            pairs.append_pair("account", account);
        }
    }
    realm
}

fn refresh(wish: &Wish<'_>, token: &str) -> Request {
    let form = reqwest::Url::parse_with_params(
        "form://x",
        [
            ("grant_type", "refresh_token"),
            ("service", wish.service),
            ("client_id", CLIENT_ID),
            ("scope", &wish.scopes.join(" ")),
            ("refresh_token", token),
        ],
    );
    let body = form.ok().and_then(|url| url.query().map(str::to_owned)).unwrap_or_default();
    Request::new(Method::POST).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(body)
}

//! Files from anywhere on the web: no registry's protocol, no credentials, but the same proxies, certificates and patience.

use std::io;

use http::Method;
use http::StatusCode;
use reqwest::{Response, Url};

use crate::client::header;
use crate::exchange::{Attempts, Exchange, is_passing};
use crate::http::{Failure, Request};
use crate::{Client, Error, NetworkError, Result};

/// What a server says of a file before it sends it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WebHead {
    /// The tag that changes with the content; only one that stands for the same bytes.
    pub tag: Option<String>,
    /// When it was changed last, in seconds since 1970.
    pub modified: Option<i64>,
    /// What it is called there, if the server says so.
    pub file_name: Option<String>,
}

/// A file that a server has begun to send.
#[derive(Debug)]
pub struct WebFile<'c> {
    client: &'c Client,
    /// Without the password.
    shown: String,
    response: Response,
    /// What the server says of it.
    pub head: WebHead,
}

impl Client {
    /// Asks for a file; redirects are followed, to another host without saying who we are. Nothing of it is read yet.
    /// `authorization` goes before what the URL says.
    ///
    /// # Errors
    /// When the URL is none, the server cannot be reached, or does not have the file.
    pub fn web(&self, url: &str, authorization: Option<&str>) -> Result<WebFile<'_>> {
        let shown = without_password(url);
        let parsed = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        let parsed = parsed.ok_or_else(|| Error::Web {
            url: shown.clone(),
            source: NetworkError::Other("no URL of the web".to_owned()),
        })?;
        let given = authorization.map(|text| {
            let mut header = http::header::HeaderValue::from_str(text.trim())?;
            header.set_sensitive(true);
            Ok::<_, http::header::InvalidHeaderValue>(header)
        });
        let given = given.transpose().map_err(|_| Error::Web {
            url: shown.clone(),
            source: NetworkError::Other("the credential for it cannot be sent".to_owned()),
        })?;
        let response = self.runtime()?.block_on(self.exchange().web(&parsed, &shown, given))?;
        if !response.status().is_success() {
            return Err(Error::WebStatus { url: shown, status: response.status().as_u16() });
        }
        let head = head(&response);
        Ok(WebFile { client: self, shown, response, head })
    }
}

impl WebFile<'_> {
    /// The next bytes; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or fewer bytes came than were announced.
    pub fn chunk(&mut self) -> Result<Option<bytes::Bytes>> {
        let read = self.client.runtime()?.block_on(self.response.chunk());
        read.map_err(|error| {
            let source = NetworkError::Lost(io::Error::other(error.without_url()));
            Error::Web { url: self.shown.clone(), source }
        })
    }
}

impl Exchange {
    async fn web(&self, url: &Url, shown: &str, given: Option<http::header::HeaderValue>) -> Result<Response> {
        let mut attempts = Attempts::new(self.settings.patience);
        let mut url = url.clone();
        let in_url = authorization(&mut url);
        let authorization = given.or(in_url);
        loop {
            let request = Request::new(Method::GET);
            let sent = self.http().send(&self.settings, &url, &request, authorization.as_ref(), true).await;
            let delay = match sent {
                Ok(response) if is_passing(response.status()) => match attempts.after(&response) {
                    Some(delay) => delay,
                    None => return Ok(response),
                },
                Ok(response) => return Ok(response),
                Err(Failure::Setup(error)) => return Err(error),
                Err(Failure::Network(source)) => {
                    let is_lost = matches!(source, NetworkError::Lost(_));
                    let failed = || Error::Web { url: shown.to_owned(), source };
                    match if is_lost { attempts.next() } else { None } {
                        Some(delay) => delay,
                        None => return Err(failed()),
                    }
                }
            };
            tokio::time::sleep(delay).await;
        }
    }
}

/// Who the URL says we are, taken out of it.
fn authorization(url: &mut Url) -> Option<http::header::HeaderValue> {
    let (user, password) = (url.username().to_owned(), url.password().unwrap_or_default().to_owned());
    if user.is_empty() && password.is_empty() {
        return None;
    }
    // A URL with a host takes both.
    let taken = url.set_username("").is_ok() && url.set_password(None).is_ok();
    taken.then(|| crate::auth::token::basic(&user, &password))
}

fn head(response: &Response) -> WebHead {
    let strong = |tag: &&str| response.status() == StatusCode::OK && tag.starts_with('"');
    let date = |text: &str| jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok();
    WebHead {
        tag: header(response, "etag").filter(strong).map(str::to_owned),
        modified: header(response, "last-modified").and_then(date).map(|time| time.as_second()),
        file_name: header(response, "content-disposition").and_then(file_name),
    }
}

/// `attachment; filename="NAME"` (RFC 6266); a name with directories is none.
fn file_name(disposition: &str) -> Option<String> {
    let name = disposition.split(';').find_map(|part| part.trim().strip_prefix("filename="))?;
    let name = name.trim_matches('"');
    (!name.is_empty() && !name.contains('/') && !matches!(name, "." | "..")).then(|| name.to_owned())
}

/// A URL as it may be shown.
fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://{host}{}", &rest[end..]),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_urls_are_shown_without_what_they_must_not_have() {
        assert_eq!(file_name("attachment; filename=\"a b.txt\"; x=y").as_deref(), Some("a b.txt"));
        for bad in ["inline", "attachment; filename=\"../x\"", "attachment; filename=\"\"", "attachment; filename=.."] {
            assert_eq!(file_name(bad), None, "{bad}");
        }
        assert_eq!(without_password("https://me:p@ss@host/x@y"), "https://host/x@y");
        assert_eq!(without_password("https://host/x@y"), "https://host/x@y");
    }
}

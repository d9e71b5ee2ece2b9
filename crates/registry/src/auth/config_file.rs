//! `config.json` as Docker writes it, and `auth.json` as the containers tools do. Fields we do not know stay.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize as _;
use serde_json::{Map, Value, json};
use strata_sys::durable::{self, Durability};

use super::{Credential, CredentialError};

/// What Docker calls Docker Hub in this file.
const HUB_SERVER: &str = "https://index.docker.io/v1/";
/// All that it is called by.
const HUB_NAMES: &[&str] = &["index.docker.io", "docker.io", "registry-1.docker.io"];

/// The name under which a registry's credential is kept.
pub(super) fn server_of(host: &str) -> &str {
    if HUB_NAMES.contains(&host) { HUB_SERVER } else { host }
}

pub(super) struct ConfigFile {
    path: PathBuf,
    document: Map<String, Value>,
}

impl ConfigFile {
    pub(super) fn empty(path: &Path) -> Self {
        Self { path: path.to_owned(), document: Map::new() }
    }

    /// Reads the file; `None` if it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CredentialError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CredentialError::Read { path: path.to_owned(), source }),
        };
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Some(Self::empty(path)));
        }
        match serde_json::from_slice(&bytes) {
            Ok(document) => Ok(Some(Self { path: path.to_owned(), document })),
            Err(_quotes_secrets) => Err(CredentialError::Parse { path: path.to_owned() }),
        }
    }

    /// The helper that is configured for a registry, or for all.
    pub(super) fn helper(&self, host: &str) -> Option<&str> {
        let own = self.document.get("credHelpers").and_then(|helpers| {
            let names = [server_of(host), host].into_iter().chain(HUB_NAMES.iter().copied().filter(|_| is_hub(host)));
            names.filter_map(|name| helpers.get(name)).find_map(Value::as_str)
        });
        own.or_else(|| self.document.get("credsStore").and_then(Value::as_str)).filter(|name| !name.is_empty())
    }

    /// The credential for `host/path` in the file itself; the most specific entry wins.
    pub(super) fn find(&self, host: &str, path: &str) -> Result<Option<Credential>, CredentialError> {
        let Some(auths) = self.document.get("auths").and_then(Value::as_object) else { return Ok(None) };
        let wanted = format!("{}/{path}", if is_hub(host) { HUB_NAMES[0] } else { host });
        let best = auths
            .iter()
            .filter_map(|(key, entry)| {
                let key = canonical(key);
                let rest = wanted.strip_prefix(&key)?;
                (rest.is_empty() || rest.starts_with('/')).then_some((key.len(), entry))
            })
            .max_by_key(|(length, _)| *length);
        match best {
            Some((_, entry)) => self.credential(entry),
            None => Ok(None),
        }
    }

    pub(super) fn set(&mut self, server: &str, credential: &Credential) {
        let basic = |user: &str, password: &str| STANDARD.encode(format!("{user}:{password}"));
        let entry = match credential {
            Credential::Password { user, password } => json!({ "auth": basic(user, password) }),
            Credential::IdentityToken { user, token } => json!({ "auth": basic(user, ""), "identitytoken": token }),
            Credential::RegistryToken(token) => json!({ "registrytoken": token }),
        };
        let auths = self.document.entry("auths").or_insert_with(|| json!({}));
        if !auths.is_object() {
            *auths = json!({});
        }
        if let Some(auths) = auths.as_object_mut() {
            auths.insert(server.to_owned(), entry);
        }
    }

    /// Removes the entries of a registry, not those of single repositories; false if there were none.
    pub(super) fn remove(&mut self, host: &str) -> bool {
        let Some(auths) = self.document.get_mut("auths").and_then(Value::as_object_mut) else { return false };
        let wanted = canonical(server_of(host));
        let before = auths.len();
        auths.retain(|key, _| canonical(key) != wanted);
        auths.len() != before
    }

    /// Writes the file for its owner alone, in one step; a link is followed, not replaced.
    pub(super) fn write(&self) -> Result<(), CredentialError> {
        let path = std::fs::canonicalize(&self.path).unwrap_or_else(|_| self.path.clone());
        if let Some(dir) = path.parent() {
            durable::create_dirs(dir, 0o700)?;
        }
        durable::write_file(&path, &self.print(), 0o600, Durability::Durable)?;
        Ok(())
    }

    /// Indented by tabs, as Docker does.
    fn print(&self) -> Vec<u8> {
        let mut text = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut text, formatter);
        self.document.serialize(&mut serializer).expect("a JSON value always prints");
        text.push(b'\n');
        text
    }

    fn credential(&self, entry: &Value) -> Result<Option<Credential>, CredentialError> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).filter(|text| !text.is_empty());
        if let Some(token) = text("registrytoken") {
            return Ok(Some(Credential::RegistryToken(token.to_owned())));
        }
        let (user, password) = match text("auth") {
            Some(auth) => self.decode(auth)?,
            None => (text("username").unwrap_or_default().to_owned(), text("password").unwrap_or_default().to_owned()),
        };
        if let Some(token) = text("identitytoken") {
            return Ok(Some(Credential::IdentityToken { user, token: token.to_owned() }));
        }
        Ok((!user.is_empty()).then_some(Credential::Password { user, password }))
    }

    fn decode(&self, auth: &str) -> Result<(String, String), CredentialError> {
        let fault = || CredentialError::Parse { path: self.path.clone() };
        let bytes = STANDARD.decode(auth.trim()).map_err(|_quotes_secrets| fault())?;
        let text = String::from_utf8(bytes).map_err(|_quotes_secrets| fault())?;
        let (user, password) = text.split_once(':').ok_or_else(fault)?;
        Ok((user.to_owned(), password.trim_end_matches('\0').to_owned()))
    }
}

fn is_hub(host: &str) -> bool {
    HUB_NAMES.contains(&host)
}

/// `https://index.docker.io/v1/` and `docker.io` are one; `HOST/PATH` stays.
fn canonical(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, path) = key.split_once('/').map_or((key, None), |(host, path)| (host, Some(path)));
    let host = if is_hub(host) { HUB_NAMES[0] } else { host };
    path.map_or_else(|| host.to_owned(), |path| format!("{host}/{path}"))
}

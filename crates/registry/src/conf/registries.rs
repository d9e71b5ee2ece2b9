//! A reference in, endpoints out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use strata_types::{ErrorClass, Reference};

use super::daemon::DaemonFile;
use super::toml_file::{RegistryTable, TomlFile};

/// The largest configuration file we read; real ones have kilobytes.
const CONF_BYTES_MAX: u64 = 1 << 20;

/// The name of Docker Hub in references, and of the host that serves it.
const HUB: &str = "docker.io";
const HUB_HOST: &str = "registry-1.docker.io";

/// The files that say where references lead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfFiles {
    /// `registries.conf`, the person's before the system's: the first that exists is used, and on top of it the
    /// `*.conf` in the folders `NAME.d` beside all of them.
    pub registries: Vec<PathBuf>,
    /// Docker's `daemon.json`.
    pub daemon: Option<PathBuf>,
}

/// Where references lead.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    tables: Vec<RegistryTable>,
    aliases: BTreeMap<String, String>,
    daemon: DaemonFile,
    any_insecure: bool,
}

/// One place to ask for a repository.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// `HOST[:PORT]`, as in a reference.
    pub host: String,
    /// The repository there.
    pub path: String,
    /// Whether TLS may be missing or unverified.
    pub insecure: bool,
    /// Whether it stands in for the registry that was asked for.
    pub is_mirror: bool,
}

impl Endpoint {
    /// Whom to connect to: `HOST[:PORT]`, with the host that serves Docker Hub in place of its name.
    pub fn authority(&self) -> &str {
        match &*self.host {
            HUB | "index.docker.io" => HUB_HOST,
            other => other,
        }
    }

    /// Whether plain HTTP is the usual thing there: on this machine itself.
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It does not parse.
    #[error("cannot understand {}: {why}", path.display())]
    Parse {
        /// Which file.
        path: PathBuf,
        /// Why.
        why: String,
    },
}

impl ConfError {
    /// What kind of trouble it is.
    pub const fn class(&self) -> ErrorClass {
        ErrorClass::InvalidInput
    }
}

impl Registries {
    /// Reads what there is of `files`; files that are not there are passed over.
    pub fn load(files: &ConfFiles) -> Result<Self, ConfError> {
        let mut registries = Self::default();
        for path in &files.registries {
            if let Some(text) = read(path)? {
                registries.add(path, &text)?;
                break;
            }
        }
        for path in files.registries.iter().rev() {
            for drop_in in drop_ins(path)? {
                if let Some(text) = read(&drop_in)? {
                    registries.add(&drop_in, &text)?;
                }
            }
        }
        if let Some(path) = &files.daemon
            && let Some(text) = read(path)?
        {
            registries.daemon = serde_json::from_str(&text)
                .map_err(|error| ConfError::Parse { path: path.clone(), why: error.to_string() })?;
        }
        Ok(registries)
    }

    /// Takes every registry for one whose TLS may be missing or unverified: `--insecure`.
    pub const fn allow_insecure(&mut self) {
        self.any_insecure = true;
    }

    /// What a short name stands for, by the `[aliases]` table.
    pub fn alias(&self, short: &str) -> Option<&str> {
        self.aliases.get(short).map(String::as_str).filter(|target| !target.is_empty())
    }

    /// Where to ask for what `reference` names, best first: mirrors, then the registry itself. `None` if the registry
    /// is blocked.
    pub fn endpoints(&self, reference: &Reference) -> Option<Vec<Endpoint>> {
        let (primary, table) = self.locate(reference)?;
        let by_digest = reference.digest().is_some();
        let mut endpoints = Vec::new();
        if let Some(table) = table
            && (by_digest || !table.mirror_by_digest_only)
        {
            let mirrors = table.mirrors.iter().filter(|mirror| mirror.serves(by_digest));
            endpoints.extend(mirrors.map(|mirror| {
                let name = rewrite(&reference.name(), table.prefix(), &mirror.location);
                self.endpoint(&name, mirror.insecure, true)
            }));
        }
        if reference.domain() == HUB {
            endpoints.extend(self.daemon.mirrors.iter().map(|url| self.daemon_mirror(url, reference)));
        }
        endpoints.push(primary);
        Some(endpoints)
    }

    /// Where to push what `reference` names: never a mirror. `None` if the registry is blocked.
    pub fn primary(&self, reference: &Reference) -> Option<Endpoint> {
        self.locate(reference).map(|(primary, _)| primary)
    }

    /// Where to log in: the registry itself, whatever its name stands for.
    pub fn host(&self, host: &str) -> Endpoint {
        let insecure = self.tables.iter().any(|table| table.insecure && table.prefix() == host);
        self.endpoint(&format!("{host}/"), insecure, false)
    }

    fn add(&mut self, path: &Path, text: &str) -> Result<(), ConfError> {
        let fault = |why: String| ConfError::Parse { path: path.to_owned(), why };
        let file: TomlFile = toml::from_str(text).map_err(|error| fault(error.to_string()))?;
        for table in file.registry {
            if let Some(why) = table.fault() {
                return Err(fault(why));
            }
            self.tables.retain(|old| old.prefix() != table.prefix());
            self.tables.push(table);
        }
        self.aliases.extend(file.aliases);
        Ok(())
    }

    fn locate(&self, reference: &Reference) -> Option<(Endpoint, Option<&RegistryTable>)> {
        let whole = reference.to_string();
        let matching = self.tables.iter().filter_map(|table| table.matches(&whole).map(|length| (length, table)));
        let table = matching.max_by_key(|(length, _)| *length).map(|(_, table)| table);
        let Some(table) = table else {
            return Some((self.endpoint(&reference.name(), false, false), None));
        };
        if table.blocked {
            return None;
        }
        let name = reference.name();
        let name = if table.location.is_empty() { name } else { rewrite(&name, table.prefix(), &table.location) };
        Some((self.endpoint(&name, table.insecure, false), Some(table)))
    }

    fn endpoint(&self, name: &str, insecure: bool, is_mirror: bool) -> Endpoint {
        let (host, path) = name.split_once('/').unwrap_or((name, ""));
        let insecure = insecure || self.any_insecure || self.daemon.is_insecure(host);
        Endpoint { host: host.to_owned(), path: path.to_owned(), insecure, is_mirror }
    }

    /// A mirror of `daemon.json` is a URL without a path.
    fn daemon_mirror(&self, url: &str, reference: &Reference) -> Endpoint {
        let (insecure, rest) = match url.split_once("://") {
            Some((scheme, rest)) => (scheme == "http", rest),
            None => (false, url),
        };
        self.endpoint(&format!("{}/{}", rest.trim_end_matches('/'), reference.path()), insecure, true)
    }
}

/// The host in `HOST[:PORT]`, without the brackets of an IPv6 address.
pub(super) fn host_of(authority: &str) -> &str {
    match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or(rest),
        None => authority.split(':').next().unwrap_or(authority),
    }
}

/// Whether `HOST[:PORT]` is this machine itself.
pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = host_of(authority);
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Puts `location` in place of `prefix`; a prefix that names a tag or digest, or a wildcard, replaces the whole name.
fn rewrite(name: &str, prefix: &str, location: &str) -> String {
    match name.strip_prefix(prefix) {
        Some(rest) => format!("{location}{rest}"),
        None if prefix.starts_with("*.") => {
            let path = name.split_once('/').map_or("", |(_, path)| path);
            format!("{location}/{path}")
        }
        None => location.split(['@']).next().unwrap_or_default().to_owned(),
    }
}

fn read(path: &Path) -> Result<Option<String>, ConfError> {
    use std::io::Read as _;
    let fault = |source| ConfError::Read { path: path.to_owned(), source };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    let mut text = String::new();
    file.take(CONF_BYTES_MAX).read_to_string(&mut text).map_err(fault)?;
    Ok(Some(text))
}

/// The `*.conf` in the folder `PATH.d`, in the order of their names.
fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, ConfError> {
    let mut dir = path.as_os_str().to_owned();
    dir.push(".d");
    let dir = PathBuf::from(dir);
    let entries = match std::fs::read_dir(&dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(source) => return Err(ConfError::Read { path: dir, source }),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(|source| ConfError::Read { path: dir, source })?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registries(text: &str) -> Registries {
        let mut registries = Registries::default();
        registries.add(Path::new("registries.conf"), text).unwrap();
        registries
    }

    fn check(registries: &Registries, reference: &str, expected: &[&str]) {
        let reference: Reference = reference.parse().unwrap();
        let found: Vec<String> = registries
            .endpoints(&reference)
            .unwrap_or_default()
            .iter()
            .map(|endpoint| {
                let marks = [(endpoint.is_mirror, " mirror"), (endpoint.insecure, " insecure")];
                let marks: String = marks.iter().filter(|(set, _)| *set).map(|(_, mark)| *mark).collect();
                format!("{}/{}{marks}", endpoint.authority(), endpoint.path)
            })
            .collect();
        assert_eq!(found, expected, "{reference}");
    }

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn docker_hub_is_served_by_another_host() {
        check(&Registries::default(), "debian", &["registry-1.docker.io/library/debian"]);
        check(&Registries::default(), "quay.io/a/b", &["quay.io/a/b"]);
    }

    #[test]
    fn every_registry_may_have_mirrors() {
        let registries = registries(
            r#"
            unqualified-search-registries = ["quay.io"]
            [[registry]]
            prefix = "quay.io/team"
            location = "inner.example/team-x"
            insecure = true
            [[registry.mirror]]
            location = "mirror.example:5000/q"
            [[registry.mirror]]
            location = "digests.example"
            pull-from-mirror = "digest-only"
            [[registry]]
            location = "quay.io"
            [[registry]]
            prefix = "*.blocked.example"
            blocked = true
            "#,
        );
        check(&registries, "quay.io/other/app", &["quay.io/other/app"]);
        check(&registries, "quay.io/teams/app", &["quay.io/teams/app"]);
        check(
            &registries,
            "quay.io/team/app:1",
            &["mirror.example:5000/q/app mirror", "inner.example/team-x/app insecure"],
        );
        check(
            &registries,
            &format!("quay.io/team/app@{DIGEST}"),
            &["mirror.example:5000/q/app mirror", "digests.example/app mirror", "inner.example/team-x/app insecure"],
        );
        check(&registries, "a.blocked.example:5000/x", &[]);
        check(&registries, "blocked.example/x", &["blocked.example/x"]);
    }

    #[test]
    fn docker_hub_mirrors_may_come_from_daemon_json() {
        let dir = tempfile::tempdir().unwrap();
        let daemon = dir.path().join("daemon.json");
        let text = r#"{"registry-mirrors":["http://m.example:5000/"],"insecure-registries":["quay.io"],"debug":true}"#;
        std::fs::write(&daemon, text).unwrap();
        let conf = dir.path().join("registries.conf");
        let files = ConfFiles { registries: vec![conf.clone()], daemon: Some(daemon) };
        let registries = Registries::load(&files).unwrap();
        check(
            &registries,
            "debian",
            &["m.example:5000/library/debian mirror insecure", "registry-1.docker.io/library/debian"],
        );
        check(&registries, "quay.io/x", &["quay.io/x insecure"]);
    }

    #[test]
    fn a_drop_in_replaces_the_table_with_the_same_prefix() {
        let dir = tempfile::tempdir().unwrap();
        let conf = dir.path().join("registries.conf");
        let table = |location: &str| format!("[[registry]]\nprefix = 'x.example'\nlocation = '{location}'\n");
        std::fs::write(&conf, table("one.example") + "[aliases]\n'db' = 'x.example/db'").unwrap();
        std::fs::create_dir(dir.path().join("registries.conf.d")).unwrap();
        std::fs::write(dir.path().join("registries.conf.d/10.conf"), table("two.example")).unwrap();
        std::fs::write(dir.path().join("registries.conf.d/README"), "not toml").unwrap();
        let registries = Registries::load(&ConfFiles { registries: vec![conf.clone()], daemon: None }).unwrap();
        check(&registries, "x.example/a", &["two.example/a"]);
        assert_eq!(registries.alias("db"), Some("x.example/db"));
        std::fs::write(&conf, "[[registry]]\nlocation = 'http://x'").unwrap();
        let error = Registries::load(&ConfFiles { registries: vec![conf], daemon: None }).unwrap_err();
        assert!(error.to_string().contains("must not have a scheme"), "{error}");
    }

    #[test]
    fn loopback_is_known_by_its_addresses() {
        for (authority, expected) in [
            ("localhost:5000", true),
            ("LOCALHOST", true),
            ("127.0.0.2", true),
            ("[::1]:80", true),
            ("10.0.0.1", false),
            ("localhost.x", false),
        ] {
            assert_eq!(is_loopback(authority), expected, "{authority}");
        }
    }
}

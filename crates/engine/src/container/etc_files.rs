//! `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`: made for each start, and bound into the container.
//!
//! They are in the container's directory. Those of a container that goes with its program are in memory, beside its shim's
//! socket, if their owners need no other ids there: not every kernel maps the ids of such files.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use strata_runtime::spec::{Mount, MountSource, Propagation};
use strata_sys::durable::{self, Durability, FileError};

use crate::Result;
use crate::container::Document;
use crate::network::Mode;

/// The files' names in the container's directory and in `/etc`.
const FILES: [&str; 3] = ["resolv.conf", "hostname", "hosts"];

/// Everybody may read them.
const MODE: u32 = 0o644;

/// Writes the files and says how to mount them. They are not synced: every start writes them anew. `gateway` is where the
/// container reaches the host, if it asks for that. One that shares another's network has that one's files, as with Docker.
pub(super) fn write(places: &Places<'_>, document: &Document, gateway: Option<IpAddr>) -> Result<Vec<Mount>> {
    let config = &document.config;
    let read_only = document.host.readonly_rootfs;
    if let Some(theirs) = places.shared_from(document) {
        let theirs = |name: &str| theirs.iter().map(|dir| dir.join(name)).find(|path| path.exists());
        let present = FILES.into_iter().filter_map(|name| Some((name, theirs(name)?)));
        return Ok(present.map(|(name, path)| bind(name, path, read_only)).collect());
    }
    let dir = places.dir(document);
    if dir == places.beside_socket {
        std::fs::create_dir_all(dir).map_err(FileError::at("create", dir))?;
    }
    let contents = [resolv_conf(document), format!("{}\n", config.hostname), hosts(document, gateway)];
    let mut mounts = Vec::with_capacity(FILES.len());
    for (name, content) in FILES.into_iter().zip(contents) {
        let path = dir.join(name);
        put(&path, &content)?;
        mounts.push(bind(name, path, read_only));
    }
    Ok(mounts)
}

/// Where a container's files may be.
pub(super) struct Places<'a> {
    /// Its directory.
    pub(super) dir: &'a Path,
    /// Where its shim's socket is.
    pub(super) beside_socket: &'a Path,
}

impl Places<'_> {
    fn dir(&self, document: &Document) -> &Path {
        let goes_with_program = document.host.auto_remove && document.user_namespace.is_none();
        if goes_with_program { self.beside_socket } else { self.dir }
    }

    /// Where one of the files is, for `inspect`: `hosts`, `hostname` or `resolv.conf`.
    pub(super) fn path(&self, document: &Document, name: &str) -> PathBuf {
        self.dir(document).join(name)
    }

    /// Where those of the container may be whose network this one shares; `network_mode` has its whole id.
    fn shared_from(&self, document: &Document) -> Option<[PathBuf; 2]> {
        let other = document.host.network_mode.strip_prefix("container:")?;
        Some([self.dir.parent()?.join(other), self.beside_socket.parent()?.join(other)])
    }
}

fn bind(name: &str, path: PathBuf, read_only: bool) -> Mount {
    let source = MountSource::Bind {
        path,
        recursive: false,
        propagation: Propagation::Private,
        writable_below: false,
        subpath: None,
    };
    Mount { target: format!("/etc/{name}"), source, read_only, exec: true }
}

/// Writes a file unless it has that content. A new one needs no detour: nobody reads it before the container starts, and
/// what a crash leaves of it is not what it should be.
fn put(path: &Path, content: &str) -> Result<()> {
    let mut options = std::fs::File::options();
    match options.write(true).create_new(true).mode(MODE).open(path) {
        Ok(mut file) => Ok(file.write_all(content.as_bytes()).map_err(FileError::at("write", path))?),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            if std::fs::read(path).is_ok_and(|present| present == content.as_bytes()) {
                return Ok(());
            }
            Ok(durable::write_file(path, content.as_bytes(), MODE, Durability::Ephemeral)?)
        }
        Err(error) => Err(FileError::at("create", path)(error).into()),
    }
}

fn hosts(document: &Document, gateway: Option<IpAddr>) -> String {
    let mut text = match document.host.network_mode.as_str() {
        "host" => host_file("/etc/hosts"),
        _ => String::from(HOSTS),
    };
    for entry in document.host.extra_hosts.iter().flatten() {
        if let Some((name, address)) = entry.split_once(':') {
            let of_host = gateway.unwrap_or(Ipv4Addr::LOCALHOST.into()).to_string();
            let address = if address == HOST_GATEWAY { of_host.as_str() } else { address };
            writeln!(text, "{address}\t{name}").expect("writing to a string cannot fail");
        }
    }
    text
}

/// Stands for the address by which a container reaches the host.
pub(crate) const HOST_GATEWAY: &str = "host-gateway";

/// What Docker writes for a container that has addresses of its own.
const HOSTS: &str = "127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
ff00::0\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
";

/// Where containers ask for names.
const OURS: &str = "127.0.0.11";

/// Whether a container asks us for names: in networks where containers have some, and where the host's resolvers are all on
/// its loopback, which a container of its own network cannot reach.
pub(crate) fn asks_us(document: &Document) -> bool {
    let in_named = document.networks.iter().any(|wish| wish.network != "bridge");
    let by_pasta = matches!(document.host.network(), Mode::Pasta(_));
    in_named
        || ((by_pasta || !document.networks.is_empty())
            && document.host.dns.is_empty()
            && only_loopback(&host_file("/etc/resolv.conf")))
}

fn only_loopback(text: &str) -> bool {
    let is_server = |line: &&str| line.split_whitespace().next() == Some("nameserver");
    text.lines().any(|line| is_server(&line)) && !without_loopback(text).lines().any(|line| is_server(&line))
}

fn resolv_conf(document: &Document) -> String {
    let theirs = host_file("/etc/resolv.conf");
    let text = resolv_conf_of(document, &theirs);
    if !asks_us(document) {
        return text;
    }
    // Names of containers have no dots: they are asked for as they are.
    let is_other = |line: &&str| line.split_whitespace().next() != Some("nameserver");
    let rest: String = text.lines().filter(is_other).map(|line| format!("{line}\n")).collect();
    let options = if rest.lines().any(|line| line.starts_with("options")) { "" } else { "options ndots:0\n" };
    format!("nameserver {OURS}\n{rest}{options}")
}

fn resolv_conf_of(document: &Document, theirs: &str) -> String {
    let host = &document.host;
    if host.dns.is_empty() && host.dns_search.is_empty() && host.dns_options.is_empty() {
        return if host.network_mode == "host" { theirs.to_owned() } else { without_loopback(theirs) };
    }
    let mut text = String::new();
    let word = |line: &str, name: &str| line.split_whitespace().next() == Some(name);
    let keep = |text: &mut String, name: &str| {
        for line in theirs.lines().filter(|line| word(line, name)) {
            text.push_str(line);
            text.push('\n');
        }
    };
    match host.dns_search.as_slice() {
        [] => keep(&mut text, "search"),
        [dot] if dot == "." => {}
        domains => text.push_str(&format!("search {}\n", domains.join(" "))),
    }
    match host.dns.as_slice() {
        [] => keep(&mut text, "nameserver"),
        servers => servers.iter().for_each(|server| text.push_str(&format!("nameserver {server}\n"))),
    }
    match host.dns_options.as_slice() {
        [] => keep(&mut text, "options"),
        options => text.push_str(&format!("options {}\n", options.join(" "))),
    }
    text
}

/// The host's resolvers, without those on its loopback, which a container of its own network cannot reach.
fn without_loopback(text: &str) -> String {
    let reachable = |line: &&str| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
        !is_server || address.is_none_or(|address| !address.is_loopback())
    };
    text.lines().filter(reachable).fold(String::new(), |text, line| text + line + "\n")
}

/// A host's file; one that is missing or unreadable is empty.
fn host_file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::{ContainerConfig, HostConfig};

    fn document(host: HostConfig) -> Document {
        Document {
            config: ContainerConfig::default(),
            host,
            mounts: vec![],
            networks: vec![],
            secrets: vec![],
            user_namespace: None,
            platform: None,
        }
    }

    #[test]
    fn further_hosts_stand_at_the_end() {
        let host = HostConfig {
            extra_hosts: Some(vec!["db:10.0.0.1".into(), "six:::1".into(), "up:host-gateway".into()]),
            ..HostConfig::default()
        };
        let expected = format!("{HOSTS}10.0.0.1\tdb\n::1\tsix\n172.17.0.1\tup\n");
        assert_eq!(hosts(&document(host), Some("172.17.0.1".parse().unwrap())), expected);
    }

    #[test]
    fn resolvers_of_ones_own_replace_the_hosts() {
        let host = HostConfig {
            dns: vec!["1.1.1.1".into(), "::1".into()],
            dns_search: vec!["example.com".into()],
            dns_options: vec!["ndots:2".into()],
            ..HostConfig::default()
        };
        let expected = "search example.com\nnameserver 1.1.1.1\nnameserver ::1\noptions ndots:2\n";
        assert_eq!(resolv_conf(&document(host)), expected);
        assert_eq!(
            without_loopback("nameserver 127.0.0.53\nnameserver 9.9.9.9\nsearch a\n"),
            "nameserver 9.9.9.9\nsearch a\n"
        );
    }
}

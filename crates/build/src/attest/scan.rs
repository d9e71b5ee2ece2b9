//! The packages of a tree. It is read once; what it holds may be anybody's, so whatever makes no sense is passed over, and
//! nothing large is read.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use rustix::fs::OFlags;
use strata_engine::workbench::Workbench;
use strata_layer::{Entry, Kind as EntryKind, dir};
use strata_types::{DiffId, Watch};

use super::{auditable, headers, rpm};
use crate::error::Problem;

/// The largest file that is read: dpkg's status of a whole distribution has some tens of megabytes.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// The most packages: some times as many as a distribution has.
const PACKAGES_MAX: usize = 500_000;

/// Who manages a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Deb,
    Apk,
    Rpm,
    Python,
    Npm,
    Cargo,
}

impl Kind {
    /// What package URLs call it (<https://github.com/package-url/purl-spec/blob/main/PURL-TYPES.rst>).
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Deb => "deb",
            Self::Apk => "apk",
            Self::Rpm => "rpm",
            Self::Python => "pypi",
            Self::Npm => "npm",
            Self::Cargo => "cargo",
        }
    }
}

/// A package.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Package {
    pub(super) kind: Kind,
    pub(super) name: String,
    pub(super) version: String,
    /// The processor; empty where there is none.
    pub(super) architecture: String,
    /// The file that tells of it.
    pub(super) found_in: String,
}

/// What distribution it is (os-release(5)).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Distribution {
    pub(super) id: String,
    pub(super) version: String,
}

/// What a tree holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Scanned {
    pub(super) packages: Vec<Package>,
    pub(super) distribution: Distribution,
}

impl Package {
    /// Its package URL.
    pub(super) fn url(&self, distribution: &Distribution) -> String {
        let name = match self.kind {
            Kind::Python => self.name.to_lowercase().replace('_', "-"),
            _ => self.name.clone(),
        };
        let name: Vec<String> = name.split('/').map(encoded).collect();
        let (kind, name, version) = (self.kind.name(), name.join("/"), encoded(&self.version));
        if !matches!(self.kind, Kind::Deb | Kind::Apk | Kind::Rpm) {
            return format!("pkg:{kind}/{name}@{version}");
        }
        let Distribution { id, version: release } = distribution;
        let vendor = if id.is_empty() { String::new() } else { format!("{}/", encoded(id)) };
        let mut qualifiers = Vec::new();
        if !self.architecture.is_empty() {
            qualifiers.push(format!("arch={}", encoded(&self.architecture)));
        }
        if !id.is_empty() {
            qualifiers.push(format!("distro={}", encoded(&format!("{id}-{release}"))));
        }
        let question = if qualifiers.is_empty() { "" } else { "?" };
        format!("pkg:{kind}/{vendor}{name}@{version}{question}{}", qualifiers.join("&"))
    }
}

/// Finds the packages of a tree, sorted, each once.
pub(super) fn packages(bench: &Workbench<'_>, layers: &[DiffId], watch: &dyn Watch) -> Result<Scanned, Problem> {
    let root = bench.tree(layers)?;
    let root = root.open(Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY);
    let root = root.map_err(|source| Problem::System { act: "open the image's tree", source })?;
    let mut scanned = Scanned::default();
    let walked = dir::walk(root.as_fd(), &mut |entry, content| {
        if watch.cancelled() {
            return Err(strata_layer::Error::Cancelled);
        }
        if let Some(content) = content {
            scanned.look(entry, content);
        }
        Ok(())
    });
    walked.map_err(strata_engine::Error::from)?;
    scanned.packages.sort();
    scanned.packages.dedup();
    Ok(scanned)
}

impl Scanned {
    fn look(&mut self, entry: &Entry, content: BorrowedFd<'_>) {
        let EntryKind::File { size_bytes, .. } = entry.kind else { return };
        let Ok(path) = std::str::from_utf8(entry.path.as_bytes()) else { return };
        let is_program = entry.mode & 0o111 != 0 || path.ends_with(".so");
        if self.packages.len() >= PACKAGES_MAX || size_bytes == 0 {
            return;
        }
        let found = match place(path) {
            Some(_) if size_bytes > FILE_BYTES_MAX => Vec::new(),
            Some(Place::Release) => {
                self.distribution = release(&text(content));
                return;
            }
            Some(Place::Dpkg) => headers::dpkg(&text(content)),
            Some(Place::Apk) => headers::apk(&text(content)),
            Some(Place::Python) => headers::python(&text(content)),
            Some(Place::Npm) => npm(&text(content)),
            Some(Place::Rpm) => rpm::packages(content),
            None if is_program => auditable::packages(content),
            None => return,
        };
        self.packages.extend(found.into_iter().map(|package| Package { found_in: path.to_owned(), ..package }));
    }
}

/// A file that tells of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Release,
    Dpkg,
    Apk,
    Rpm,
    Python,
    Npm,
}

fn place(path: &str) -> Option<Place> {
    let (dir, name) = path.rsplit_once('/').unwrap_or(("", path));
    let parent = dir.rsplit('/').next().unwrap_or_default();
    Some(match path {
        "etc/os-release" | "usr/lib/os-release" => Place::Release,
        "var/lib/dpkg/status" => Place::Dpkg,
        "lib/apk/db/installed" | "usr/lib/apk/db/installed" => Place::Apk,
        "var/lib/rpm/rpmdb.sqlite" | "usr/lib/sysimage/rpm/rpmdb.sqlite" | "usr/share/rpm/rpmdb.sqlite" => Place::Rpm,
        // Images without a package manager have a file for each package.
        _ if dir == "var/lib/dpkg/status.d" && !name.ends_with(".md5sums") => Place::Dpkg,
        _ if name == "METADATA" && parent.ends_with(".dist-info") => Place::Python,
        _ if name == "PKG-INFO" && parent.ends_with(".egg-info") => Place::Python,
        _ if name.ends_with(".egg-info") => Place::Python,
        _ if name == "package.json" && is_npm_package(dir) => Place::Npm,
        _ => return None,
    })
}

/// Whether a directory is `…/node_modules/NAME` or `…/node_modules/@SCOPE/NAME`.
fn is_npm_package(dir: &str) -> bool {
    let mut parts = dir.rsplit('/').skip(1);
    match parts.next() {
        Some("node_modules") => true,
        Some(scope) if scope.starts_with('@') => parts.next() == Some("node_modules"),
        _ => false,
    }
}

fn npm(text: &str) -> Vec<Package> {
    let Ok(document) = serde_json::from_str::<serde_json::Value>(text) else { return Vec::new() };
    let field = |name: &str| document[name].as_str().filter(|value| !value.is_empty());
    let (Some(name), Some(version)) = (field("name"), field("version")) else { return Vec::new() };
    vec![Package::new(Kind::Npm, name, version, "")]
}

impl Package {
    pub(super) fn new(kind: Kind, name: &str, version: &str, architecture: &str) -> Self {
        let (name, version, architecture) = (name.to_owned(), version.to_owned(), architecture.to_owned());
        Self { kind, name, version, architecture, found_in: String::new() }
    }
}

fn release(text: &str) -> Distribution {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.unwrap_or_default().trim().trim_matches(['"', '\'']).to_owned()
    };
    Distribution { id: field("ID"), version: field("VERSION_ID") }
}

/// The content of a file, as far as it is text.
fn text(content: BorrowedFd<'_>) -> String {
    let Ok(file) = content.try_clone_to_owned().map(File::from) else { return String::new() };
    let mut bytes = Vec::new();
    match file.take(FILE_BYTES_MAX).read_to_end(&mut bytes) {
        Ok(_) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) => {
            tracing::debug!(%error, "a file that may tell of packages cannot be read");
            String::new()
        }
    }
}

/// What package URLs may hold as it is; everything else as `%XX`.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_~:".contains(&byte);
    std::ffi::OsStr::new(text).as_bytes().iter().fold(String::new(), |mut all, byte| {
        match plain(*byte) {
            true => all.push(char::from(*byte)),
            false => all.push_str(&format!("%{byte:02X}")),
        }
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_tell_of_packages_are_known_by_their_place() {
        for (path, expected) in [
            ("var/lib/dpkg/status.d/base", Some(Place::Dpkg)),
            ("var/lib/dpkg/status.d/base.md5sums", None),
            ("usr/lib/python3/dist-packages/a-1.dist-info/METADATA", Some(Place::Python)),
            ("METADATA", None),
            ("app/node_modules/a/package.json", Some(Place::Npm)),
            ("app/node_modules/@b/c/package.json", Some(Place::Npm)),
            ("app/node_modules/a/test/package.json", None),
            ("package.json", None),
        ] {
            assert_eq!(place(path), expected, "{path}");
        }
    }

    #[test]
    fn packages_have_urls() {
        let distribution = release("NAME=\"Debian\"\nID=debian\nVERSION_ID=\"12\"\n");
        let check = |package: Package, url: &str| assert_eq!(package.url(&distribution), url);
        check(
            Package::new(Kind::Deb, "libc++1", "1:2+b1", "amd64"),
            "pkg:deb/debian/libc%2B%2B1@1:2%2Bb1?arch=amd64&distro=debian-12",
        );
        check(Package::new(Kind::Npm, "@a/b", "1.0", ""), "pkg:npm/%40a/b@1.0");
        check(Package::new(Kind::Python, "Foo_Bar", "1", ""), "pkg:pypi/foo-bar@1");
    }
}

//! `--mount type=bind,source=…,target=…`: what is mounted into a container, and the types that `-v` and `--tmpfs` share.

use std::path::{Path, PathBuf};

use super::{Invalid, Result, csv, go_bool, size};

/// One thing to mount into a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where, inside the container: absolute, never `/`.
    pub target: String,
    /// Whether the container may not write.
    pub read_only: bool,
    /// What.
    pub source: Source,
}

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file or directory of the host.
    Bind(Bind),
    /// A volume.
    Volume(Volume),
    /// Memory.
    Tmpfs(Tmpfs),
    /// An image's files.
    Image {
        /// The image's name.
        image: String,
        /// The part of it that is mounted; all of it if none.
        subpath: Option<String>,
    },
}

/// A file or directory of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    /// The path on the host; absolute after [`Mount::resolved`].
    pub path: PathBuf,
    /// How mounts below it travel; private if none.
    pub propagation: Option<Propagation>,
    /// What happens to the mounts below it.
    pub recursive: Recursive,
    /// Whether a directory is made when the path is not there: `-v` does, `--mount` does not.
    pub create: bool,
}

/// How mounts travel between a bind mount and its source (mount_namespaces(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Propagation {
    /// Neither way.
    Private,
    /// Neither way, and so for mounts below.
    RecursivePrivate,
    /// From the host to the container.
    Slave,
    /// From the host to the container, and so for mounts below.
    RecursiveSlave,
    /// Both ways.
    Shared,
    /// Both ways, and so for mounts below.
    RecursiveShared,
}

/// What happens to mounts below a bind mount's source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recursive {
    /// They come along; read-only with the rest where the kernel can.
    #[default]
    Enabled,
    /// They stay behind.
    Disabled,
    /// They come along and stay writable.
    Writable,
    /// They come along read-only, or the container does not start.
    ReadOnly,
}

/// A volume.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Its name; a new one without a name if none.
    pub name: Option<String>,
    /// Whether a new volume starts without the image's files at that place.
    pub empty: bool,
    /// Labels for a new volume.
    pub labels: Vec<(String, String)>,
    /// The driver that makes it; the built-in one if none.
    pub driver: Option<String>,
    /// Options for the driver.
    pub options: Vec<(String, String)>,
    /// The directory of it that is mounted; all of it if none.
    pub subpath: Option<String>,
}

/// Memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tmpfs {
    /// The most it holds; half of the memory if none.
    pub size_bytes: Option<u64>,
    /// The mode of its root; 1777 if none.
    pub mode: Option<u32>,
    /// Further mount options, as `--tmpfs` takes them: `noexec`, `nr_inodes=1k`.
    pub options: Vec<String>,
}

impl Mount {
    /// Makes the path of a bind mount absolute, where it begins with `.`; refuses other relative paths.
    pub fn resolved(mut self, cwd: &Path) -> Result<Self> {
        if let Source::Bind(bind) = &mut self.source
            && bind.path.is_relative()
        {
            if !bind.path.to_string_lossy().starts_with('.') {
                let path = bind.path.display();
                return Err(config("bind", &format!("invalid mount path: '{path}' mount path must be absolute")));
            }
            bind.path = std::path::absolute(cwd.join(&bind.path)).unwrap_or_else(|_| cwd.join(&bind.path));
        }
        Ok(self)
    }
}

impl Propagation {
    /// Parses `rshared` and its like.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "private" => Self::Private,
            "rprivate" => Self::RecursivePrivate,
            "slave" => Self::Slave,
            "rslave" => Self::RecursiveSlave,
            "shared" => Self::Shared,
            "rshared" => Self::RecursiveShared,
            _ => return None,
        })
    }

    /// Its name, as Docker shows it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Private => "private",
            Self::RecursivePrivate => "rprivate",
            Self::Slave => "slave",
            Self::RecursiveSlave => "rslave",
            Self::Shared => "shared",
            Self::RecursiveShared => "rshared",
        }
    }
}

/// The value of `--mount` as it was written: each field makes sense, but perhaps not all together.
#[derive(Clone, Debug)]
pub struct Written(Draft);

impl Written {
    /// What it means; Docker's daemon refuses what its command line lets pass.
    pub fn read(self) -> Result<Mount> {
        let draft = self.0;
        check_target(&draft.target).map_err(|cause| config(&draft.kind, &cause.0))?;
        let (target, read_only) = (draft.target.clone(), draft.read_only);
        Ok(Mount { target, read_only, source: draft.into_source()? })
    }
}

/// Parses the value of `--mount`.
pub fn parse(text: &str) -> Result<Written> {
    let mut draft = Draft { kind: String::from("volume"), ..Draft::default() };
    for field in csv::fields(text)? {
        match field.split_once('=') {
            Some((key, value)) => draft.set(key, value, &field)?,
            None => draft.set_flag(&field)?,
        }
    }
    draft.check()?;
    Ok(Written(draft))
}

/// The fields seen so far; which of them go together is known only at the end.
#[derive(Clone, Debug, Default)]
struct Draft {
    kind: String,
    source: String,
    target: String,
    read_only: bool,
    propagation: Option<String>,
    recursive: Option<Recursive>,
    create: bool,
    volume: Option<Volume>,
    tmpfs: Option<Tmpfs>,
    image_subpath: Option<String>,
}

impl Draft {
    fn set_flag(&mut self, key: &str) -> Result<()> {
        match key {
            "readonly" | "ro" => self.read_only = true,
            "volume-nocopy" => self.volume().empty = true,
            "bind-nonrecursive" => self.recursive = Some(Recursive::Disabled),
            "bind-create-src" => self.create = true,
            _ => return Err(Invalid(format!("invalid field '{key}' must be a key=value pair"))),
        }
        Ok(())
    }

    fn set(&mut self, key: &str, value: &str, field: &str) -> Result<()> {
        let invalid = || Invalid(format!("invalid value for {key}: {value}"));
        let flag = || go_bool(value).ok_or_else(invalid);
        let owned = || value.to_owned();
        let pair = || value.split_once('=').map_or_else(|| (owned(), String::new()), |(k, v)| (k.into(), v.into()));
        match key {
            "type" => self.kind = value.to_lowercase(),
            "source" | "src" => self.source = owned(),
            "target" | "dst" | "destination" => self.target = owned(),
            "readonly" | "ro" => self.read_only = flag()?,
            "consistency" => {}
            "bind-propagation" => self.propagation = Some(value.to_lowercase()),
            "bind-nonrecursive" => self.recursive = flag()?.then_some(Recursive::Disabled),
            "bind-recursive" => self.recursive = Some(recursive(value)?),
            "bind-create-src" => self.create = flag()?,
            "volume-nocopy" => self.volume().empty = flag()?,
            "volume-label" => self.volume().labels.push(pair()),
            "volume-driver" => self.volume().driver = Some(owned()),
            "volume-opt" => self.volume().options.push(pair()),
            "volume-subpath" => self.volume().subpath = Some(owned()),
            "tmpfs-size" => self.tmpfs().size_bytes = Some(size::bytes(value).map_err(|_| invalid())?),
            "tmpfs-mode" => self.tmpfs().mode = Some(u32::from_str_radix(value, 8).map_err(|_| invalid())?),
            "image-subpath" => self.image_subpath = Some(owned()),
            _ => return Err(Invalid(format!("unexpected key '{key}' in '{field}'"))),
        }
        Ok(())
    }

    fn volume(&mut self) -> &mut Volume {
        self.volume.get_or_insert_default()
    }

    fn tmpfs(&mut self) -> &mut Tmpfs {
        self.tmpfs.get_or_insert_default()
    }

    fn check(&self) -> Result<()> {
        let kind = self.kind.as_str();
        if kind.is_empty() {
            return Err(Invalid::new("type is required"));
        }
        if self.target.is_empty() {
            return Err(Invalid::new("target is required"));
        }
        let has_bind = self.propagation.is_some() || self.recursive.is_some() || self.create;
        let mixed = [
            ("volume", self.volume.is_some()),
            ("bind", has_bind),
            ("tmpfs", self.tmpfs.is_some()),
            ("image", self.image_subpath.is_some()),
        ];
        if let Some((other, _)) = mixed.iter().find(|(name, set)| *set && *name != kind) {
            return Err(Invalid(format!("cannot mix '{other}-*' options with mount type '{kind}'")));
        }
        self.check_recursive()
    }

    fn check_recursive(&self) -> Result<()> {
        let name = match self.recursive {
            Some(Recursive::Writable) => "writable",
            Some(Recursive::ReadOnly) => "readonly",
            _ => return Ok(()),
        };
        if !self.read_only {
            let sentence = format!("option 'bind-recursive={name}' requires 'readonly' to be specified in conjunction");
            return Err(Invalid(sentence));
        }
        if self.recursive == Some(Recursive::ReadOnly) && self.propagation.as_deref() != Some("rprivate") {
            let sentence = "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified in \
                            conjunction";
            return Err(Invalid::new(sentence));
        }
        Ok(())
    }

    fn into_source(self) -> Result<Source> {
        let fail = |cause: &str| Err(config(&self.kind, cause));
        match self.kind.as_str() {
            "bind" => {
                if self.source.is_empty() {
                    return fail("field Source must not be empty");
                }
                let propagation = match &self.propagation {
                    None => None,
                    Some(text) => match Propagation::parse(text) {
                        Some(propagation) => Some(propagation),
                        None => return fail(&format!("invalid propagation mode: {text}")),
                    },
                };
                let recursive = self.recursive.unwrap_or_default();
                Ok(Source::Bind(Bind { path: PathBuf::from(self.source), propagation, recursive, create: self.create }))
            }
            "volume" => {
                if self.source.is_empty() && self.read_only {
                    return fail("must not set ReadOnly mode when using anonymous volumes");
                }
                let name = (!self.source.is_empty()).then(|| self.source.clone());
                name.as_deref().map_or(Ok(()), check_volume_name)?;
                Ok(Source::Volume(Volume { name, ..self.volume.unwrap_or_default() }))
            }
            "tmpfs" if !self.source.is_empty() => fail("field Source must not be specified"),
            "tmpfs" => Ok(Source::Tmpfs(self.tmpfs.unwrap_or_default())),
            "image" if self.source.is_empty() => fail("field Source must not be empty"),
            "image" => Ok(Source::Image { image: self.source, subpath: self.image_subpath }),
            _ => fail("mount type unknown"),
        }
    }
}

fn recursive(value: &str) -> Result<Recursive> {
    Ok(match value {
        "enabled" => Recursive::Enabled,
        "disabled" => Recursive::Disabled,
        "writable" => Recursive::Writable,
        "readonly" => Recursive::ReadOnly,
        _ => {
            let choices = r#"must be "enabled", "disabled", "writable", or "readonly""#;
            return Err(Invalid(format!("invalid value for bind-recursive: {value} ({choices})")));
        }
    })
}

fn config(kind: &str, cause: &str) -> Invalid {
    Invalid(format!("invalid mount config for type {kind:?}: {cause}"))
}

/// Refuses a place in the container that is relative or the root itself.
pub(super) fn check_target(target: &str) -> Result<()> {
    if !target.starts_with('/') {
        return Err(Invalid(format!("invalid mount path: '{target}' mount path must be absolute")));
    }
    // Also `/.`, `//` and `/a/..`, as Go's path.Clean sees them.
    let mut depth = 0_usize;
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => depth = depth.saturating_sub(1),
            _ => depth += 1,
        }
    }
    if depth == 0 {
        return Err(Invalid::new("invalid specification: destination can't be '/'"));
    }
    Ok(())
}

/// Refuses what cannot be a volume's name.
pub fn check_volume_name(name: &str) -> Result<()> {
    let bytes = name.as_bytes();
    if bytes.len() == 1 {
        let rule = "volume name is too short, names should be at least two alphanumeric characters";
        return Err(Invalid(format!("create {name}: {rule}")));
    }
    let inner = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    if !bytes.first().is_some_and(u8::is_ascii_alphanumeric) || !bytes.iter().all(inner) {
        let rule =
            r#"includes invalid characters for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed"#;
        let advice = "If you intended to pass a host directory, use absolute path";
        return Err(Invalid(format!("create {name}: {name:?} {rule}. {advice}")));
    }
    Ok(())
}

#[cfg(test)]
#[path = "mount_tests.rs"]
mod tests;

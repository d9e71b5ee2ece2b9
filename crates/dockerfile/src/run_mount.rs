//! `RUN --mount=…`.

use crate::error::Problem;
use crate::suggest::nearest;

/// What is mounted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MountKind {
    /// Files of the context or of another stage, read-only unless said otherwise; writes are thrown away.
    #[default]
    Bind,
    /// A directory that is kept between builds.
    Cache,
    /// Memory.
    Tmpfs,
    /// A secret, as a file in memory.
    Secret,
    /// The socket of an agent.
    Ssh,
}

/// Who may use a cache at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// All.
    #[default]
    Shared,
    /// Each its own.
    Private,
    /// One after the other.
    Locked,
}

/// One mount of a RUN.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunMount {
    /// What.
    pub kind: MountKind,
    /// The stage, image or named context it comes from.
    pub from: String,
    /// The path there.
    pub source: String,
    /// Where it is to be.
    pub target: String,
    /// Whether it cannot be written.
    pub read_only: bool,
    /// The size of a tmpfs in bytes; 0 if not said.
    pub size_bytes: u64,
    /// The name of a cache, a secret or an agent.
    pub id: String,
    /// Who may use a cache at once.
    pub sharing: Sharing,
    /// Whether the build fails without it.
    pub required: bool,
    /// The variable that gets a secret; the target is then not mounted unless given too.
    pub env: Option<String>,
    /// Permissions.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "src",
    "target",
    "dst",
    "destination",
    "readonly",
    "ro",
    "readwrite",
    "rw",
    "required",
    "size",
    "id",
    "sharing",
    "mode",
    "uid",
    "gid",
    "env",
];

impl RunMount {
    /// Reads a mount whose variables were replaced.
    ///
    /// # Errors
    /// When a key is unknown, a value is none of its key, or they do not go together.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let bad = |why: String| Problem::Mount(text.to_owned(), why);
        let mut mount = Self::default();
        let mut read_only = None;
        for field in fields(text).ok_or_else(|| bad("a quote does not close".to_owned()))? {
            let (key, value) = field.split_once('=').map_or((&*field, None), |(key, value)| (key, Some(value)));
            let key = key.to_ascii_lowercase();
            let given = value.unwrap_or("true");
            let boolean = || match given {
                "true" | "1" | "t" | "T" | "TRUE" | "True" => Ok(true),
                "false" | "0" | "f" | "F" | "FALSE" | "False" => Ok(false),
                _ => Err(bad(format!("invalid value for {key}: {given}"))),
            };
            match &*key {
                "readonly" | "ro" => read_only = Some(boolean()?),
                "readwrite" | "rw" => read_only = Some(!boolean()?),
                "required" => mount.required = boolean()?,
                _ if !KEYS.contains(&&*key) => {
                    let near = nearest(&key, KEYS).map(|key| format!(" (did you mean {key}?)")).unwrap_or_default();
                    return Err(bad(format!("unexpected key '{key}'{near}")));
                }
                _ if value.is_none() => return Err(bad(format!("field '{field}' must be a key=value pair"))),
                _ => mount.set(&key, given).map_err(bad)?,
            }
        }
        mount.read_only = read_only.unwrap_or(!matches!(mount.kind, MountKind::Cache | MountKind::Tmpfs));
        mount.check(text.contains("sharing=")).map_err(bad)?;
        Ok(mount)
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), String> {
        let number = |radix| u32::from_str_radix(value, radix).map_err(|_| format!("invalid value {value} for {key}"));
        match key {
            "type" => {
                self.kind = match &*value.to_ascii_lowercase() {
                    "bind" => MountKind::Bind,
                    "cache" => MountKind::Cache,
                    "tmpfs" => MountKind::Tmpfs,
                    "secret" => MountKind::Secret,
                    "ssh" => MountKind::Ssh,
                    _ => return Err(unsupported("mount type", value, &["bind", "cache", "tmpfs", "secret", "ssh"])),
                }
            }
            "sharing" => {
                self.sharing = match &*value.to_ascii_lowercase() {
                    "shared" => Sharing::Shared,
                    "private" => Sharing::Private,
                    "locked" => Sharing::Locked,
                    _ => return Err(unsupported("sharing value", value, &["shared", "private", "locked"])),
                }
            }
            "from" => value.clone_into(&mut self.from),
            "source" | "src" => value.clone_into(&mut self.source),
            "target" | "dst" | "destination" => value.clone_into(&mut self.target),
            "id" => value.clone_into(&mut self.id),
            "env" => self.env = Some(value.to_owned()),
            "mode" => self.mode = Some(number(8)?),
            "uid" => self.uid = Some(number(10)?),
            "gid" => self.gid = Some(number(10)?),
            _ => self.size_bytes = size(value).ok_or_else(|| format!("invalid value for size: {value}"))?,
        }
        Ok(())
    }

    /// What does not go together.
    fn check(&self, sharing_said: bool) -> Result<(), String> {
        let kind = match self.kind {
            MountKind::Bind => "bind",
            MountKind::Cache => "cache",
            MountKind::Tmpfs => "tmpfs",
            MountKind::Secret => "secret",
            MountKind::Ssh => "ssh",
        };
        let owned = [("mode", self.mode), ("uid", self.uid), ("gid", self.gid)];
        if matches!(self.kind, MountKind::Bind | MountKind::Tmpfs)
            && let Some((key, _)) = owned.iter().find(|(_, value)| value.is_some())
        {
            return Err(format!("{key} not allowed for {kind:?} type mounts"));
        }
        if self.required && !matches!(self.kind, MountKind::Secret | MountKind::Ssh) {
            return Err(format!("unexpected key 'required' for mount type '{kind}'"));
        }
        if self.size_bytes > 0 && self.kind != MountKind::Tmpfs {
            return Err(format!("unexpected key 'size' for mount type '{kind}'"));
        }
        if sharing_said && self.kind != MountKind::Cache {
            return Err(format!("invalid cache sharing set for {kind} mount"));
        }
        if self.kind == MountKind::Secret {
            if !self.from.is_empty() {
                return Err("secret mount should not have a from".to_owned());
            }
            if self.source.is_empty() && self.target.is_empty() && self.id.is_empty() {
                return Err("one of source, target required".to_owned());
            }
            if !self.source.is_empty() && !self.id.is_empty() {
                return Err("both source and id can't be set".to_owned());
            }
        }
        if self.target.is_empty() && matches!(self.kind, MountKind::Bind | MountKind::Cache | MountKind::Tmpfs) {
            return Err("target is required".to_owned());
        }
        Ok(())
    }
}

/// Fields separated by commas; a field in double quotes may have some.
fn fields(text: &str) -> Option<Vec<String>> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for char in text.chars() {
        match char {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            char => fields.last_mut()?.push(char),
        }
    }
    fields.retain(|field| !field.is_empty());
    (!quoted).then_some(fields)
}

/// `64m`, `1GiB`, `1024`.
fn size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match &*text[digits..].trim().to_ascii_lowercase() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn unsupported(what: &str, value: &str, known: &[&str]) -> String {
    let near = nearest(value, known).map(|near| format!(" (did you mean {near}?)")).unwrap_or_default();
    format!("unsupported {what} {value:?}{near}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let Err(Problem::Mount(_, why)) = RunMount::parse(text) else { panic!("{text} was taken") };
        why
    }

    #[test]
    fn mounts_are_read_and_nonsense_is_refused() {
        let cache = RunMount::parse("type=cache,target=/c,sharing=locked,mode=0755,uid=5").unwrap();
        assert_eq!((cache.kind, cache.sharing, cache.read_only), (MountKind::Cache, Sharing::Locked, false));
        assert_eq!((cache.mode, cache.uid), (Some(0o755), Some(5)));
        assert!(RunMount::parse("target=/x").unwrap().read_only, "a bind");
        assert!(!RunMount::parse("target=/x,rw").unwrap().read_only);
        assert_eq!(RunMount::parse("type=tmpfs,dst=/x,size=1m").unwrap().size_bytes, 1 << 20);
        for (text, why) in [
            ("type=volume,target=/x", "unsupported mount type \"volume\""),
            ("type=cahce,target=/x", "unsupported mount type \"cahce\" (did you mean cache?)"),
            ("type=cache,target=/x,targt=/y", "unexpected key 'targt' (did you mean target?)"),
            ("type=bind,target=/x,mode=5", "mode not allowed for \"bind\" type mounts"),
            ("type=cache", "target is required"),
            ("type=secret", "one of source, target required"),
            ("type=bind,target=/x,sharing=locked", "invalid cache sharing set for bind mount"),
            ("type=cache,target=/x,size=5", "unexpected key 'size' for mount type 'cache'"),
            ("type=cache,target=/x,required", "unexpected key 'required' for mount type 'cache'"),
        ] {
            assert_eq!(refused(text), why);
        }
    }
}

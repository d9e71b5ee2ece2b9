//! Options of mounts, as fstab(5) and the runtime specification have them.

use rustix::mount::MountAttrFlags as Flags;
use strata_sys::detached::Propagation;

/// What the options of one mount say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Something of the host is shown: with the mounts below it or without.
    pub(crate) bind: Option<bool>,
    /// Attributes of the mount.
    pub(crate) set: Flags,
    /// Attributes that it must not have.
    pub(crate) clear: Flags,
    /// The same for the mounts below it, too.
    pub(crate) set_below: Flags,
    /// The same.
    pub(crate) clear_below: Flags,
    /// How later mounts pass; `true` for those below, too.
    pub(crate) propagation: Option<(Propagation, bool)>,
    /// Its files are shown with the container's ids; `true` for the mounts below, too.
    pub(crate) mapped: Option<bool>,
    /// A tmpfs begins with what is at its place.
    pub(crate) copy_up: bool,
    /// What is the filesystem's.
    pub(crate) data: Vec<String>,
}

/// Words that set or clear an attribute; behind an `r` they do so for the mounts below, too.
const ATTRIBUTES: [(&str, Flags, bool); 18] = [
    ("ro", Flags::MOUNT_ATTR_RDONLY, true),
    ("rw", Flags::MOUNT_ATTR_RDONLY, false),
    ("nosuid", Flags::MOUNT_ATTR_NOSUID, true),
    ("suid", Flags::MOUNT_ATTR_NOSUID, false),
    ("nodev", Flags::MOUNT_ATTR_NODEV, true),
    ("dev", Flags::MOUNT_ATTR_NODEV, false),
    ("noexec", Flags::MOUNT_ATTR_NOEXEC, true),
    ("exec", Flags::MOUNT_ATTR_NOEXEC, false),
    ("nodiratime", Flags::MOUNT_ATTR_NODIRATIME, true),
    ("diratime", Flags::MOUNT_ATTR_NODIRATIME, false),
    ("nosymfollow", Flags::MOUNT_ATTR_NOSYMFOLLOW, true),
    ("symfollow", Flags::MOUNT_ATTR_NOSYMFOLLOW, false),
    ("noatime", Flags::MOUNT_ATTR_NOATIME, true),
    ("atime", Flags::MOUNT_ATTR_NOATIME, false),
    ("strictatime", Flags::MOUNT_ATTR_STRICTATIME, true),
    ("nostrictatime", Flags::MOUNT_ATTR_STRICTATIME, false),
    ("relatime", Flags::MOUNT_ATTR_RELATIME, true),
    ("norelatime", Flags::MOUNT_ATTR_RELATIME, false),
];

const PROPAGATIONS: [(&str, Propagation, bool); 8] = [
    ("shared", Propagation::Shared, false),
    ("rshared", Propagation::Shared, true),
    ("slave", Propagation::Slave, false),
    ("rslave", Propagation::Slave, true),
    ("private", Propagation::Private, false),
    ("rprivate", Propagation::Private, true),
    ("unbindable", Propagation::Unbindable, false),
    ("runbindable", Propagation::Unbindable, true),
];

/// Words that say what is so anyway.
const EMPTY: [&str; 7] = ["defaults", "remount", "loud", "silent", "noiversion", "iversion", "async"];

impl Default for Options {
    fn default() -> Self {
        let none = Flags::empty();
        Self {
            bind: None,
            set: none,
            clear: none,
            set_below: none,
            clear_below: none,
            propagation: None,
            mapped: None,
            copy_up: false,
            data: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the options in their order: a later one wins over an earlier.
    pub(crate) fn parse(words: &[String]) -> Self {
        let mut options = Self::default();
        for word in words {
            options.take(word);
        }
        options
    }

    fn take(&mut self, word: &str) {
        match word {
            "bind" => self.bind = Some(self.bind.unwrap_or(false)),
            "rbind" => self.bind = Some(true),
            "idmap" => self.mapped = Some(false),
            "ridmap" => self.mapped = Some(true),
            "tmpcopyup" => self.copy_up = true,
            word if EMPTY.contains(&word) => {}
            word => {
                if let Some((_, how, below)) = PROPAGATIONS.iter().find(|(name, ..)| *name == word) {
                    self.propagation = Some((*how, *below));
                } else if let Some(found) = attribute(word) {
                    change(&mut self.set, &mut self.clear, found);
                } else if let Some(found) = word.strip_prefix('r').and_then(attribute) {
                    change(&mut self.set_below, &mut self.clear_below, found);
                } else {
                    self.data.push(word.to_owned());
                }
            }
        }
    }
}

fn attribute(word: &str) -> Option<(Flags, bool)> {
    ATTRIBUTES.iter().find(|(name, ..)| *name == word).map(|(_, flag, set)| (*flag, *set))
}

/// Times of access are one attribute with three values.
fn change(set: &mut Flags, clear: &mut Flags, (flag, on): (Flags, bool)) {
    let atime = Flags::MOUNT_ATTR__ATIME;
    if flag.is_empty() || atime.contains(flag) {
        set.remove(atime);
        clear.insert(atime);
        if on {
            set.insert(flag);
        }
    } else if on {
        set.insert(flag);
        clear.remove(flag);
    } else {
        set.remove(flag);
        clear.insert(flag);
    }
}

/// Whether this is a word, of those that Docker takes, for the mount of a filesystem in memory.
pub fn is_word_for_memory(word: &str) -> bool {
    matches!(word, "defaults" | "async" | "sync" | "dirsync" | "mand" | "nomand" | "lazytime")
        || attribute(word).is_some()
        || PROPAGATIONS.iter().any(|(name, ..)| *name == word)
}

/// All words that are known, in alphabetical order.
pub(crate) fn known() -> Vec<String> {
    let below = ATTRIBUTES.iter().map(|(name, ..)| format!("r{name}"));
    let own = ATTRIBUTES.iter().map(|(name, ..)| (*name).to_owned());
    let others = ["bind", "rbind", "idmap", "ridmap", "tmpcopyup"].map(str::to_owned);
    let propagations = PROPAGATIONS.iter().map(|(name, ..)| (*name).to_owned());
    let empty = EMPTY.iter().map(|name| (*name).to_owned());
    let mut all: Vec<String> = own.chain(below).chain(propagations).chain(empty).chain(others).collect();
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &str) -> Options {
        Options::parse(&words.split(',').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn words_become_attributes_and_the_rest_is_the_filesystems() {
        let options = parse("rbind,ro,nosuid,suid,rslave,rnoexec,size=5k,mode=755,defaults");
        assert_eq!(options.bind, Some(true));
        assert_eq!((options.set, options.clear), (Flags::MOUNT_ATTR_RDONLY, Flags::MOUNT_ATTR_NOSUID));
        assert_eq!(options.set_below, Flags::MOUNT_ATTR_NOEXEC);
        assert_eq!(options.propagation, Some((Propagation::Slave, true)));
        assert_eq!(options.data, ["size=5k", "mode=755"]);
        assert_eq!(parse("rbind,bind").bind, Some(true));
        assert_eq!(parse("rw,ro,rro").set_below, Flags::MOUNT_ATTR_RDONLY);
    }

    #[test]
    fn times_of_access_have_one_value() {
        let options = parse("noatime,strictatime");
        assert_eq!((options.set, options.clear), (Flags::MOUNT_ATTR_STRICTATIME, Flags::MOUNT_ATTR__ATIME));
        assert_eq!(parse("noatime,relatime").set, Flags::empty());
        assert_eq!(parse("nostrictatime").clear, Flags::MOUNT_ATTR__ATIME);
    }
}

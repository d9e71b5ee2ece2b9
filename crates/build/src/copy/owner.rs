//! `--chown` and `--chmod`.

use std::path::Path;

use strata_sys::root_dir::RootDir;

use crate::error::{Problem, read};

/// `/etc/passwd` and `/etc/group` are read as far as this; real ones have kilobytes.
const FILE_BYTES_MAX: u64 = 8 << 20;

/// Who files are to belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The user.
    pub(crate) uid: u32,
    /// The group.
    pub(crate) gid: u32,
}

impl Owner {
    /// Root.
    pub(crate) const ROOT: Self = Self { uid: 0, gid: 0 };

    /// Reads `USER[:GROUP]`; names are those in `root`.
    pub(crate) fn parse(text: &str, root: &RootDir) -> Result<Self, Problem> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group).filter(|group| !group.is_empty())),
            None => (text, None),
        };
        let file = |path: &str| -> Result<String, Problem> {
            let text = root.read_to_string(Path::new(path), FILE_BYTES_MAX).map_err(read(path))?;
            Ok(text.unwrap_or_default())
        };
        let unknown = |what, name: &str| Problem::Owner { what, name: name.to_owned() };
        let (uid, usual_gid) = match user.parse::<u32>() {
            Ok(uid) => (uid, uid),
            // `:GROUP` leaves the user.
            Err(_) if user.is_empty() && group.is_some() => (0, 0),
            Err(_) => {
                let fields = line(&file("etc/passwd")?, user).ok_or_else(|| unknown("uid", user))?;
                (fields.0, fields.1.unwrap_or(fields.0))
            }
        };
        let gid = match group.map(|group| group.parse::<u32>().map_err(|_| group)) {
            None => usual_gid,
            Some(Ok(gid)) => gid,
            Some(Err(name)) => line(&file("etc/group")?, name).ok_or_else(|| unknown("gid", name))?.0,
        };
        Ok(Self { uid, gid })
    }
}

/// The numbers in the third and fourth field of a name's line.
fn line(file: &str, name: &str) -> Option<(u32, Option<u32>)> {
    file.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next() != Some(name) {
            return None;
        }
        let id = fields.nth(1)?.parse().ok()?;
        Some((id, fields.next().and_then(|gid| gid.parse().ok())))
    })
}

/// What `--chmod` says, in octal digits or in letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Octal(u16),
    Letters(Vec<Clause>),
}

/// `u+rwX`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    who: u16,
    sign: char,
    what: String,
}

impl Mode {
    /// Reads it.
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let bad = || Problem::Mode(text.to_owned());
        if text.starts_with(|c: char| c.is_ascii_digit()) {
            let mode = u16::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o7777);
            return mode.map(Self::Octal).ok_or_else(bad);
        }
        let clause = |text: &str| {
            let at = text.find(['+', '-', '=']).ok_or_else(bad)?;
            let (who, rest) = text.split_at(at);
            let (sign, what) = rest.split_at(1);
            if !what.chars().all(|c| "rwxXstugo".contains(c)) {
                return Err(bad());
            }
            let mut mask = 0;
            for letter in who.chars() {
                mask |= match letter {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return Err(bad()),
                };
            }
            let who = if who.is_empty() { 0o7777 } else { mask };
            Ok(Clause { who, sign: sign.chars().next().unwrap_or('='), what: what.to_owned() })
        };
        text.split(',').map(clause).collect::<Result<_, _>>().map(Self::Letters)
    }

    /// The permissions of directories that are made on the way, if it says so: digits do, as with BuildKit.
    pub(crate) const fn of_new_dirs(&self) -> Option<u16> {
        match self {
            Self::Octal(mode) => Some(*mode & 0o777),
            Self::Letters(_) => None,
        }
    }

    /// A file's permissions after it.
    pub(crate) fn apply(&self, mode: u16, is_dir: bool) -> u16 {
        let clauses = match self {
            Self::Octal(mode) => return *mode,
            Self::Letters(clauses) => clauses,
        };
        clauses.iter().fold(mode, |mode, clause| {
            let bits = clause.what.chars().fold(0, |bits, letter| {
                bits | match letter {
                    'r' => 0o444,
                    'w' => 0o222,
                    'x' => 0o111,
                    'X' if is_dir || mode & 0o111 != 0 => 0o111,
                    's' => 0o6000,
                    't' => 0o1000,
                    // What somebody else has.
                    'u' => (mode >> 6 & 7) * 0o111,
                    'g' => (mode >> 3 & 7) * 0o111,
                    'o' => (mode & 7) * 0o111,
                    _ => 0,
                }
            }) & clause.who;
            match clause.sign {
                '+' => mode | bits,
                '-' => mode & !bits,
                _ => (mode & !clause.who) | bits,
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_digits_or_letters() {
        let check = |text: &str, before: u16, is_dir: bool, after: u16| {
            assert_eq!(Mode::parse(text).unwrap().apply(before, is_dir), after, "{text}");
        };
        check("755", 0o600, false, 0o755);
        check("u=rwX,go=rX", 0o600, true, 0o755);
        check("u=rwX,go=rX", 0o600, false, 0o644);
        check("a+x", 0o644, false, 0o755);
        check("go-rwx", 0o755, true, 0o700);
        check("u+s,+t", 0o755, false, 0o5755);
        check("g=u", 0o640, false, 0o660);
        check("go=u,o-x", 0o751, false, 0o776);
        for bad in ["99", "17777", "u", "z+x", "u+q", ""] {
            assert!(Mode::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn owners_are_names_of_the_image_or_numbers() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), "root:x:0:0::/:/bin/sh\napp:x:7:8::/:/bin/sh\n").unwrap();
        std::fs::write(dir.path().join("etc/group"), "staff:x:50:\n").unwrap();
        let root = RootDir::open_host(dir.path()).unwrap();
        for (text, uid, gid) in
            [("app", 7, 8), ("app:staff", 7, 50), ("5", 5, 5), ("5:9", 5, 9), ("app:", 7, 8), (":staff", 0, 50)]
        {
            assert_eq!(Owner::parse(text, &root).unwrap(), Owner { uid, gid }, "{text}");
        }
        assert!(Owner::parse("nobody", &root).is_err() && Owner::parse("app:none", &root).is_err());
    }
}

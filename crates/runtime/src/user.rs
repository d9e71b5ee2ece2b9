//! Users and groups by name, looked up in a container's own `/etc/passwd` and `/etc/group` as Docker does.

use std::io::Read as _;
use std::os::fd::BorrowedFd;

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::Error;
use crate::spec::{NamedUser, User};

/// The largest passwd or group file that is read: those of directories with 100,000 people stay below it.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// The largest id Docker takes.
const ID_MAX: u32 = i32::MAX as u32;

/// A user as found: the numbers, and where the person is at home.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The numbers; the primary group is among the groups.
    pub user: User,
    /// The home directory, `/` for users that the container does not know.
    pub home: String,
}

/// Looks up `wanted` in the tree below `root`. Links in it lead nowhere outside; missing files are empty.
pub fn look_up(root: BorrowedFd<'_>, wanted: &NamedUser) -> Result<Found, Error> {
    let passwd = read(root, "etc/passwd")?;
    find(wanted, &passwd, || read(root, "etc/group"))
}

fn read(root: BorrowedFd<'_>, path: &str) -> Result<String, Error> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = match strata_sys::resolve::open(root, path, flags, Mode::empty(), resolve) {
        Ok(fd) => std::fs::File::from(fd),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => {
            return Ok(String::new());
        }
        Err(errno) => return Err(Error::path("read", path)(errno)),
    };
    let metadata = file.metadata().map_err(Error::path("look at", path))?;
    if !metadata.is_file() {
        return Ok(String::new());
    }
    // In one piece, and the kernel is asked once more whether that was all.
    let mut bytes = Vec::with_capacity(metadata.len().min(FILE_BYTES_MAX) as usize + 64);
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes).map_err(Error::path("read", path))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

struct Passwd<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

fn passwd(text: &str) -> impl Iterator<Item = Passwd<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next().and_then(|gid| gid.parse().ok()).unwrap_or(0));
        let home = fields.nth(1).unwrap_or("");
        Some(Passwd { name, uid, gid, home })
    })
}

fn groups(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.trim().split(':');
        let (name, _password) = (fields.next()?, fields.next()?);
        Some(Group { name, gid: fields.next()?.parse().ok()?, members: fields.next().unwrap_or("") })
    })
}

fn find(wanted: &NamedUser, passwd_text: &str, group: impl Fn() -> Result<String, Error>) -> Result<Found, Error> {
    let (user_name, group_name) = wanted.user.split_once(':').unwrap_or((&wanted.user, ""));
    let number = if user_name.is_empty() { Some(0) } else { user_name.parse::<u32>().ok() };
    let known = passwd(passwd_text)
        .find(|entry| (!user_name.is_empty() && entry.name == user_name) || Some(entry.uid) == number);
    let (uid, mut gid, home) = match (&known, number) {
        (Some(entry), _) => (entry.uid, entry.gid, entry.home),
        (None, Some(uid)) => (in_range(uid)?, 0, "/"),
        (None, None) => {
            return Err(Error::Setup(format!("unable to find user {user_name}: no matching entries in passwd file")));
        }
    };
    let group_text =
        if group_name.is_empty() && known.is_none() && wanted.groups.is_empty() { String::new() } else { group()? };
    let mut more = Vec::new();
    if !group_name.is_empty() {
        gid = group_id(&group_text, group_name).ok_or_else(|| {
            Error::Setup(format!("unable to find group {group_name}: no matching entries in group file"))
        })?;
        in_range(gid)?;
    } else if let Some(entry) = &known {
        let member = |group: &Group<'_>| group.members.split(',').any(|member| member == entry.name);
        more.extend(groups(&group_text).filter(member).map(|group| group.gid));
    }
    for name in &wanted.groups {
        let id = group_id(&group_text, name);
        let missing = || Error::Setup(format!("Unable to find group {name}: no matching entries in group file"));
        let id = id.ok_or_else(missing)?;
        more.push(in_range(id)?);
    }
    let mut ids = vec![gid];
    for id in more {
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    let home = if home.is_empty() { "/" } else { home };
    Ok(Found { user: User { uid, gid, groups: ids, umask: None }, home: home.to_owned() })
}

fn group_id(text: &str, name: &str) -> Option<u32> {
    let number = name.parse().ok();
    groups(text).find(|group| group.name == name || Some(group.gid) == number).map(|group| group.gid).or(number)
}

fn in_range(id: u32) -> Result<u32, Error> {
    if id > ID_MAX {
        return Err(Error::Setup(format!("uids and gids must be in range 0-{ID_MAX}")));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\nbroken\napp:x:100:101::/srv/app:/bin/false\n";
    const GROUP: &str = "root:x:0:\nbin:x:1:root,app\napp:x:101:\nwheel:x:10:root\n";

    fn check(user: &str, groups: &[&str], expected: (u32, u32, &[u32], &str)) {
        let wanted = NamedUser { user: user.into(), groups: groups.iter().map(|g| (*g).to_owned()).collect() };
        let found = find(&wanted, PASSWD, || Ok(GROUP.to_owned())).unwrap();
        let (uid, gid, ids, home) = expected;
        let user_expected = User { uid, gid, groups: ids.to_vec(), umask: None };
        assert_eq!(found, Found { user: user_expected, home: home.to_owned() }, "{user}");
    }

    #[test]
    fn users_are_found_by_name_and_number() {
        check("", &[], (0, 0, &[0, 1, 10], "/root"));
        check("app", &[], (100, 101, &[101, 1], "/srv/app"));
        check("100", &[], (100, 101, &[101, 1], "/srv/app"));
        check("1234", &[], (1234, 0, &[0], "/"));
        check("app:wheel", &[], (100, 10, &[10], "/srv/app"));
        check("5:7", &["wheel", "99"], (5, 7, &[7, 10, 99], "/"));
    }

    #[test]
    fn refusals_are_dockers_words() {
        let refused = |user: &str| {
            let wanted = NamedUser { user: user.into(), groups: vec![] };
            find(&wanted, PASSWD, || Ok(GROUP.to_owned())).unwrap_err().to_string()
        };
        assert_eq!(refused("nope"), "unable to find user nope: no matching entries in passwd file");
        assert_eq!(refused("app:nope"), "unable to find group nope: no matching entries in group file");
        assert_eq!(refused("4294967295"), "uids and gids must be in range 0-2147483647");
    }
}

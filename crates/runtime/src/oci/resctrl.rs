//! Classes of caches and memory bandwidth (runtime-spec, config-linux.md, `intelRdt`; the kernel's resctrl filesystem).

use std::collections::BTreeMap;
use std::io::{Error as IoError, ErrorKind};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strata_types::runtime_spec::IntelRdt;

use super::Error;

/// The class that a container's processes belong to, and what of it was made for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Class {
    /// Directories whose `tasks` its processes are in.
    groups: Vec<PathBuf>,
    /// Those of them that go with it, the innermost first.
    made: Vec<PathBuf>,
}

impl Class {
    /// Puts another process of the container into it.
    pub(super) fn join(&self, pid: i32) -> Result<(), Error> {
        self.groups.iter().try_for_each(|dir| write(&dir.join("tasks"), &pid.to_string()))
    }

    /// Removes what was made for the container; it may be gone.
    pub(super) fn remove(&self) -> Result<(), Error> {
        for dir in &self.made {
            match std::fs::remove_dir(dir) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return Err(crate::Error::path("remove", dir.display().to_string())(error).into());
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Checks what can be checked before anything is made.
pub(super) fn check(wanted: &IntelRdt) -> Result<(), Error> {
    let refuse = |why: String| Err(Error::Config(why));
    let id = wanted.clos_id.as_str();
    if matches!(id, "." | "..") || id.contains('/') {
        return refuse(format!("invalid intelRdt.closID {id:?}"));
    }
    let bandwidth = wanted.mem_bw_schema.as_str();
    if !bandwidth.is_empty() && (!bandwidth.starts_with("MB:") || bandwidth.contains('\n')) {
        return refuse(format!("intelRdt.memBwSchema {bandwidth:?} is no line that begins with MB:"));
    }
    match mounted() {
        Some(_) => Ok(()),
        None => refuse("intelRdt is set, but no resctrl filesystem is mounted".to_owned()),
    }
}

/// Puts the first process of the container `id` into its class, which is made if need be. `class` knows what was made also
/// if something fails.
pub(super) fn assign(wanted: &IntelRdt, id: &str, pid: i32, class: &mut Class) -> Result<(), Error> {
    let root = mounted().ok_or_else(|| Error::Config("no resctrl filesystem is mounted".to_owned()))?;
    assign_below(&root, wanted, id, pid, class)
}

/// Where the filesystem is mounted (proc_pid_mountinfo(5)).
fn mounted() -> Option<PathBuf> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line = table.lines().find(|line| line.contains(" - resctrl "))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

fn assign_below(root: &Path, wanted: &IntelRdt, id: &str, pid: i32, class: &mut Class) -> Result<(), Error> {
    let named = wanted.clos_id.as_str();
    let dir = root.join(if named.is_empty() { id } else { named });
    let lines = schemata(wanted);
    if !named.is_empty() && lines.is_empty() && !dir.is_dir() {
        return Err(Error::Config(format!(
            "the class {named:?} of intelRdt does not exist, and no schemata say what it is"
        )));
    }
    let is_new = make(&dir)?;
    if is_new && named.is_empty() {
        class.made.push(dir.clone());
    }
    class.groups.push(dir.clone());
    if !lines.is_empty() && !named.is_empty() && !is_new {
        // What others have defined is not changed under them.
        let path = dir.join("schemata");
        let there = std::fs::read_to_string(&path).map_err(crate::Error::path("read", path.display().to_string()))?;
        if let Some(line) = lines.iter().find(|line| !agrees(line, &there)) {
            return Err(Error::Config(format!("the class {named:?} of intelRdt is not as {line:?} says")));
        }
    } else if !lines.is_empty() {
        write(&dir.join("schemata"), &format!("{}\n", lines.join("\n")))?;
    }
    if wanted.is_monitored() {
        let watched = dir.join("mon_groups").join(id);
        if make(&watched)? {
            class.made.insert(0, watched.clone());
        }
        class.groups.push(watched);
    }
    class.join(pid)
}

/// What is to be written, in this order.
fn schemata(wanted: &IntelRdt) -> Vec<String> {
    let bandwidth = Some(wanted.mem_bw_schema.as_str()).filter(|line| !line.is_empty());
    // The line of bandwidths wins over one among those of caches.
    let caches = wanted.l3_cache_schema.lines().filter(|line| bandwidth.is_none() || !line.starts_with("MB:"));
    let all = caches.chain(bandwidth).chain(wanted.schemata.iter()).map(str::trim);
    all.filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// A line as the kernel shows it and as people write it: the resource, and values by domain.
fn parse(line: &str) -> Option<(&str, BTreeMap<&str, String>)> {
    let (resource, domains) = line.trim().split_once(':')?;
    let domains = domains.split(';').map(domain).collect::<Option<_>>()?;
    Some((resource.trim(), domains))
}

fn domain(part: &str) -> Option<(&str, String)> {
    let (id, value) = part.split_once('=')?;
    Some((id.trim(), value.trim().trim_start_matches('0').to_ascii_lowercase()))
}

/// Whether a class whose schemata are `there` has all that `line` says.
fn agrees(line: &str, there: &str) -> bool {
    let Some((resource, wanted)) = parse(line) else { return false };
    let found = there.lines().filter_map(parse).find(|(name, _)| *name == resource);
    found.is_some_and(|(_, found)| wanted.iter().all(|(domain, value)| found.get(domain) == Some(value)))
}

fn make(dir: &Path) -> Result<bool, Error> {
    match std::fs::create_dir(dir) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(crate::Error::path("make", dir.display().to_string())(error).into()),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Error> {
    let written = std::fs::write(file, text).map_err(|error| match last_status(file) {
        Some(why) => IoError::new(error.kind(), format!("{error} ({why})")),
        None => error,
    });
    Ok(written.map_err(crate::Error::path("write", file.display().to_string()))?)
}

/// What the kernel says of the last thing that it refused.
fn last_status(file: &Path) -> Option<String> {
    let root = file.ancestors().find(|dir| dir.join("info").is_dir())?;
    let text = std::fs::read_to_string(root.join("info/last_cmd_status")).ok()?;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty() && text != "ok")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts process 7 of the container `box` into the class of `wanted`, below a directory that has the class `known`. Gives
    /// the files that there are then, with what was written last, and what failed.
    fn check_files(wanted: &str, expected: &[(&str, &str)], failure: &str) -> (tempfile::TempDir, Class) {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("known/mon_groups")).unwrap();
        std::fs::write(root.path().join("known/schemata"), "    MB:0=100;1=20\n    L3:0=00ff;1=c0\n").unwrap();
        let wanted: IntelRdt = serde_json::from_str(wanted).unwrap();
        let mut class = Class::default();
        let done = assign_below(root.path(), &wanted, "box", 7, &mut class);
        let told = done.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(told.contains(failure) && told.is_empty() == failure.is_empty(), "{told}");
        for (file, text) in expected {
            assert_eq!(std::fs::read_to_string(root.path().join(file)).unwrap(), *text, "{file}");
        }
        (root, class)
    }

    #[test]
    fn a_container_has_a_class_of_its_own_that_goes_with_it() {
        let wanted = r#"{"l3CacheSchema": "MB:0=1\nL3:0=f", "memBwSchema": "MB:0=20", "schemata": ["L2:0=3"]}"#;
        let written = [("box/schemata", "L3:0=f\nMB:0=20\nL2:0=3\n"), ("box/tasks", "7")];
        let (root, class) = check_files(wanted, &written, "");
        // In the kernel's filesystem the files go with the directory.
        std::fs::remove_file(root.path().join("box/tasks")).unwrap();
        std::fs::remove_file(root.path().join("box/schemata")).unwrap();
        class.remove().unwrap();
        class.remove().unwrap();
        assert!(!root.path().join("box").exists() && root.path().join("known").exists());
    }

    #[test]
    fn a_class_of_others_is_joined_and_stays() {
        let (_root, class) = check_files(r#"{"closID": "known"}"#, &[("known/tasks", "7")], "");
        assert!(class.made.is_empty(), "{class:?}");
        let same = r#"{"closID": "known", "l3CacheSchema": "L3:1=C0;0=ff"}"#;
        check_files(same, &[("known/tasks", "7"), ("known/schemata", "    MB:0=100;1=20\n    L3:0=00ff;1=c0\n")], "");
        check_files(r#"{"closID": "known", "memBwSchema": "MB:0=10"}"#, &[], "is not as \"MB:0=10\" says");
        check_files(r#"{"closID": "unknown"}"#, &[], "does not exist");
        check_files(r#"{"closID": "new", "schemata": "L3:0=1\nMB:0=9"}"#, &[("new/schemata", "L3:0=1\nMB:0=9\n")], "");
    }

    #[test]
    fn a_container_is_watched_alone() {
        let (root, class) =
            check_files(r#"{"closID": "known", "enableMonitoring": true}"#, &[("known/mon_groups/box/tasks", "7")], "");
        assert_eq!(class.made, [root.path().join("known/mon_groups/box")]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let check = |wanted: &str| check(&serde_json::from_str(wanted).unwrap()).unwrap_err().to_string();
        assert!(check(r#"{"closID": ".."}"#).contains("invalid intelRdt.closID"));
        assert!(check(r#"{"closID": "a/b"}"#).contains("invalid intelRdt.closID"));
        assert!(check(r#"{"memBwSchema": "L3:0=1"}"#).contains("begins with MB:"));
    }
}

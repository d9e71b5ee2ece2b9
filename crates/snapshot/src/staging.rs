//! Directories in the making, and on their way out.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use strata_sys::durable;
use strata_sys::failpoint;
use strata_sys::lock::{self, Mode};

use crate::{Error, Result};

/// What the names of such directories begin with; no layer's does.
const PREFIX: &str = ".new-";

/// A directory beside the layers that becomes one when it is published. Its lock tells others that somebody works on it.
#[derive(Debug)]
pub(crate) struct Staging {
    path: PathBuf,
    dir: File,
    done: bool,
}

impl Staging {
    /// Makes an empty one in `home`, the directory of a driver's layers.
    pub(crate) fn new(home: &Path) -> Result<Self> {
        loop {
            let path = home.join(format!("{PREFIX}{}", strata_sys::random::hex::<8>()));
            durable::create_dirs(&path, 0o755)?;
            // None if somebody looked for garbage before we had the lock.
            if let Some(dir) = lock_dir(&path).map_err(Error::at("lock", &path))? {
                return Ok(Self { path, dir, done: false });
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes what is here visible as `target`; its files are synced already. False if there is one already, whose
    /// content is the same by its name.
    pub(crate) fn publish(mut self, target: &Path) -> Result<bool> {
        self.dir.sync_all().map_err(Error::at("sync", &self.path))?;
        failpoint!("snapshot.before-rename");
        match durable::rename(&self.path, target) {
            Ok(()) => {
                self.done = true;
                failpoint!("snapshot.after-rename");
                Ok(true)
            }
            Err(error) if is_taken(&error.source) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if !self.done
            && let Err(error) = durable::remove(&self.path)
        {
            tracing::warn!(%error, "an unfinished layer stays until the next import");
        }
    }
}

/// Removes a layer's directory `dir` in `home` with all below it, under another name so that nobody sees a half of it; says
/// whether it was there. Takes no room: this is how a full disk gets some.
pub(crate) fn discard(dir: &Path, home: &Path) -> Result<bool> {
    // Its own lock tells others that somebody works on it. If they have it, they remove it, too.
    let Some(_lock) = lock_dir(dir).map_err(Error::at("lock", dir))? else { return Ok(false) };
    let trash = home.join(format!("{PREFIX}{}", strata_sys::random::hex::<8>()));
    match durable::rename(dir, &trash) {
        Ok(()) => {}
        Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error.into()),
    }
    failpoint!("snapshot.remove-layer");
    durable::remove(&trash)?;
    Ok(true)
}

/// Removes what others left in `home` when they died.
pub(crate) fn sweep(home: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(home) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(Error::at("list", home)(source)),
    };
    for entry in entries {
        let entry = entry.map_err(Error::at("list", home))?;
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let path = entry.path();
        // The lock is held until everything below is gone.
        if let Some(_lock) = lock_dir(&path).map_err(Error::at("lock", &path))? {
            tracing::debug!(path = %path.display(), "removing an unfinished layer");
            durable::remove(&path)?;
        }
    }
    Ok(())
}

/// Locks a directory; none if somebody else has it locked, or it is gone.
fn lock_dir(path: &Path) -> io::Result<Option<File>> {
    let dir = match File::open(path) {
        Ok(dir) => dir,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok((lock::take(&dir, Mode::Exclusive)? && lock::names(path, &dir)?).then_some(dir))
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_of_two_equals_gives_way() {
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("layer");
        let [first, second] = ["1", "2"].map(|content| {
            let staging = Staging::new(home.path()).unwrap();
            std::fs::write(staging.path().join("tar"), content).unwrap();
            staging
        });
        assert!(first.publish(&target).unwrap());
        assert!(!second.publish(&target).unwrap());
        assert_eq!(std::fs::read(target.join("tar")).unwrap(), b"1");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 1);
    }

    #[test]
    fn only_what_the_dead_left_is_swept() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("erofs");
        sweep(&home).unwrap();
        let alive = Staging::new(&home).unwrap();
        for dead in [".new-dead/fs/sub", "layer/fs"] {
            std::fs::create_dir_all(home.join(dead)).unwrap();
        }
        sweep(&home).unwrap();
        assert!(alive.path().exists() && home.join("layer/fs").exists());
        assert!(!home.join(".new-dead").exists());
    }

    #[test]
    fn discarding_may_find_nothing() {
        let home = tempfile::tempdir().unwrap();
        let layer = home.path().join("layer");
        std::fs::create_dir_all(layer.join("fs/a/b")).unwrap();
        assert!(discard(&layer, home.path()).unwrap());
        assert!(!discard(&layer, home.path()).unwrap());
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }
}

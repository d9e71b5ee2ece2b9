//! Writes that are there, whole, after the power failed; and removals that may find nothing.
//!
//! The one place for temp → write → fsync → rename → fsync directory. [`Disk`] is what that is made of, so that tests
//! put a simulated disk below (`testkit::disk`) which fails the nth operation or loses what was not synced.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, RenameFlags};
use rustix::io::Errno;

use strata_types::ErrorClass;

use crate::remove_tree;

/// What a file operation could not do, to which file.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} {}", path.display())]
pub struct FileError {
    /// The verb, such as `rename`.
    pub act: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// What the kernel said.
    #[source]
    pub source: io::Error,
}

impl FileError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        class_of(&self.source)
    }

    /// Makes a function that says what could not be done to `path`, for `map_err`.
    pub fn at(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self { act, path: path.to_owned(), source }
    }
}

/// What kind of trouble an error of the kernel is.
pub fn class_of(error: &io::Error) -> ErrorClass {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            ErrorClass::Exhausted
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorClass::Denied,
        io::ErrorKind::NotFound => ErrorClass::NotFound,
        _ => ErrorClass::Internal,
    }
}

/// How much a write has to survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The end of the machine: synced before it is visible.
    Durable,
    /// The end of the process only: atomic, but not synced. For what a reboot makes worthless.
    Ephemeral,
}

/// The operations durable writing is made of.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes a directory and those above it, with `mode`; it may exist.
    fn create_dirs(&self, dir: &Path, mode: u32) -> io::Result<()>;
    /// Opens a file for reading and appending, creating it with `mode` when missing.
    fn append(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>>;
    /// Gives a file or directory another name, replacing what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// The same where nothing has to be durable.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.rename(from, to)
    }
    /// Removes a file; says whether it was there.
    fn remove_file(&self, path: &Path) -> io::Result<bool>;
    /// Removes whatever is at `path`; says whether something was there.
    fn remove_tree(&self, path: &Path) -> io::Result<bool>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// An open file of a [`Disk`].
pub trait DiskFile: Write + Send + fmt::Debug {
    /// Makes the content durable.
    fn sync(&self) -> io::Result<()>;
    /// Cuts the file off.
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;
    /// The file itself, for reading and locking it.
    fn file(&self) -> &File;
}

/// The disk of the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl RealDisk {
    /// The real disk as a value to share.
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

impl Disk for RealDisk {
    fn create_dirs(&self, dir: &Path, mode: u32) -> io::Result<()> {
        std::fs::DirBuilder::new().recursive(true).mode(mode).create(dir)
    }

    fn append(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::options().read(true).append(true).create(true).mode(mode).open(path)?))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    /// Renaming over a file makes ext4 write the new one out at once (ext4(5), `auto_da_alloc`), which costs a write to the
    /// disk; exchanging two files does not.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = |flags| rustix::fs::renameat_with(CWD, from, CWD, to, flags);
        match rename(RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(()),
            Err(Errno::EXIST) if rename(RenameFlags::EXCHANGE).is_ok() => return std::fs::remove_file(from),
            Err(_) => {}
        }
        // The filesystem knows no other way, or there is an error to tell.
        std::fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<bool> {
        found(std::fs::remove_file(path))
    }

    fn remove_tree(&self, path: &Path) -> io::Result<bool> {
        remove_tree::remove_tree(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

impl DiskFile for File {
    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        Self::set_len(self, len_bytes)
    }

    fn file(&self) -> &File {
        self
    }
}

/// Puts `bytes` at `path` in one step: readers see the old content or the new one, never a part.
pub fn write_file(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<(), FileError> {
    write_file_on(&RealDisk, path, bytes, mode, durability)
}

/// [`write_file`] on another disk.
pub fn write_file_on(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    mode: u32,
    durability: Durability,
) -> Result<(), FileError> {
    let temp = temporary(path);
    let write = || {
        let mut file = disk.append(&temp, mode).map_err(FileError::at("create", &temp))?;
        file.write_all(bytes).map_err(FileError::at("write", path))?;
        if durability == Durability::Durable {
            file.sync().map_err(FileError::at("sync", path))?;
        }
        place(disk, &temp, path, durability)
    };
    write().inspect_err(|_| {
        // The first error is the one to tell. What stays behind is a hidden file that nobody reads.
        if let Err(error) = disk.remove_file(&temp) {
            tracing::warn!(path = %temp.display(), %error, "cannot remove a temporary file");
        }
    })
}

/// Writes over what is in a file, which needs no room that it has not got already: for what has to be told on a full disk. Not
/// atomic: whoever reads at that moment may see a part of both. Blanks follow if there was more.
pub fn overwrite_file(path: &Path, bytes: &[u8], durability: Durability) -> Result<(), FileError> {
    use std::os::unix::fs::FileExt as _;
    let failed = |act| FileError::at(act, path);
    let file = File::options().write(true).open(path).map_err(failed("open"))?;
    let there = file.metadata().map_err(failed("look at"))?.len();
    let mut padded = bytes.to_vec();
    padded.resize(bytes.len().max(usize::try_from(there).unwrap_or(0)), b' ');
    file.write_all_at(&padded, 0).map_err(failed("write"))?;
    if durability == Durability::Durable { file.sync_data().map_err(failed("sync")) } else { Ok(()) }
}

/// [`write_file`] for several files: what has to be durable is waited for together, so that a journal takes all of them in
/// one commit. After an error some are in place and others are not.
pub fn write_files(files: &[(PathBuf, Vec<u8>)], mode: u32, durability: Durability) -> Result<(), FileError> {
    let durable = durability == Durability::Durable;
    let mut written: Vec<(PathBuf, &Path, Box<dyn DiskFile>)> = Vec::new();
    let write = |written: &mut Vec<(PathBuf, _, Box<dyn DiskFile>)>| {
        for (path, bytes) in files {
            let temp = temporary(path);
            let file = RealDisk.append(&temp, mode).map_err(FileError::at("create", &temp))?;
            written.push((temp, path.as_path(), file));
            let Some((_, _, file)) = written.last_mut() else { continue };
            file.write_all(bytes).map_err(FileError::at("write", path))?;
            if durable {
                start_writing(file.file(), 0, bytes.len() as u64).map_err(FileError::at("write", path))?;
            }
        }
        for (_, path, file) in written.iter().filter(|_| durable) {
            file.sync().map_err(FileError::at("sync", path))?;
        }
        for (temp, path, _) in written.iter() {
            let placed = if durable { RealDisk.rename(temp, path) } else { RealDisk.replace(temp, path) };
            placed.map_err(FileError::at("rename into place", path))?;
        }
        for (path, _) in files.iter().filter(|_| durable) {
            sync_dir(parent(path))?;
        }
        Ok(())
    };
    let done = write(&mut written);
    if done.is_err() {
        for (temp, ..) in &written {
            // The first error is the one to tell. Those that are in place have no such name any more.
            if let Err(error) = RealDisk.remove_file(temp) {
                tracing::warn!(path = %temp.display(), %error, "cannot remove a temporary file");
            }
        }
    }
    done
}

/// A name beside `path` that nobody else has.
fn temporary(path: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.tmp", crate::random::hex::<6>()));
    path.with_file_name(name)
}

/// Renames within one directory or between two, durably.
pub fn rename(from: &Path, to: &Path) -> Result<(), FileError> {
    place(&RealDisk, from, to, Durability::Durable)
}

/// Renames `from` to `to` on `disk` and, if it has to be durable, syncs the directory that got the name and the one
/// that lost it.
pub fn place(disk: &dyn Disk, from: &Path, to: &Path, durability: Durability) -> Result<(), FileError> {
    let placed = match durability {
        Durability::Durable => disk.rename(from, to),
        Durability::Ephemeral => disk.replace(from, to),
    };
    placed.map_err(FileError::at("rename into place", to))?;
    if durability == Durability::Durable {
        let (into, out_of) = (parent(to), parent(from));
        disk.sync_dir(into).map_err(FileError::at("sync", into))?;
        if out_of != into {
            disk.sync_dir(out_of).map_err(FileError::at("sync", out_of))?;
        }
    }
    Ok(())
}

/// Removes whatever is at `path`; says whether something was there. Not synced: a removal that comes back after a
/// power failure is found by whoever recorded the intent.
pub fn remove(path: &Path) -> Result<bool, FileError> {
    RealDisk.remove_tree(path).map_err(FileError::at("remove", path))
}

/// Makes a directory and those above it with `mode`; it may exist.
pub fn create_dirs(dir: &Path, mode: u32) -> Result<(), FileError> {
    RealDisk.create_dirs(dir, mode).map_err(FileError::at("create directory", dir))
}

/// Makes the names in a directory durable.
pub fn sync_dir(dir: &Path) -> Result<(), FileError> {
    RealDisk.sync_dir(dir).map_err(FileError::at("sync", dir))
}

/// Asks the disk to begin with a part of a file that was written, and does not wait (sync_file_range(2)). Durable is the
/// file only after a sync.
pub fn start_writing(file: &File, offset_bytes: u64, length_bytes: u64) -> io::Result<()> {
    use std::os::fd::AsRawFd as _;
    let (offset, length) = (offset_bytes.cast_signed(), length_bytes.cast_signed());
    // SAFETY: the descriptor is open, and the call takes nothing else that could be invalid.
    let done = unsafe { libc::sync_file_range(file.as_raw_fd(), offset, length, libc::SYNC_FILE_RANGE_WRITE) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Turns "not found" into "was not there".
pub fn found(result: io::Result<()>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_and_no_temporary_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_file(&path, b"old", 0o600, Durability::Durable).unwrap();
        write_file(&path, b"new", 0o600, Durability::Ephemeral).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn several_files_are_written_or_nothing_hidden_stays() {
        let dir = tempfile::tempdir().unwrap();
        let files = ["a", "b", "missing/c"].map(|name| (dir.path().join(name), name.as_bytes().to_vec()));
        for durability in [Durability::Durable, Durability::Ephemeral] {
            write_files(&files[..2], 0o600, durability).unwrap();
            assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), b"b");
            let error = write_files(&files, 0o600, durability).unwrap_err();
            assert_eq!(error.class(), ErrorClass::NotFound);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        }
    }

    #[test]
    fn a_failed_write_says_what_and_where() {
        let error = write_file(Path::new("/nonexistent/x"), b"", 0o600, Durability::Durable).unwrap_err();
        assert!(error.to_string().starts_with("cannot create /nonexistent/.x."), "{error}");
        assert_eq!(error.class(), ErrorClass::NotFound);
    }

    #[test]
    fn removing_what_is_not_there_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!remove(&dir.path().join("nothing")).unwrap());
    }
}

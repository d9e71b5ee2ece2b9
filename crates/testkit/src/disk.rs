//! A disk that fails when it is told to, and forgets what was not synced when the power fails.
//!
//! It stands on a real directory, so that whatever reads without asking the disk (SQLite, `File::open`) sees the same
//! files. Beside that it keeps what would be left after the power failed: for each file what was last synced, for each
//! directory the names that were last synced. That is stricter than any real filesystem.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use strata_sys::durable::{Disk, DiskFile, RealDisk};

/// What goes wrong, at which operation (counted from 1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// This operation fails; those after it work again.
    Fail(usize, io::ErrorKind),
    /// This operation and all after it fail: from here on the machine is dead, see [`SimulatedDisk::lose_power`].
    Die(usize),
}

/// A disk for tests.
#[derive(Clone, Debug)]
pub struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    operations: usize,
    /// Which file has which name now, and which after the power failed.
    names: BTreeMap<PathBuf, FileId>,
    durable_names: BTreeMap<PathBuf, FileId>,
    /// What is in each file after the power failed; nothing if it was never synced.
    durable_bytes: HashMap<FileId, Vec<u8>>,
    next: FileId,
}

type FileId = u64;

impl SimulatedDisk {
    /// A disk on which the files below `dirs` are durable already.
    pub fn new(dirs: &[PathBuf], fault: Fault) -> Self {
        let mut state = State {
            fault,
            operations: 0,
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            durable_bytes: HashMap::new(),
            next: 0,
        };
        for dir in dirs {
            for entry in std::fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                if path.is_file() {
                    let id = state.name(&path);
                    state.durable_bytes.insert(id, std::fs::read(&path).unwrap());
                    state.durable_names.insert(path, id);
                }
            }
        }
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// How many operations there were.
    pub fn operations(&self) -> usize {
        self.state().operations
    }

    /// Fails the power: brings the real directory to what was synced. Everything that has files open is closed by now.
    pub fn lose_power(&self) {
        let state = self.state();
        for path in state.names.keys().chain(state.durable_names.keys()) {
            RealDisk.remove_file(path).unwrap();
        }
        for (path, id) in &state.durable_names {
            let bytes = state.durable_bytes.get(id).map_or(&[][..], Vec::as_slice);
            std::fs::write(path, bytes).unwrap();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.state();
        state.operations += 1;
        match state.fault {
            Fault::Fail(at, kind) if state.operations == at => Err(kind.into()),
            Fault::Die(at) if state.operations >= at => Err(io::Error::other("the power failed")),
            _ => Ok(state),
        }
    }
}

impl State {
    fn name(&mut self, path: &Path) -> FileId {
        if let Some(id) = self.names.get(path) {
            return *id;
        }
        self.next += 1;
        self.names.insert(path.to_owned(), self.next);
        self.next
    }
}

impl Disk for SimulatedDisk {
    fn create_dirs(&self, dir: &Path, mode: u32) -> io::Result<()> {
        let _state = self.step()?;
        RealDisk.create_dirs(dir, mode)
    }

    fn append(&self, path: &Path, mode: u32) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.step()?;
        let file = File::options().read(true).append(true).create(true).mode(mode).open(path)?;
        let id = state.name(path);
        Ok(Box::new(SimulatedFile { disk: self.clone(), id, file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        std::fs::rename(from, to)?;
        if let Some(id) = state.names.remove(from) {
            state.names.insert(to.to_owned(), id);
        }
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.step()?;
        state.names.remove(path);
        RealDisk.remove_file(path)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<bool> {
        let mut state = self.step()?;
        state.names.retain(|name, _| !name.starts_with(path));
        RealDisk.remove_tree(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.step()?;
        let State { names, durable_names, .. } = &mut *state;
        durable_names.retain(|path, _| path.parent() != Some(dir));
        let here = names.iter().filter(|(path, _)| path.parent() == Some(dir));
        durable_names.extend(here.map(|(path, id)| (path.clone(), *id)));
        Ok(())
    }
}

#[derive(Debug)]
struct SimulatedFile {
    disk: SimulatedDisk,
    id: FileId,
    file: File,
}

impl Write for SimulatedFile {
    /// A write that fails may have written a part.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.disk.step() {
            Ok(_state) => self.file.write(bytes),
            Err(error) => {
                self.file.write_all(&bytes[..bytes.len() / 2])?;
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for SimulatedFile {
    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.step()?;
        let mut bytes = Vec::new();
        (&self.file).seek(SeekFrom::Start(0))?;
        (&self.file).read_to_end(&mut bytes)?;
        state.durable_bytes.insert(self.id, bytes);
        Ok(())
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        let _state = self.disk.step()?;
        self.file.set_len(len_bytes)
    }

    fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_sys::durable::{Durability, write_file_on};

    #[test]
    fn what_was_not_synced_is_lost() {
        let dir = tempfile::tempdir().unwrap();
        let disk = SimulatedDisk::new(&[dir.path().to_owned()], Fault::None);
        let [durable, ephemeral] = ["durable", "ephemeral"].map(|name| dir.path().join(name));
        write_file_on(&disk, &durable, b"kept", 0o600, Durability::Durable).unwrap();
        write_file_on(&disk, &ephemeral, b"lost", 0o600, Durability::Ephemeral).unwrap();
        write_file_on(&disk, &durable, b"changed", 0o600, Durability::Ephemeral).unwrap();
        disk.lose_power();
        assert_eq!(std::fs::read(&durable).unwrap(), b"kept");
        assert!(!ephemeral.exists());
    }

    #[test]
    fn a_failed_operation_fails_once_and_a_dead_machine_stays_dead() {
        let dir = tempfile::tempdir().unwrap();
        let write =
            |disk: &SimulatedDisk| write_file_on(disk, &dir.path().join("x"), b"x", 0o600, Durability::Durable).is_ok();
        let failing = SimulatedDisk::new(&[], Fault::Fail(2, io::ErrorKind::StorageFull));
        assert!(!write(&failing));
        assert!(write(&failing));
        let dying = SimulatedDisk::new(&[], Fault::Die(3));
        assert!(!write(&dying));
        assert!(!write(&dying));
    }
}

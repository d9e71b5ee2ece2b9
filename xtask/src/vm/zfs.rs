//! ZFS in the guest: no package has its modules built, and building them takes eight minutes of processor time. So the guest
//! has it where somebody said `cargo xtask vm-zfs` once.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::kernel::Kernel;
use crate::shell::{Done, output, run};

/// The modules, in the order in which they need each other.
pub(super) const MODULES: [&str; 2] = ["spl.ko", "zfs.ko"];
/// The programs.
const PROGRAMS: [&str; 2] = ["zfs", "zpool"];

/// What was built for one kernel.
pub(crate) struct Zfs {
    dir: PathBuf,
}

impl Zfs {
    /// Where it is, or would be, below `dir`, the directory of all that guests need.
    fn at(dir: &Path, kernel: &Kernel) -> Self {
        Self { dir: dir.join("zfs").join(&kernel.version) }
    }

    /// It, if it was built.
    pub(super) fn found(dir: &Path, kernel: &Kernel) -> Option<Self> {
        let this = Self::at(dir, kernel);
        (MODULES.iter().all(|name| this.module(name).is_file()) && this.dir.join("root").is_dir()).then_some(this)
    }

    /// Builds it.
    pub(super) fn build(dir: &Path, kernel: &Kernel) -> Done {
        let this = Self::at(dir, kernel);
        let new = this.dir.with_extension("new");
        eprintln!("Building ZFS for {}: this takes a while", kernel.version);
        std::fs::create_dir_all(&new).map_err(|error| format!("cannot make {}: {error}", new.display()))?;
        run(Command::new("sh").args(["-c", include_str!("zfs.sh"), "sh"]).arg(&new).arg(&kernel.version))?;
        if this.dir.exists() {
            std::fs::remove_dir_all(&this.dir).map_err(|error| format!("cannot remove {:?}: {error}", this.dir))?;
        }
        std::fs::rename(&new, &this.dir).map_err(|error| format!("cannot keep {}: {error}", this.dir.display()))
    }

    /// A module's file.
    pub(super) fn module(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The programs with their libraries: from where each comes, and where it goes in the guest.
    pub(super) fn files(&self) -> Done<Vec<(PathBuf, PathBuf)>> {
        let root = self.dir.join("root");
        let libraries = ["lib", "usr/lib"].map(|dir| root.join(dir).join("x86_64-linux-gnu").display().to_string());
        let mut files = Vec::new();
        for name in PROGRAMS {
            let found =
                ["sbin", "usr/sbin"].map(|dir| root.join(dir).join(name)).into_iter().find(|path| path.exists());
            let program = found.ok_or_else(|| format!("no `{name}` in {}", root.display()))?;
            let mut command = Command::new("ldd");
            command.arg(&program).env("LC_ALL", "C").env("LD_LIBRARY_PATH", libraries.join(":"));
            let needed = output(&mut command)?;
            for path in needed.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from) {
                let inside = path.strip_prefix(&root).unwrap_or(&path).to_owned();
                files.push((path, inside));
            }
            files.push((program, PathBuf::from("usr/sbin").join(name)));
        }
        Ok(files)
    }
}

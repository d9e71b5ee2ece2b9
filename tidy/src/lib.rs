//! Checks of the tree that no compiler makes. They are tests: `cargo test -p tidy`.
//!
//! - `layers`: edges between crates go downward only.
//! - `lines`: files and functions stay readable.
//! - `tables`: the tests that the documentation of drivers names are there.
//! - `words`: names that say nothing, unfinished marks and ignored tests stay out.

#[cfg(test)]
mod layers;
#[cfg(test)]
mod lines;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod words;

/// Finds the project's own files.
#[cfg(test)]
mod tree {
    use std::path::{Path, PathBuf};

    /// The workspace's folder.
    pub(crate) fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
    }

    /// Every Rust file of the project with its text, by path below the workspace.
    pub(crate) fn rust_files() -> Vec<(String, String)> {
        let mut found = Vec::new();
        for folder in ["crates", "tidy", "xtask"] {
            collect(&root().join(folder), &mut found);
        }
        found.sort();
        found
    }

    fn collect(dir: &Path, found: &mut Vec<(String, String)>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root()).unwrap().display().to_string();
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
}

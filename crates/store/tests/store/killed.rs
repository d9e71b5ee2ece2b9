//! `kill -9` at every failpoint of the store: what was committed is whole, and the next process goes on.

use std::collections::BTreeSet;
use std::path::Path;

use strata_store::records::InUse;
use strata_store::{Scope, Store};
use strata_types::Silent;

use crate::fixture::{Layers, assert_whole, bring, child_root, image, remove, start, was_killed};

const TASK: &str = "killed::a_killed_process_harms_nothing";

/// The failpoints in the store's sources.
pub(crate) fn failpoints() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let text = std::fs::read_to_string(path).unwrap();
            let calls = text.split("failpoint!(\"").skip(1);
            names.extend(calls.map(|call| call.split('"').next().unwrap().to_owned()));
        }
    }
    names
}

fn work(root: &Path) {
    let store = Store::open(root).unwrap();
    bring(&store, "new", &["base", "new"]).unwrap();
    remove(&store, &image("new", &[]).image.id, InUse::Keep).unwrap();
    store.gc(Scope::Removed, &Layers::of(&store), &Silent).unwrap();
    bring(&store, "newest", &["base", "new"]).unwrap();
}

#[test]
fn a_killed_process_harms_nothing() {
    if let Some(root) = child_root(TASK) {
        return work(&root);
    }
    let names = failpoints();
    assert!(names.len() >= 12, "{names:?}");
    // Those of containers beside the database are visited by `fleeting`.
    for name in names.iter().filter(|name| !name.starts_with("store.fleeting.")) {
        for visit in 1.. {
            let dir = tempfile::tempdir().unwrap();
            let base = bring(&Store::open(dir.path()).unwrap(), "base", &["base"]).unwrap();
            let failpoint = format!("{name}:{visit}");
            let killed = was_killed(start(TASK, dir.path(), Some(&failpoint)));
            assert!(killed || visit > 1, "nobody visits {name}");
            assert_whole(dir.path(), &[&base]);
            work(dir.path());
            assert_whole(dir.path(), &[&base]);
            if !killed {
                break;
            }
        }
    }
}

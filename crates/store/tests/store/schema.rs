//! The tables are as the version says: whoever changes them changes the version, and old stores become new ones.
//!
//! `golden/schema-N.sql` is the schema of version N. `STRATA_BLESS=1` writes the file of a new version; that of an old one
//! is never written again.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use strata_store::Store;

fn golden(version: i64) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/schema-{version}.sql"))
}

/// The version of a store, and its tables in the order of their names.
fn schema(root: &Path) -> (i64, String) {
    let connection = Connection::open(root.join("strata.db")).unwrap();
    let version = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
    let mut query = connection.prepare("SELECT sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").unwrap();
    let statements = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
    // What ALTER TABLE adds stands on the line of the last column: blanks do not count.
    let plain =
        |sql: String| sql.split_whitespace().collect::<Vec<_>>().join(" ").replace(" )", ")").replace("( ", "(");
    let text =
        statements.map(|sql| format!("{};\n", plain(sql.unwrap()))).filter(|sql| !sql.contains("sqlite_")).collect();
    (version, text)
}

#[test]
fn the_schema_changes_with_its_version_only() {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path()).unwrap());
    let (version, found) = schema(dir.path());
    if std::env::var_os("STRATA_BLESS").is_some() && !golden(version).exists() {
        std::fs::create_dir_all(golden(version).parent().unwrap()).unwrap();
        std::fs::write(golden(version), &found).unwrap();
    }
    let expected = std::fs::read_to_string(golden(version));
    let expected =
        expected.unwrap_or_else(|_| panic!("version {version} is new: say STRATA_BLESS=1 to write its golden file"));
    assert_eq!(found, expected, "raise `VERSION` in records/schema.rs, and write how an old store becomes a new one");
}

#[test]
fn old_stores_become_new_ones() {
    let fresh = tempfile::tempdir().unwrap();
    drop(Store::open(fresh.path()).unwrap());
    let newest = schema(fresh.path());
    for version in (1..newest.0).filter(|version| golden(*version).exists()) {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        std::fs::remove_file(dir.path().join("strata.db")).unwrap();
        let old = Connection::open(dir.path().join("strata.db")).unwrap();
        old.execute_batch(&std::fs::read_to_string(golden(version)).unwrap()).unwrap();
        old.pragma_update(None, "user_version", version).unwrap();
        drop(old);
        drop(Store::open(dir.path()).unwrap());
        assert_eq!(schema(dir.path()), newest, "from version {version}");
    }
}

//! The tables, and how old ones become new ones.
//!
//! Ids and digests are text, times are nanoseconds since 1970 in UTC, lists and maps are JSON.

use rusqlite::Transaction;

use crate::Result;

/// The schema this program writes. A newer one is refused, an older one migrated.
pub(crate) const VERSION: i64 = 8;

/// The size of a database page: small, because most transactions change a few short rows and the log holds whole pages.
pub(crate) const PAGE_BYTES: u32 = 2048;

const VERSION_1: &str = "
CREATE TABLE image (
  id TEXT NOT NULL PRIMARY KEY,
  manifest TEXT, media_type TEXT NOT NULL, manifest_index TEXT,
  size_bytes INTEGER NOT NULL,
  layers TEXT NOT NULL,
  parent TEXT,
  added INTEGER NOT NULL, created INTEGER, last_used INTEGER,
  damaged INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE tag (
  name TEXT NOT NULL PRIMARY KEY,
  image TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE,
  manifest TEXT, manifest_index TEXT,
  updated INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX tag_image ON tag (image);
CREATE TABLE layer (
  diff_id TEXT NOT NULL PRIMARY KEY,
  size_bytes INTEGER NOT NULL,
  added INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE layer_form (
  digest TEXT NOT NULL PRIMARY KEY,
  diff_id TEXT NOT NULL REFERENCES layer (diff_id) ON DELETE CASCADE,
  size_bytes INTEGER NOT NULL,
  media_type TEXT NOT NULL,
  sources TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX layer_form_diff_id ON layer_form (diff_id);
CREATE TABLE container (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  image TEXT NOT NULL,
  image_name TEXT NOT NULL,
  layers TEXT NOT NULL,
  driver TEXT NOT NULL,
  created INTEGER NOT NULL,
  spec TEXT NOT NULL
);
CREATE TABLE volume (
  name TEXT NOT NULL PRIMARY KEY,
  driver TEXT NOT NULL, options TEXT NOT NULL, labels TEXT NOT NULL,
  anonymous INTEGER NOT NULL,
  created INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE intent (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  lease TEXT NOT NULL,
  kind TEXT NOT NULL, key TEXT NOT NULL, details TEXT NOT NULL,
  created INTEGER NOT NULL
);
CREATE TABLE lease_item (
  kind TEXT NOT NULL, digest TEXT NOT NULL, lease TEXT NOT NULL,
  PRIMARY KEY (kind, digest, lease)
) WITHOUT ROWID;
CREATE TABLE trash (
  kind TEXT NOT NULL, digest TEXT NOT NULL,
  lease TEXT NOT NULL,
  PRIMARY KEY (kind, digest)
) WITHOUT ROWID;
";

/// Snapshots of containers' files, and which one a container stands on.
const VERSION_2: &str = "
CREATE TABLE snapshot (
  id TEXT NOT NULL PRIMARY KEY,
  container TEXT NOT NULL,
  name TEXT NOT NULL,
  parent TEXT,
  image TEXT NOT NULL, image_name TEXT NOT NULL,
  layers TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  comment TEXT NOT NULL,
  created INTEGER NOT NULL,
  spec TEXT NOT NULL,
  UNIQUE (container, name)
) WITHOUT ROWID;
CREATE TABLE standing (
  container TEXT NOT NULL PRIMARY KEY,
  snapshot TEXT NOT NULL,
  born INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX standing_snapshot ON standing (snapshot);
";

/// Networks came with version 3.
const VERSION_3: &str = "
CREATE TABLE network (
  id TEXT NOT NULL PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  driver TEXT NOT NULL, options TEXT NOT NULL, labels TEXT NOT NULL,
  spec TEXT NOT NULL,
  created INTEGER NOT NULL
);
";

/// Images that stay came with version 4, by name or id.
const VERSION_4: &str = "
CREATE TABLE kept (
  name TEXT NOT NULL PRIMARY KEY,
  since INTEGER NOT NULL
) WITHOUT ROWID;
";

/// What builds remember came with version 5.
const VERSION_5: &str = "
CREATE TABLE build_step (
  key TEXT NOT NULL PRIMARY KEY,
  layers TEXT NOT NULL,
  size_bytes INTEGER NOT NULL,
  description TEXT NOT NULL,
  created INTEGER NOT NULL, last_used INTEGER NOT NULL
) WITHOUT ROWID;
";

/// Images for several platforms under one tag came with version 6.
const VERSION_6: &str = "
CREATE TABLE variant (
  tag TEXT NOT NULL REFERENCES tag (name) ON DELETE CASCADE,
  place INTEGER NOT NULL,
  image TEXT NOT NULL REFERENCES image (id) ON DELETE CASCADE,
  predicates TEXT NOT NULL,
  PRIMARY KEY (tag, place)
) WITHOUT ROWID;
CREATE INDEX variant_image ON variant (image);
";

/// Annotations of manifests came with version 7.
const VERSION_7: &str = "
ALTER TABLE variant ADD COLUMN annotations TEXT NOT NULL DEFAULT '{}';
";

/// Attestations that were pulled, and what is said of images without a name, came with version 8.
const VERSION_8: &str = "
ALTER TABLE variant ADD COLUMN attestations TEXT NOT NULL DEFAULT '[]';
CREATE TABLE said (
  image TEXT NOT NULL PRIMARY KEY REFERENCES image (id) ON DELETE CASCADE,
  predicates TEXT NOT NULL, annotations TEXT NOT NULL, attestations TEXT NOT NULL
) WITHOUT ROWID;
";

/// Brings the tables from version `found` (0: none) to [`VERSION`].
pub(crate) fn migrate(transaction: &Transaction<'_>, found: i64) -> Result<()> {
    if found < 1 {
        transaction.execute_batch(VERSION_1)?;
    }
    if found < 2 {
        transaction.execute_batch(VERSION_2)?;
    }
    if found < 3 {
        transaction.execute_batch(VERSION_3)?;
    }
    if found < 4 {
        transaction.execute_batch(VERSION_4)?;
    }
    if found < 5 {
        transaction.execute_batch(VERSION_5)?;
    }
    if found < 6 {
        transaction.execute_batch(VERSION_6)?;
    }
    if found < 7 {
        transaction.execute_batch(VERSION_7)?;
    }
    if found < 8 {
        transaction.execute_batch(VERSION_8)?;
    }
    Ok(())
}

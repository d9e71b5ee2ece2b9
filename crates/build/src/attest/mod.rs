//! What is attested of an image: how it was built (SLSA provenance), and what is in it (an SBOM).
//!
//! ```text
//! provenance.rs  from which images, by which request, when
//! spdx.rs        packages as an SPDX document
//! scan.rs        the packages of a tree: finds what the others read
//! headers.rs     dpkg, apk and Python: lines of `Name: value`
//! rpm.rs         rpm's database
//! auditable.rs   Rust programs that say what they are made of
//! ```

mod auditable;
mod headers;
mod provenance;
mod rpm;
mod scan;
mod spdx;

use std::time::Instant;

use strata_engine::workbench::{TreeFile, statement};
use strata_types::config::ImageConfig;

use crate::base::Base;
use crate::error::Problem;
use crate::graph::Build;
use crate::request::{Attest, Outcome};

/// The predicate type of provenance.
const PROVENANCE: &str = "https://slsa.dev/provenance/v1";
/// The predicate type of an SBOM in SPDX.
const SBOM: &str = "https://spdx.dev/Document";
/// What BuildKit calls them among files.
const PROVENANCE_FILE: &str = "provenance.json";
const SBOM_FILE: &str = "sbom.spdx.json";

/// Makes what is to be attested of an image: predicate types and JSON documents.
pub(crate) fn predicates(
    build: &Build<'_>,
    base: &Base,
    config: &ImageConfig,
) -> Result<Vec<(String, Vec<u8>)>, Problem> {
    let Attest { provenance, sbom } = build.request.attest;
    let mut made = Vec::new();
    if sbom {
        let (number, began) = (build.number(), Instant::now());
        build.observer.begin(number, &format!("[{}] generating sbom", build.platform));
        let document = scan::packages(build.bench, &base.layers, build)
            .map(|scanned| spdx::document(&scanned, config, build.request, build.now().seconds));
        let outcome = if document.is_ok() { Outcome::Done } else { Outcome::Failed };
        if let Ok(document) = &document {
            let count = document["packages"].as_array().map_or(0, |packages| packages.len().saturating_sub(1));
            build.observer.status(number, &format!("{count} packages"));
        }
        build.observer.end(number, outcome, began.elapsed());
        made.push((SBOM.to_owned(), printed(&document?)));
    }
    if let Some(detail) = provenance {
        made.push((PROVENANCE.to_owned(), printed(&provenance::predicate(build, detail))));
    }
    Ok(made)
}

/// The same for what is written as files: statements about each of them, to be put beside them.
pub(crate) fn files(
    build: &Build<'_>,
    base: &Base,
    predicates: Vec<(String, Vec<u8>)>,
) -> Result<Vec<TreeFile>, Problem> {
    if predicates.is_empty() {
        return Ok(Vec::new());
    }
    let subjects = build.bench.file_digests(&base.layers, build)?;
    let file = |(kind, predicate): (String, Vec<u8>)| {
        let name = if kind == SBOM { SBOM_FILE } else { PROVENANCE_FILE };
        TreeFile { name: name.to_owned(), content: statement(&kind, &predicate, &subjects) }
    };
    Ok(predicates.into_iter().map(file).collect())
}

fn printed(document: &serde_json::Value) -> Vec<u8> {
    serde_json::to_vec(document).expect("strings and numbers always print")
}

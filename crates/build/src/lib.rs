//! Images from Dockerfiles, straight into the store: no daemon, no tar on the way.
//!
//! ```text
//! request.rs    what to build, and who watches
//! plan.rs       what each stage begins with, and which are needed
//! outline.rs    what a target can be told: --call outline
//! checks.rs     what could be better: --check
//! graph.rs      the stages that are needed; independent ones at once
//! under_way.rs  how many steps are done at once, and each once
//! stage.rs      a stage, instruction by instruction
//! export.rs     what becomes of it: images, files
//! annotation.rs what manifests say of it
//! attest/       what is said of it: provenance, an SBOM
//! base.rs       FROM
//! caches.rs     --cache-from and --cache-to
//! stamps.rs     which files of a context did not change
//! squash.rs     --squash: the layers of a build as one
//! run.rs        RUN: a container on what there is
//! copy/         COPY and ADD: a layer put together of files
//! compare.rs    what two builds of the same differ in
//! remote/       files by URL, and repositories
//! metadata.rs   instructions that change the config only
//! history.rs    what the config says about how the image came about
//! variables.rs  ARG and ENV
//! meant.rs      what was probably meant, where something is not there
//! key.rs        what a step reads, as a digest: the same is not done twice
//! ```
//!
//! A step is remembered by everything it reads: the layers below, the files it copies, its command and variables. What was
//! remembered is shared by all builds on the host, whatever Dockerfile it stood in.

mod annotation;
mod archive;
mod attest;
mod base;
mod caches;
mod checks;
mod compare;
mod context;
mod copy;
mod error;
mod export;
mod graph;
mod history;
mod key;
mod meant;
mod metadata;
mod outline;
mod plan;
mod remote;
mod request;
mod run;
mod squash;
mod stage;
mod stamps;
mod under_way;
mod variables;

pub use annotation::{Annotation, AnnotationPlace};
pub use caches::{CacheExport, CacheTarget};
pub use checks::{Findings, check, warnings};
pub use compare::{Compared, Difference, compare};
pub use context::{Context, RemoteContext};
pub use error::{BuildError, Problem};
pub use graph::build;
pub use outline::{Outline, OutlineArgument, OutlineMount, outline};
pub use remote::{GitSpec, QueryError, Remote, last_commit_time};
pub use request::{Attest, BuildRequest, Built, Detail, NamedContext, Observer, Outcome, Output, Secret};
pub use strata_engine::workbench::{CachePlace, LayoutName};

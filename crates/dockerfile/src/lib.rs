//! The language of Dockerfiles and of `.dockerignore`. Pure: text in, plain data or an [`Error`] with its line out.
//!
//! ```text
//! statement.rs    lines joined, comments and directives taken out, heredocs collected: a list of statements
//! words.rs        how each instruction's arguments are split
//! heredoc.rs      `<<EOF` words
//! expand.rs       `$name` and `${name…}` with every modifier, quotes
//! instruction.rs  what an instruction means; flag.rs its flags, run_mount.rs those of RUN --mount
//! expose.rs       the ports of EXPOSE
//! file.rs         a Dockerfile: global arguments and stages
//! ignore.rs       the patterns of `.dockerignore`
//! lint/           what `build --check` says
//! ```
//!
//! The law is BuildKit's frontend `docker/dockerfile`; its own test data are among the tests.

mod error;
mod expand;
mod expose;
mod file;
mod flag;
mod heredoc;
mod ignore;
mod instruction;
mod lint;
mod pattern;
mod run_mount;
mod statement;
mod suggest;
mod words;

pub use error::{Error, Problem};
pub use expand::{EXPANDED_BYTES_MAX, ExpandError, Expanded, Expander};
pub use expose::{PortError, exposed_ports};
pub use file::{Dockerfile, STAGES_MAX, Stage, Step};
pub use heredoc::Heredoc;
pub use ignore::{Ignore, IgnoreError, Seen};
pub use instruction::{Argument, CommandLine, Copying, Inline, Instruction, Pair, Run, parse_instruction};
pub use lint::{CHECK_ARGUMENT, CheckError, Checked, KnownBase, Linted, Warning, lint, lint_above, looks_secret};
pub use run_mount::{MountKind, RunMount, Sharing};
pub use statement::{DOCKERFILE_BYTES_MAX, Directives, Parsed, Statement, parse_statements};
pub use suggest::nearest;

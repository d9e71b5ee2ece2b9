//! Why a build failed, and where in the Dockerfile.

use std::path::PathBuf;

use strata_dockerfile::{ExpandError, IgnoreError, PortError, Warning};
use strata_types::Platform;
use strata_types::reference::ReferenceError;

/// A problem and the instruction it came up in.
#[derive(Debug, thiserror::Error)]
#[error("failed to solve")]
pub struct BuildError {
    /// The first and the last line of the instruction; none if it was no instruction's fault.
    pub lines: Option<(usize, usize)>,
    /// What the step is called.
    pub step: String,
    /// What is wrong.
    #[source]
    pub problem: Box<Problem>,
    /// What was probably meant, or helps.
    pub hint: Option<String>,
}

/// What can be wrong.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// It is not the language.
    #[error(transparent)]
    Language(#[from] strata_dockerfile::Error),
    /// A word cannot be read.
    #[error("failed to process {text:?}")]
    Expand {
        /// The text.
        text: String,
        /// Why not.
        source: ExpandError,
    },
    /// It says which checks count, and that cannot be read.
    #[error(transparent)]
    Check(strata_dockerfile::CheckError),
    /// It says that it is not to be built with warnings, and there are some.
    #[error("{refusal}")]
    Lint {
        /// Of which rules.
        refusal: String,
        /// All of them.
        warnings: Vec<Warning>,
    },
    /// A URL asks a repository for what it does not know.
    #[error(transparent)]
    Query(#[from] crate::remote::QueryError),
    /// Patterns cannot be read.
    #[error("{what}")]
    Ignore {
        /// Which.
        what: &'static str,
        /// Why not.
        source: IgnoreError,
    },
    /// FROM names nothing.
    #[error("base name ({0}) should not be blank")]
    BlankBase(String),
    /// FROM names what can be no image.
    #[error("failed to parse stage name {name:?}")]
    StageName {
        /// What it comes to.
        name: String,
        /// Why not.
        source: ReferenceError,
        /// As it is written.
        written: String,
    },
    /// COPY of what is not a file of a tree.
    #[error("source can't be a {kind} for COPY")]
    Source {
        /// `URL` or `git ref`.
        kind: &'static str,
    },
    /// A working directory that is none.
    #[error("cannot make the working directory {0}: there is a file in its place")]
    WorkingDir(String),
    /// No stage has that number.
    #[error("invalid stage index {0}")]
    StageIndex(String),
    /// No such stage.
    #[error("target stage {0:?} could not be found")]
    NoTarget(String),
    /// A device that nobody registered.
    #[error("required device {0:?} is not registered")]
    Device(String),
    /// A stage that begins later.
    #[error("cannot copy from stage {needed:?}, it needs to be defined before current stage {here:?}")]
    Later {
        /// The stage.
        needed: String,
        /// Who wants something of it.
        here: String,
    },
    /// Stages that need each other.
    #[error("circular dependency detected on stage: {0}")]
    Circle(String),
    /// A directory that is no OCI layout with that image.
    #[error("oci-layout reference {0:?} could not be resolved: no such image there")]
    NoLayout(PathBuf),
    /// An annotation for a platform that is not built for.
    #[error("invalid annotation: no platform {0} found in source")]
    AnnotationPlatform(Platform),
    /// An annotation for an index where none is made.
    #[error("index annotations not supported for single platform export")]
    AnnotationIndex,
    /// A platform that is none.
    #[error(transparent)]
    Platform(#[from] strata_types::PlatformError),
    /// A name of an image that is none.
    #[error("invalid reference format: {0:?}")]
    Reference(String),
    /// A program ended badly.
    #[error("process {command:?} did not complete successfully: exit code: {code}")]
    Exit {
        /// What ran.
        command: String,
        /// How it ended.
        code: i32,
    },
    /// Nothing where files are to be copied from.
    #[error("{path:?}: not found")]
    NotFound {
        /// Where.
        path: String,
        /// What was probably meant.
        hint: String,
    },
    /// Several sources, but no directory to put them into.
    #[error("When using {0} with more than one source file, the destination must be a directory and end with a /")]
    ManyToOne(&'static str),
    /// A directory on a file.
    #[error("cannot copy to non-directory: {0}")]
    NonDirectory(String),
    /// A file on a directory.
    #[error("cannot replace to directory {0} with file")]
    OverDirectory(String),
    /// A name that means something else in a layer.
    #[error("file name {0:?} is reserved: in a layer it says that something is gone")]
    Reserved(String),
    /// A path no layer can have.
    #[error("invalid path {0:?}")]
    Path(String),
    /// No such user or group.
    #[error("unable to convert uid/gid chown string to host mapping: can't find {what} for {name}")]
    Owner {
        /// `uid` or `gid`.
        what: &'static str,
        /// Who.
        name: String,
    },
    /// Permissions that are none.
    #[error("invalid chmod parameter: '{0}'. it should be octal string and between 0 and 07777")]
    Mode(String),
    /// A port of EXPOSE.
    #[error(transparent)]
    Port(#[from] PortError),
    /// A mount of RUN.
    #[error(transparent)]
    Mount(strata_dockerfile::Problem),
    /// Something that RUN must have was not given.
    #[error("{what} {id}: not found")]
    Missing {
        /// `secret` or `ssh`.
        what: &'static str,
        /// What it is called.
        id: String,
    },
    /// Privileges that were not given.
    #[error("security.insecure is not allowed")]
    Insecure,
    /// A network that is none of RUN's.
    #[error("network mode {0:?} not supported by build")]
    Network(String),
    /// Something fetched is not what it was said to be.
    #[error("digest mismatch of {url}: expected {expected}, got {actual}")]
    Checksum {
        /// Where it came from.
        url: String,
        /// What was asked for.
        expected: String,
        /// What came.
        actual: String,
    },
    /// A repository does not have it.
    #[error("repository {url} does not contain ref {reference}")]
    NoReference {
        /// Which.
        url: String,
        /// What was asked for.
        reference: String,
    },
    /// The program is not installed.
    #[error("cannot fetch {0}: the program `git` is not installed")]
    NoGit(String),
    /// The program failed.
    #[error("cannot fetch {url}: {said}")]
    Git {
        /// What from.
        url: String,
        /// What it said.
        said: String,
    },
    /// What is not possible.
    #[error("{0}")]
    Unsupported(String),
    /// A file cannot be read.
    #[error("cannot read {what}")]
    Read {
        /// Which.
        what: String,
        /// Why not.
        source: std::io::Error,
    },
    /// A thing of the system's.
    #[error("cannot {act}")]
    System {
        /// What.
        act: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A layer.
    #[error(transparent)]
    Layer(#[from] strata_layer::Error),
    /// The engine: a cause of its own, so that whoever asks for its class finds it.
    #[error("{0}")]
    Engine(
        #[source]
        #[from]
        strata_engine::Error,
    ),
    /// Another stage failed; that one says why.
    #[error("a stage that it needs failed")]
    Needed,
}

impl BuildError {
    /// A problem that is no instruction's.
    pub fn outside(problem: impl Into<Problem>) -> Self {
        let problem = problem.into();
        let (lines, hint) = match &problem {
            Problem::Language(error) => (Some((error.line, error.last_line)), error.hint.clone()),
            problem => (None, problem.hint()),
        };
        Self { lines, step: String::new(), problem: Box::new(problem), hint }
    }

    /// A problem of an instruction.
    pub(crate) fn at(lines: (usize, usize), step: &str, problem: Problem) -> Self {
        let hint = problem.hint();
        Self { lines: Some(lines), step: step.to_owned(), problem: Box::new(problem), hint }
    }
}

impl Problem {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Exit { code: 127, command } if command.contains(" [") => {
                "this looks like a list, but is no JSON: every word is in double quotes, and a backslash is written twice"
                    .to_owned()
            }
            Self::Exit { code: 127, .. } => {
                "the shell did not find the program: is it installed in this stage?".to_owned()
            }
            Self::NotFound { hint, .. } => hint.clone(),
            Self::StageName { written, .. } if written.contains('$') => {
                "a variable in it has no value: declare it above the first FROM, as in ARG NAME=value".to_owned()
            }
            Self::BlankBase(_) => {
                "the variable has no value: declare it above the first FROM, as in ARG NAME=value".to_owned()
            }
            Self::Source { .. } => "ADD takes it".to_owned(),
            Self::Mode(_) => "digits as in 755, or letters as in u=rwX,go=rX".to_owned(),
            Self::ManyToOne(_) => "end the destination with a /".to_owned(),
            Self::Owner { .. } => "create it in an earlier RUN, or use numbers".to_owned(),
            Self::NoGit(_) => {
                "install git: it fetches repositories, with the credentials that you set up for it".to_owned()
            }
            Self::Device(_) => {
                "builds know no devices of CDI: leave `required` out if the step can do without it".to_owned()
            }
            Self::Later { .. } => "move that stage above this one".to_owned(),
            Self::Insecure => "if you trust this Dockerfile with your host, say --allow security.insecure".to_owned(),
            Self::Missing { what, id } => {
                format!("give it with --{what} {}{id}", if *what == "secret" { "id=" } else { "" })
            }
            Self::Language(error) => return error.hint.clone(),
            Self::Lint { .. } => {
                "the comment `# check=error=true` asks for it; skip=RULE in it leaves a rule out".to_owned()
            }
            _ => return None,
        })
    }
}

/// For `map_err`: reading something failed.
pub(crate) fn read<E: Into<std::io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Problem {
    move |source| Problem::Read { what: what.into(), source: source.into() }
}

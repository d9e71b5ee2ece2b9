//! What can go wrong with containers, in Docker's words where Docker has them.

use std::path::PathBuf;

use strata_types::{ContainerId, ErrorClass};

/// Why an operation on containers failed.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// There is no such container here.
    #[error("No such container: {0}")]
    NotFound(String),
    /// There is no such snapshot here.
    #[error("No such snapshot: {0}")]
    NoSnapshot(String),
    /// The container has a snapshot of that name.
    #[error("container {container} already has a snapshot {name:?}")]
    SnapshotTaken {
        /// The container's name.
        container: String,
        /// The snapshot's.
        name: String,
    },
    /// What was asked for contradicts itself or has an impossible value; the sentence is Docker's.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for is not offered by this version.
    #[error("{0}")]
    Unsupported(String),
    /// The name is another container's.
    #[error(
        "Conflict. The container name \"/{name}\" is already in use by container \"{holder}\". You have to remove (or rename) that container to be able to reuse that name."
    )]
    NameTaken {
        /// The name.
        name: String,
        /// Whose it is.
        holder: ContainerId,
    },
    /// A container cannot have the name.
    #[error("Error when allocating new name")]
    NotRenamed(#[source] Box<ContainerError>),
    /// A container cannot be used for this as long as it runs.
    #[error("{0}")]
    Running(String),
    /// It has to run for this.
    #[error("{0}")]
    NotRunning(String),
    /// The image went away while the container was made.
    #[error("No such image: {0}")]
    ImageGone(String),
    /// A host path for a bind mount is not there.
    #[error("invalid mount config for type \"bind\": bind source path does not exist: {}", .0.display())]
    BindSource(PathBuf),
    /// There is no such volume here.
    #[error("get {0}: no such volume")]
    NoVolume(String),
    /// Containers use the volume.
    #[error("remove {name}: volume is in use - [{}]", users.join(", "))]
    VolumeInUse {
        /// Which.
        name: String,
        /// The containers' ids.
        users: Vec<String>,
    },
    /// A container's record is not what we wrote.
    #[error("cannot read the record of container {0}")]
    Record(ContainerId, #[source] serde_json::Error),
    /// There is nothing at a path in a container.
    #[error("Could not find the file {} in container {container}", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
        /// The container, as the person named it.
        container: String,
    },
    /// There is nothing at a path of the host.
    #[error("lstat {0}: no such file or directory")]
    NoSource(String),
    /// A copy would go into a directory of the host that is not there.
    #[error("invalid output path: directory {0:?} does not exist")]
    NoOutput(PathBuf),
    /// A copy has nowhere to go.
    #[error("no such directory")]
    NoDirectory,
    /// Something is used as a directory and is none.
    #[error("not a directory: {0}")]
    NotADirectory(String),
    /// A directory cannot become a file.
    #[error("cannot copy directory")]
    DirectoryOntoFile,
    /// A copy would replace a directory by something else, or the other way round.
    #[error("cannot overwrite {there} \"{}\" with {new} \"{}\"", path.display(), from.display())]
    Overwrite {
        /// What is there.
        there: &'static str,
        /// Where.
        path: PathBuf,
        /// What would come.
        new: &'static str,
        /// From where.
        from: PathBuf,
    },
    /// A step failed.
    #[error("{act}")]
    Step {
        /// What we could not do, to what.
        act: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// It could not be removed.
    #[error("cannot remove container {0:?}")]
    Remove(String, #[source] Box<crate::Error>),
    /// It could not be started, and may have been stopped before.
    #[error("cannot {act} container {name}")]
    Act {
        /// The verb.
        act: &'static str,
        /// The container as the person named it.
        name: String,
        /// Why not.
        #[source]
        source: Box<crate::Error>,
    },
}

impl ContainerError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) | Self::NoSnapshot(_) | Self::ImageGone(_) | Self::NoVolume(_) => ErrorClass::NotFound,
            Self::NoFile { .. } | Self::NoSource(_) | Self::NoOutput(_) | Self::NoDirectory => ErrorClass::NotFound,
            Self::NotADirectory(_) | Self::DirectoryOntoFile | Self::Overwrite { .. } => ErrorClass::InvalidInput,
            Self::Invalid(_) | Self::BindSource(_) => ErrorClass::InvalidInput,
            Self::Unsupported(_) => ErrorClass::Unsupported,
            Self::NotRenamed(source) => source.class(),
            Self::NameTaken { .. }
            | Self::SnapshotTaken { .. }
            | Self::Running(_)
            | Self::NotRunning(_)
            | Self::VolumeInUse { .. } => ErrorClass::Conflict,
            Self::Record(..) => ErrorClass::Corrupt,
            Self::Step { source, .. } => strata_sys::durable::class_of(source),
            Self::Remove(_, source) | Self::Act { source, .. } => source.class(),
        }
    }

    pub(crate) fn invalid(sentence: impl Into<String>) -> crate::Error {
        Self::Invalid(sentence.into()).into()
    }

    pub(crate) fn restarting(id: &ContainerId) -> Self {
        Self::Running(format!("Container {id} is restarting, wait until the container is running"))
    }

    pub(crate) fn step(act: impl Into<String>) -> impl FnOnce(std::io::Error) -> crate::Error {
        move |source| Self::Step { act: act.into(), source }.into()
    }
}

//! What can go wrong with images, in Docker's words where Docker has them.

use strata_types::config::ConfigError;
use strata_types::document::DocumentError;
use strata_types::reference::ReferenceError;
use strata_types::{ErrorClass, ImageId};

/// Why an operation on images failed.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is no such image here.
    #[error("No such image: {0}")]
    NotFound(String),
    /// The name does not parse.
    #[error("{source}")]
    Reference {
        /// What was given.
        name: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// The image's config cannot be understood.
    #[error("cannot understand the config of image {}", id.short())]
    Config {
        /// Which image.
        id: ImageId,
        /// What is wrong with it.
        source: ConfigError,
    },
    /// The manifest cannot be understood.
    #[error("cannot use the manifest of {name}")]
    Manifest {
        /// Of what.
        name: String,
        /// What is wrong with it.
        source: DocumentError,
    },
    /// A change to a configuration cannot be read.
    #[error(transparent)]
    Change(#[from] super::ChangeError),
    /// A tag cannot have a digest.
    #[error("refusing to create a tag with a digest reference")]
    DigestTag,
    /// Config and manifest differ in the number of layers.
    #[error("{name} is inconsistent: its config names {config} layers, its manifest {manifest}")]
    LayerCount {
        /// Which image.
        name: String,
        /// Layers in the config.
        config: usize,
        /// Layers in the manifest.
        manifest: usize,
    },
    /// No manifest of an index is for the platform that was asked for.
    #[error("no matching manifest for {wanted} in the manifest list entries{}", among(.offered))]
    NoPlatform {
        /// The platform.
        wanted: String,
        /// What there is.
        offered: Vec<String>,
    },
    /// It is for another platform.
    #[error(
        "image with reference {name} was found but does not match the specified platform: wanted {wanted}, actual: {actual}"
    )]
    WrongPlatform {
        /// The image.
        name: String,
        /// What was asked for.
        wanted: String,
        /// What it is for.
        actual: String,
    },
    /// It is for another operating system, and it was to be used here.
    #[error("image operating system \"{0}\" cannot be used on this platform")]
    OperatingSystem(String),
    /// It is a chart, a signature or something else that is no container image.
    #[error("{name} is not a container image: its config is of type {media_type}")]
    NotAnImage {
        /// What was asked for.
        name: String,
        /// The config's media type.
        media_type: String,
    },
    /// Indexes in indexes in indexes.
    #[error("{0} leads through too many indexes")]
    IndexDepth(String),
    /// `-a` and a tag.
    #[error("tag can't be used with --all-tags/-a")]
    TagWithAll,
    /// A repository without a single tag here.
    #[error("An image does not exist locally with the tag: {0}")]
    NothingToPush(String),
    /// A push by digest.
    #[error("cannot push a digest reference")]
    PushDigest,
    /// An image is used, so it stays.
    #[error("conflict: unable to delete {} ({}) - {why}", id.short(), if *hard { "cannot be forced" } else { "must be forced" })]
    InUse {
        /// Which image.
        id: ImageId,
        /// Whether force does not help.
        hard: bool,
        /// By what.
        why: String,
    },
    /// Others kept changing the image while it was being removed.
    #[error("cannot remove {name}: other processes keep changing it")]
    Busy {
        /// The image as the person named it.
        name: String,
    },
    /// The last name of an image that a container uses.
    #[error("conflict: unable to remove repository reference \"{name}\" (must force) - container {container} is using its referenced image {}", id.short())]
    LastReference {
        /// The name.
        name: String,
        /// A container.
        container: String,
        /// Its image.
        id: ImageId,
    },
    /// An archive is not one we know.
    #[error("{what} is not an image archive: {problem}")]
    Archive {
        /// The archive.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// Reading or writing an archive failed.
    #[error("cannot {act}")]
    ArchiveIo {
        /// What was tried, with its object.
        act: String,
        /// Why not.
        source: std::io::Error,
    },
}

impl ImageError {
    /// What kind of trouble it is.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::NotFound(_) | Self::NothingToPush(_) | Self::NoPlatform { .. } | Self::WrongPlatform { .. } => {
                ErrorClass::NotFound
            }
            Self::Reference { .. }
            | Self::Change(_)
            | Self::DigestTag
            | Self::TagWithAll
            | Self::PushDigest
            | Self::Archive { .. } => ErrorClass::InvalidInput,
            Self::Config { .. } | Self::LayerCount { .. } | Self::IndexDepth(_) => ErrorClass::Corrupt,
            Self::Manifest { source: DocumentError::Schema1 | DocumentError::MediaType(_), .. }
            | Self::NotAnImage { .. }
            | Self::OperatingSystem(_) => ErrorClass::Unsupported,
            Self::Manifest { .. } => ErrorClass::Corrupt,
            Self::InUse { .. } | Self::Busy { .. } | Self::LastReference { .. } => ErrorClass::Conflict,
            Self::ArchiveIo { source, .. } => strata_sys::durable::class_of(source),
        }
    }
}

fn among(platforms: &[String]) -> String {
    if platforms.is_empty() { String::new() } else { format!("; there is {}", platforms.join(", ")) }
}

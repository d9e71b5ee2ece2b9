//! What the store knows, as typed records. Changing one is a change of format: see `schema.rs`.

mod build_step;
mod container;
mod image;
mod intent;
mod kept;
mod layer;
mod network;
pub(crate) mod row;
mod said;
pub(crate) mod schema;
mod snapshot;
mod tag;
mod variant;
mod volume;

pub use build_step::{BuildStepRecord, BuildSteps};
pub use container::{ContainerRecord, Containers, Forgotten, Inserted, Renamed};
pub use image::{ImageRecord, Images, InUse, NewImage, Removal, Removed};
pub use intent::{IntentRecord, Intents};
pub use kept::Kept;
pub use layer::{LayerForm, LayerRecord, Layers};
pub use network::{CreatedNetwork, NetworkRecord, Networks};
pub use said::{Annotations, Predicate, PulledAttestation, Said};
pub use snapshot::{CreatedSnapshot, SnapshotRecord, Snapshots, Standing};
pub use tag::{TagRecord, Tags};
pub use variant::{VariantRecord, Variants};
pub use volume::{CreatedVolume, VolumeRecord, Volumes};

pub(crate) use build_step::list as build_steps_in;
pub(crate) use container::{list as containers_in, take as take_container};
pub(crate) use image::{keys as keys_of_image, list as images_in};
pub(crate) use said::list as said_in;
pub(crate) use snapshot::list as snapshots_in;
pub(crate) use tag::list as tags_in;
pub(crate) use variant::{keys as keys_of_variants, list as variants_in};

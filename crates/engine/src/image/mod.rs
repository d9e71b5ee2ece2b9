//! Operations on images.

mod archive;
pub mod change;
mod commit;
mod error;
mod fetch;
mod find;
mod history;
mod import;
mod inspect;
mod list;
mod load;
mod manifest;
mod plan;
mod prune;
mod pull;
mod push;
mod remove;
mod save;
mod short_name;
mod tag;

pub use change::{Change, ChangeError};
pub use commit::CommitWish;
pub use error::ImageError;
pub use history::Step;
pub use import::ImportWish;
pub(crate) use inspect::joined;
pub use inspect::{GraphDriver, Inspected, Metadata, RootFs, docker_config};
pub use list::{References, Summary, Wanted, reference_matches};
pub use load::{Archive, Loaded};
pub use plan::{LayerState, PlannedLayer, PullPlan};
pub use prune::{PruneWish, Pruned};
pub use pull::{PullWish, Pulled};
pub use push::Pushed;
pub use remove::{Removal, RemoveWish};
pub use strata_store::records::ImageRecord;

//! What a pull would do, without doing it.

use std::path::PathBuf;

use strata_types::config::{CONFIG_BYTES_MAX, ImageConfig};
use strata_types::reference::Reference;
use strata_types::{DiffId, Digest, ImageId, Platform, media};

use super::find::as_recorded;
use super::pull::PullWish;
use crate::image::ImageError;
use crate::layers::Keeper;
use crate::{Engine, Error, Result};

/// How much larger a layer is than its compressed form, by how it is compressed: the median of a few hundred layers of
/// popular images. Nobody can know it without fetching the layer.
const GROWTH_GZIP: f64 = 2.8;
const GROWTH_ZSTD: f64 = 3.1;

/// What a pull would do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullPlan {
    /// What was asked for.
    pub reference: Reference,
    /// The digest the registry has it under.
    pub digest: Digest,
    /// What the chosen image runs on.
    pub platform: Platform,
    /// Its id.
    pub image: ImageId,
    /// Its layers, lowest first.
    pub layers: Vec<PlannedLayer>,
    /// How many bytes would come over the network.
    pub fetch_bytes: u64,
    /// How many bytes the disk would hold more in the end; an estimate.
    pub write_bytes: u64,
    /// How many it would hold more at the worst moment; an estimate.
    pub peak_bytes: u64,
    /// How many bytes are free there now.
    pub free_bytes: u64,
    /// Where.
    pub root: PathBuf,
}

/// One layer of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedLayer {
    /// The compressed form.
    pub digest: Digest,
    /// What it is known by when unpacked.
    pub diff_id: DiffId,
    /// How many bytes the compressed form has.
    pub size_bytes: u64,
    /// How many of them would come over the network: what a pull that was killed left is not fetched again.
    pub fetch_bytes: u64,
    /// What is here already.
    pub state: LayerState,
}

/// What is here of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// All of it.
    Kept,
    /// It would be fetched.
    Fetched,
}

impl PullPlan {
    /// Whether the image fits on the disk, by the estimate.
    pub fn fits(&self) -> bool {
        self.peak_bytes <= self.free_bytes
    }
}

impl Engine {
    /// Says what a pull would fetch, write and keep. Fetches the manifest and the config, and writes nothing.
    ///
    /// # Errors
    /// When the registry does not have it or does not answer.
    pub fn plan_pull(&self, reference: &Reference, wish: &PullWish) -> Result<PullPlan> {
        let reference = as_recorded(reference);
        let platform = wish.platform.clone().unwrap_or_else(|| self.platform());
        let chosen = self.choose(&reference, &platform)?;
        let wanted = &chosen.manifest.config;
        let here = self.store().blobs().has(&wanted.digest)?;
        let bytes = match here {
            true => self.store().blobs().read_small(&wanted.digest, CONFIG_BYTES_MAX)?,
            false => self.client()?.small_blob(&reference, wanted, CONFIG_BYTES_MAX)?,
        };
        let image = ImageId::new(wanted.digest.clone());
        let config = ImageConfig::parse(&bytes).map_err(|source| ImageError::Config { id: image.clone(), source })?;
        let mut plan = PullPlan {
            reference,
            digest: chosen.top,
            platform: config.platform(),
            image,
            layers: Vec::new(),
            fetch_bytes: 0,
            write_bytes: 0,
            peak_bytes: 0,
            free_bytes: self.free_bytes()?,
            root: self.settings().root.clone(),
        };
        let (mut largest, keeper) = (0, Keeper::of(&config));
        for (at, (blob, diff_id)) in chosen.manifest.layers.iter().zip(config.diff_ids()).enumerate() {
            let kept = self.is_kept(keeper, &config.diff_ids()[..=at])? || config.diff_ids()[..at].contains(diff_id);
            let state = if kept { LayerState::Kept } else { LayerState::Fetched };
            let mut fetch_bytes = 0;
            if state == LayerState::Fetched {
                fetch_bytes = blob.size.saturating_sub(self.store().blobs().begun_bytes(&blob.digest)?);
                plan.fetch_bytes += fetch_bytes;
                plan.write_bytes += unpacked(blob.size, &blob.media_type);
                largest = largest.max(blob.size);
            }
            let (digest, diff_id) = (blob.digest.clone(), diff_id.clone());
            let layer = PlannedLayer { digest, diff_id, size_bytes: blob.size, fetch_bytes, state };
            plan.layers.push(layer);
        }
        // A compressed layer is on disk beside the unpacked one until that is complete.
        plan.peak_bytes = plan.write_bytes + plan.fetch_bytes.min(largest * 3);
        Ok(plan)
    }

    /// How many bytes are free where the root directory is.
    pub(crate) fn free_bytes(&self) -> Result<u64> {
        let root = &self.settings().root;
        let stat = rustix::fs::statvfs(root).map_err(|source| Error::Read {
            what: format!("how much room there is at {}", root.display()),
            source: source.into(),
        })?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

/// About how many bytes a layer has when it is unpacked.
fn unpacked(size_bytes: u64, media_type: &str) -> u64 {
    let growth = match media::essence(media_type) {
        media::OCI_LAYER | media::DOCKER_LAYER => return size_bytes,
        other if other.ends_with("zstd") => GROWTH_ZSTD,
        _ => GROWTH_GZIP,
    };
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an estimate"
    )]
    let bytes = (size_bytes as f64 * growth) as u64;
    bytes
}

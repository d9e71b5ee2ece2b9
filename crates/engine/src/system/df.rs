//! What takes how much room.

use std::collections::{BTreeSet, HashMap, HashSet};

use strata_runtime::State;
use strata_store::{Key, LayerFiles as _};
use strata_types::{DiffId, ImageId};

use crate::checkpoint::Node;
use crate::container::{Known, Listed, MountFrom, MountPoint, VolumeUse};
use crate::image::{Summary, Wanted};
use crate::{Engine, Result};

/// What takes how much room.
#[derive(Clone, Debug)]
pub struct DiskUse {
    /// The images.
    pub images: Vec<ImageUse>,
    /// The bytes of all layers together, each counted once.
    pub layers_bytes: u64,
    /// The images' layers, the largest first.
    pub layers: Vec<LayerUse>,
    /// The containers.
    pub containers: Vec<ContainerUse>,
    /// The volumes.
    pub volumes: Vec<SizedVolume>,
    /// The snapshots of containers' files.
    pub snapshots: Vec<Node>,
    /// The line about what builds remember; in use is what images have, too.
    pub build_cache: Totals,
}

/// An image.
#[derive(Clone, Debug)]
pub struct ImageUse {
    /// The image.
    pub summary: Summary,
    /// The bytes of layers it shares with other images, each counted once.
    pub shared_bytes: u64,
    /// The bytes of layers that no other image has. What all images have so, and what they share, is
    /// [`layers_bytes`](DiskUse::layers_bytes).
    pub unique_bytes: u64,
    /// How many containers were made from it.
    pub containers: usize,
}

/// A layer of images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerUse {
    /// Which.
    pub diff_id: DiffId,
    /// The bytes of its files.
    pub size_bytes: u64,
    /// What it takes on the disk.
    pub disk_bytes: u64,
    /// How many images have it.
    pub images: usize,
}

/// A container.
#[derive(Clone, Debug)]
pub struct ContainerUse {
    /// The container.
    pub known: Known,
    /// What it is doing.
    pub state: State,
    /// How many volumes it mounts.
    pub local_volumes: usize,
    /// The bytes it wrote.
    pub size_bytes: u64,
}

/// A volume.
#[derive(Clone, Debug)]
pub struct SizedVolume {
    /// The volume and who uses it.
    pub volume: VolumeUse,
    /// The bytes in it.
    pub size_bytes: u64,
}

/// One line of `system df`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many there are.
    pub count: usize,
    /// How many of them are in use.
    pub active: usize,
    /// What they take.
    pub size_bytes: u64,
    /// What removing those not in use would give back.
    pub reclaimable_bytes: u64,
}

impl DiskUse {
    /// The line about images.
    pub fn image_totals(&self) -> Totals {
        let active: Vec<&ImageUse> = self.images.iter().filter(|image| image.containers > 0).collect();
        let used: u64 = active.iter().map(|image| image.unique_bytes).sum();
        Totals {
            count: self.images.len(),
            active: active.len(),
            size_bytes: self.layers_bytes,
            reclaimable_bytes: self.layers_bytes.saturating_sub(used),
        }
    }

    /// The line about containers.
    pub fn container_totals(&self) -> Totals {
        let idle = self.containers.iter().filter(|container| !container.state.status.is_up());
        Totals {
            count: self.containers.len(),
            active: self.containers.iter().filter(|container| container.state.status.is_up()).count(),
            size_bytes: self.containers.iter().map(|container| container.size_bytes).sum(),
            reclaimable_bytes: idle.map(|container| container.size_bytes).sum(),
        }
    }

    /// The line about snapshots; those in use are the ones that containers stand on.
    pub fn snapshot_totals(&self) -> Totals {
        let is_active = |node: &&Node| node.is_current || !node.forks.is_empty();
        let bytes = |node: &Node| node.record.size_bytes;
        Totals {
            count: self.snapshots.len(),
            active: self.snapshots.iter().filter(is_active).count(),
            size_bytes: self.snapshots.iter().map(bytes).sum(),
            reclaimable_bytes: self.snapshots.iter().filter(|node| !is_active(node)).map(bytes).sum(),
        }
    }

    /// The line about volumes.
    pub fn volume_totals(&self) -> Totals {
        let idle = self.volumes.iter().filter(|volume| volume.volume.containers == 0);
        Totals {
            count: self.volumes.len(),
            active: self.volumes.iter().filter(|volume| volume.volume.containers > 0).count(),
            size_bytes: self.volumes.iter().map(|volume| volume.size_bytes).sum(),
            reclaimable_bytes: idle.map(|volume| volume.size_bytes).sum(),
        }
    }
}

impl Engine {
    /// Says what takes how much room.
    ///
    /// # Errors
    /// When the records cannot be read.
    pub fn disk_use(&self) -> Result<DiskUse> {
        let containers = self.containers()?;
        let summaries = self.images(&Wanted::default())?;
        let sizes = self.layer_sizes()?;
        let mut layers: HashMap<ImageId, Vec<DiffId>> = HashMap::new();
        let mut holders: HashMap<DiffId, usize> = HashMap::new();
        let mut keys: HashMap<DiffId, HashSet<Key>> = HashMap::new();
        for image in self.store().images().list()? {
            for layer in image.layers.iter().collect::<BTreeSet<_>>() {
                *holders.entry(layer.clone()).or_default() += 1;
            }
            for length in 1..=image.layers.len() {
                // A driver that keeps trees has a layer once for each chain below it.
                let own = self.snapshots()?.needed(&image.layers[..length]).into_iter().last();
                keys.entry(image.layers[length - 1].clone()).or_default().extend(own);
            }
            layers.insert(image.id, image.layers);
        }
        let size = |layer: &DiffId| sizes.get(layer).copied().unwrap_or(0);
        let layers_bytes = holders.keys().map(size).sum();
        let image = |summary: Summary| {
            let own: BTreeSet<&DiffId> = layers.get(&summary.id).into_iter().flatten().collect();
            let (shared, unique): (Vec<&DiffId>, Vec<&DiffId>) =
                own.into_iter().partition(|layer| holders.get(layer).is_some_and(|count| *count > 1));
            ImageUse {
                shared_bytes: shared.into_iter().map(size).sum(),
                unique_bytes: unique.into_iter().map(size).sum(),
                containers: containers.iter().filter(|container| container.known.record.image == summary.id).count(),
                summary,
            }
        };
        Ok(DiskUse {
            images: summaries.into_iter().map(image).collect(),
            layers_bytes,
            layers: self.layer_uses(&holders, &keys, &size)?,
            volumes: self.volume_sizes()?,
            snapshots: self.snapshot_nodes()?,
            build_cache: self.build_cache_totals(&|layer| holders.contains_key(layer))?,
            containers: containers.into_iter().map(|listed| self.container_use(listed)).collect::<Result<_>>()?,
        })
    }

    fn build_cache_totals(&self, has_image: &dyn Fn(&DiffId) -> bool) -> Result<Totals> {
        let mut totals = Totals::default();
        let mut seen = HashSet::new();
        for step in self.build_cache()? {
            totals.count += 1;
            let Some(layer) = step.layers.last() else { continue };
            totals.active += usize::from(has_image(layer));
            // Steps that came to the same have one layer, and a step that changed nothing has that below it.
            if step.size_bytes > 0 && seen.insert(layer.clone()) {
                totals.size_bytes += step.size_bytes;
                totals.reclaimable_bytes += if has_image(layer) { 0 } else { step.size_bytes };
            }
        }
        Ok(totals)
    }

    fn layer_uses(
        &self,
        holders: &HashMap<DiffId, usize>,
        keys: &HashMap<DiffId, HashSet<Key>>,
        size: &dyn Fn(&DiffId) -> u64,
    ) -> Result<Vec<LayerUse>> {
        let mut uses = Vec::new();
        for (diff_id, images) in holders {
            let mut disk_bytes = 0;
            for key in keys.get(diff_id).into_iter().flatten() {
                disk_bytes += self.snapshots()?.usage_of(key)?.disk_bytes;
            }
            uses.push(LayerUse { diff_id: diff_id.clone(), size_bytes: size(diff_id), disk_bytes, images: *images });
        }
        uses.sort_by(|a, b| b.size_bytes.cmp(&a.size_bytes).then_with(|| a.diff_id.cmp(&b.diff_id)));
        Ok(uses)
    }

    fn container_use(&self, listed: Listed) -> Result<ContainerUse> {
        let usage = self.snapshots()?.usage(listed.known.id())?;
        let is_volume = |point: &&MountPoint| matches!(point.source, MountFrom::Volume { .. });
        Ok(ContainerUse {
            state: listed.state,
            local_volumes: listed.known.document.mounts.iter().filter(is_volume).count(),
            size_bytes: usage.content_bytes,
            known: listed.known,
        })
    }

    pub(super) fn volume_sizes(&self) -> Result<Vec<SizedVolume>> {
        let sized = |volume: VolumeUse| SizedVolume { size_bytes: content_bytes(&volume.mountpoint), volume };
        Ok(self.volumes()?.into_iter().map(sized).collect())
    }
}

/// The bytes of all files below a directory; what vanishes meanwhile, or cannot be read, does not count.
fn content_bytes(dir: &std::path::Path) -> u64 {
    let mut bytes = 0;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let Ok(entries) = std::fs::read_dir(&dir) else { continue };
        for entry in entries.flatten() {
            match entry.metadata() {
                Ok(metadata) if metadata.is_dir() => dirs.push(entry.path()),
                Ok(metadata) => bytes += metadata.len(),
                Err(error) => tracing::debug!(%error, "a file of a volume does not count"),
            }
        }
    }
    bytes
}

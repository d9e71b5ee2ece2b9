//! A container's changes as a new image.

use strata_store::Lease;
use strata_store::records::{LayerRecord, SnapshotRecord};
use strata_sys::failpoint;
use strata_types::config::{Fields, History, ImageConfig, RunConfig};
use strata_types::reference::Reference;
use strata_types::{DiffId, ImageId, Watch};

use super::ImageError;
use super::change::apply;
use crate::container::{ContainerError, Document};
use crate::{Engine, Result, events};

/// What a commit is to say.
#[derive(Clone, Debug, Default)]
pub struct CommitWish {
    /// The new image's name.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: String,
    /// A remark.
    pub message: String,
    /// Changes to the container's configuration: instructions of a Dockerfile.
    pub changes: Vec<String>,
    /// Whether its processes stand still meanwhile.
    pub pause: bool,
}

impl CommitWish {
    /// A configuration with the changes, and what the history says of the step: the command as it was before them.
    pub(super) fn run_of(&self, mut run: RunConfig) -> Result<(RunConfig, String)> {
        if self.name.as_ref().is_some_and(|name| name.digest().is_some()) {
            return Err(ImageError::DigestTag.into());
        }
        let step = run.cmd.as_deref().unwrap_or_default().join(" ");
        apply(&self.changes, &mut run).map_err(ImageError::from)?;
        Ok((run, step))
    }
}

impl Engine {
    /// Makes an image of a container: its image's layers, one more with what changed, and the container's configuration.
    /// Costs what changed, not what the image weighs.
    ///
    /// # Errors
    /// When there is no such container, or the changes cannot be read.
    pub fn commit(&self, container: &str, wish: &CommitWish, watch: &dyn Watch) -> Result<ImageId> {
        let known = self.container(container)?;
        let container = &known.record;
        // What is wrong with the wish is said before anything stands still.
        let (run, step) = wish.run_of(known.document.config.run.clone())?;
        let lease = self.store().lease()?;
        lease.protect_layers(&container.layers)?;
        // They go on even if this process is killed.
        let held = if wish.pause { self.process(&container.id).hold_still()? } else { None };
        let sealed = self.seal_changes(container, &lease, None, watch);
        drop(held);
        let layer = sealed?;
        failpoint!("engine.commit.after-layer");
        let mut layers = container.layers.clone();
        layers.extend(layer.as_ref().map(|layer| layer.diff_id.clone()));
        let event = events::of(&known, "commit").with("comment", &wish.message);
        let from = From { image: &container.image, layers, run, step, new_layer: layer };
        let id = self.record_commit(from, &lease, wish)?;
        lease.release()?;
        let name = wish.name.as_ref().map_or_else(String::new, Reference::familiar);
        self.record_event(event.with("imageID", &id.to_string()).with("imageRef", &name));
        Ok(id)
    }

    /// Makes an image of a snapshot: its layers are the image's, so nothing is read or written but documents.
    ///
    /// # Errors
    /// When the snapshot's layers are gone.
    pub fn commit_snapshot(&self, snapshot: &SnapshotRecord, wish: &CommitWish) -> Result<ImageId> {
        let lease = self.store().lease()?;
        lease.protect_layers(&snapshot.layers)?;
        if !self.has_layer(&snapshot.layers)? {
            return Err(ContainerError::NoSnapshot(snapshot.name.clone()).into());
        }
        let document = Document::parse(&snapshot.spec)
            .map_err(|source| ContainerError::Record(snapshot.container.clone(), source))?;
        let (image, layers) = (&snapshot.image, snapshot.layers.clone());
        let (run, step) = wish.run_of(document.config.run)?;
        let id = self.record_commit(From { image, layers, run, step, new_layer: None }, &lease, wish)?;
        lease.release()?;
        Ok(id)
    }

    pub(super) fn record_commit(&self, from: From<'_>, lease: &Lease<'_>, wish: &CommitWish) -> Result<ImageId> {
        let From { image, layers, run, step, new_layer } = from;
        let base = self.store().images().get(image)?.filter(|base| layers.starts_with(&base.layers));
        let (base_config, below) = match &base {
            Some(image) => (self.config(&image.id)?, image.layers.len()),
            None => {
                let below = layers.len() - usize::from(new_layer.is_some());
                (bare_config(self, &layers[..below]), below)
            }
        };
        let now = self.now();
        let config = child(base_config, (run, step), wish, &layers[below..], &now.to_string());
        let new = new_layer.into_iter().collect();
        let mut made = self.made_on(base.as_ref(), &config, &config.to_bytes(), new, lease)?;
        let id = made.image.id.clone();
        made.image.parent = base.map(|image| image.id);
        made.tags = self.tag_for(wish.name.as_ref(), &id);
        failpoint!("engine.commit.before-record");
        self.store().images().add(&made)?;
        Ok(id)
    }
}

/// What an image is made from.
pub(super) struct From<'a> {
    /// The image below, which may be gone.
    pub(super) image: &'a ImageId,
    /// All layers, the lowest first.
    pub(super) layers: Vec<DiffId>,
    /// The configuration, with the changes.
    pub(super) run: RunConfig,
    /// What the history says made the uppermost layer.
    pub(super) step: String,
    /// That layer, if it was made just now.
    pub(super) new_layer: Option<LayerRecord>,
}

/// A config for a container whose image is gone: its layers are still here.
fn bare_config(engine: &Engine, layers: &[strata_types::DiffId]) -> ImageConfig {
    let platform = engine.platform();
    let mut fields = Fields { architecture: platform.architecture, os: platform.os, ..Fields::default() };
    fields.rootfs.diff_ids = layers.to_vec();
    fields.history = layers.iter().map(|_| History::default()).collect();
    ImageConfig::from(fields)
}

/// The config of the new image: what the base says, with the container's configuration, the changes and one more step
/// for each further layer.
fn child(
    mut config: ImageConfig,
    (run, step): (RunConfig, String),
    wish: &CommitWish,
    layers: &[DiffId],
    now: &str,
) -> ImageConfig {
    config.config = run;
    config.created = Some(now.to_owned());
    config.author.clone_from(&wish.author);
    config.comment = String::new();
    config.docker_version = String::new();
    // An image without a history has layers nobody told of: the steps and the layers have to agree from here on.
    if config.history.is_empty() {
        config.history = config.rootfs.diff_ids.iter().map(|_| History::default()).collect();
    }
    config.rootfs.diff_ids.extend_from_slice(layers);
    // Snapshots that the container was put back to, or forked from, are layers below its own.
    for _ in 1..layers.len() {
        let created_by = String::from("strata snapshot");
        config.history.push(History { created: Some(now.to_owned()), created_by, ..History::default() });
    }
    config.history.push(History {
        created: Some(now.to_owned()),
        author: wish.author.clone(),
        created_by: step,
        comment: wish.message.clone(),
        empty_layer: layers.is_empty(),
    });
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_keeps_what_we_do_not_know_and_tells_of_its_own_step() {
        let layer = |byte: u8| format!("sha256:{}", format!("{byte:02x}").repeat(32));
        let base = format!(
            concat!(
                r#"{{"created":"2020-01-01T00:00:00Z","architecture":"amd64","os":"linux","x-ours":{{"a":1}},"#,
                r#""config":{{"Cmd":["sh"],"Strange":[1]}},"rootfs":{{"type":"layers","diff_ids":["{}"]}},"#,
                r#""history":[{{"created_by":"one"}}]}}"#
            ),
            layer(1)
        );
        let base = ImageConfig::parse(base.as_bytes()).unwrap();
        let mut run = base.config.clone();
        run.cmd = Some(vec!["touch".to_owned(), "/x".to_owned()]);
        let changes = vec![r#"CMD ["vi"]"#.to_owned()];
        let wish = CommitWish { author: "me".to_owned(), message: "why".to_owned(), changes, ..CommitWish::default() };
        let run = wish.run_of(run).unwrap();
        assert_eq!(run.1, "touch /x");
        let made = child(base, run, &wish, &[layer(2).parse().unwrap()], "2024-01-01T00:00:00Z");
        let expected = format!(
            concat!(
                r#"{{"created":"2024-01-01T00:00:00Z","architecture":"amd64","os":"linux","x-ours":{{"a":1}},"#,
                r#""config":{{"Cmd":["vi"],"Strange":[1]}},"rootfs":{{"type":"layers","diff_ids":["{}","{}"]}},"#,
                r#""history":[{{"created_by":"one"}},{{"created":"2024-01-01T00:00:00Z","author":"me","#,
                r#""created_by":"touch /x","comment":"why"}}],"author":"me"}}"#
            ),
            layer(1),
            layer(2)
        );
        assert_eq!(String::from_utf8(made.to_bytes()).unwrap(), expected);
    }
}

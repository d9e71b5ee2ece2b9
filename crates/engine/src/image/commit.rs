//! A container's changes as a new image.

use strata_store::Key;
use strata_store::records::{ImageRecord, LayerRecord, NewImage};
use strata_sys::failpoint;
use strata_types::config::{Fields, History, ImageConfig, RunConfig};
use strata_types::reference::Reference;
use strata_types::{ImageId, Watch};

use super::change::{Change, apply};
use crate::{Engine, Result};

/// What a commit is to say.
#[derive(Clone, Debug, Default)]
pub struct CommitWish {
    /// The new image's name.
    pub name: Option<Reference>,
    /// Who made it.
    pub author: String,
    /// A remark.
    pub message: String,
    /// Changes to the container's configuration.
    pub changes: Vec<Change>,
    /// Whether its processes stand still meanwhile.
    pub pause: bool,
}

impl Engine {
    /// Makes an image of a container: its image's layers, one more with what changed, and the container's configuration.
    /// Costs what changed, not what the image weighs.
    ///
    /// # Errors
    /// When there is no such container, or the changes cannot be read.
    pub fn commit(&self, container: &str, wish: &CommitWish, watch: &dyn Watch) -> Result<ImageId> {
        let container = self.container(container)?.record;
        let lease = self.store().lease()?;
        lease.protect(&Key::of_layers(&container.layers))?;
        let paused = wish.pause && self.pause_for_commit(&container)?;
        let sealed = self.seal_changes(&container, &lease, watch);
        if paused {
            self.unpause_after_commit(&container)?;
        }
        let layer = sealed?;
        failpoint!("engine.commit.after-layer");
        let run = self.run_config(&container)?;
        let base = self.store().images().get(&container.image)?;
        let base_config = match &base {
            Some(image) => self.config(&image.id)?,
            None => bare_config(self, &container.layers),
        };
        let now = self.now();
        let config = child(base_config, run, wish, layer.as_ref(), &now.to_string());
        let bytes = config.to_bytes();
        let id = ImageId::new(strata_types::Digest::sha256(&bytes));
        lease.protect(&[Key::Blob(id.digest().clone())])?;
        self.store().blobs().put(&bytes)?;
        let base_bytes = base.as_ref().map_or(0, |image| image.size_bytes);
        let image = ImageRecord {
            id: id.clone(),
            manifest: None,
            media_type: String::new(),
            index: None,
            size_bytes: base_bytes + layer.as_ref().map_or(0, |layer| layer.size_bytes),
            layers: config.diff_ids().to_vec(),
            parent: base.map(|image| image.id),
            added: now,
            created: Some(now),
            last_used: None,
            damaged: false,
        };
        let tags = self.tag_for(wish.name.as_ref(), &id);
        failpoint!("engine.commit.before-record");
        self.store().images().add(&NewImage { image, tags, layers: layer.into_iter().collect(), forms: Vec::new() })?;
        lease.release()?;
        Ok(id)
    }
}

/// A config for a container whose image is gone: its layers are still here.
fn bare_config(engine: &Engine, layers: &[strata_types::DiffId]) -> ImageConfig {
    let platform = engine.platform();
    let mut fields = Fields { architecture: platform.architecture, os: platform.os, ..Fields::default() };
    fields.rootfs.diff_ids = layers.to_vec();
    fields.history = layers.iter().map(|_| History::default()).collect();
    ImageConfig::from(fields)
}

/// The config of the new image: what the base says, with the container's configuration, the changes and one more step.
fn child(
    mut config: ImageConfig,
    mut run: RunConfig,
    wish: &CommitWish,
    layer: Option<&LayerRecord>,
    now: &str,
) -> ImageConfig {
    let command = run.cmd.as_deref().unwrap_or_default().join(" ");
    apply(&wish.changes, &mut run);
    config.config = run;
    config.created = Some(now.to_owned());
    config.author.clone_from(&wish.author);
    config.comment = String::new();
    config.docker_version = String::new();
    // An image without a history has layers nobody told of: the steps and the layers have to agree from here on.
    if config.history.is_empty() {
        config.history = config.rootfs.diff_ids.iter().map(|_| History::default()).collect();
    }
    config.rootfs.diff_ids.extend(layer.map(|layer| layer.diff_id.clone()));
    config.history.push(History {
        created: Some(now.to_owned()),
        author: wish.author.clone(),
        created_by: command,
        comment: wish.message.clone(),
        empty_layer: layer.is_none(),
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
        let changes = vec![r#"CMD ["vi"]"#.parse().unwrap()];
        let wish = CommitWish { author: "me".to_owned(), message: "why".to_owned(), changes, ..CommitWish::default() };
        let record =
            LayerRecord { diff_id: layer(2).parse().unwrap(), size_bytes: 5, added: jiff::Timestamp::UNIX_EPOCH };
        let made = child(base, run, &wish, Some(&record), "2024-01-01T00:00:00Z");
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

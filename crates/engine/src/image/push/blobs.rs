//! Where a blob can be had for a registry: it has it, another of its repositories has it, another registry has it.

use std::io::{self, Read};

use strata_registry::{BlobSource, Mounted};
use strata_store::records::LayerForm;
use strata_types::document::Descriptor;
use strata_types::reference::Reference;
use strata_types::{DiffId, Watch, media};

use super::compressed::{Compressed, Renamed};
use crate::{Engine, Result};

/// Where a blob comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// The target has it.
    There,
    /// Another repository of the same registry has it.
    Mount(Reference),
    /// Another registry has it.
    Copy(Reference),
}

impl Engine {
    /// Looks where a blob can be had; none if nowhere.
    pub(super) fn origin_of(&self, target: &Reference, diff_id: &DiffId, blob: &Descriptor) -> Result<Option<Origin>> {
        let client = self.client()?;
        if media::is_foreign(&blob.media_type) || client.has_blob(target, &blob.digest)?.is_some() {
            return Ok(Some(Origin::There));
        }
        let forms = self.store().layers().forms(diff_id)?;
        let sources = forms.iter().filter(|form| form.digest == blob.digest).flat_map(|form| &form.sources);
        let sources: Vec<Reference> = sources.filter_map(|name| name.parse().ok()).collect();
        let (near, far): (Vec<_>, Vec<_>) = sources.into_iter().partition(|name| name.domain() == target.domain());
        for source in near.iter().chain(&far) {
            // A source that does not answer is no source; the push itself does not depend on it.
            match client.has_blob(source, &blob.digest) {
                Ok(Some(_)) if source.domain() == target.domain() => return Ok(Some(Origin::Mount(source.clone()))),
                Ok(Some(_)) => return Ok(Some(Origin::Copy(source.clone()))),
                Ok(None) => {}
                Err(error) => tracing::debug!(%source, %error, "cannot ask for a blob"),
            }
        }
        Ok(None)
    }

    /// Brings a blob from where it is to the registry.
    pub(super) fn bring(
        &self,
        target: &Reference,
        diff_id: &DiffId,
        blob: &Descriptor,
        origin: &Origin,
        watch: &dyn Watch,
    ) -> Result<()> {
        let client = self.client()?;
        let item = diff_id.digest();
        let source = match origin {
            Origin::There => {
                let is_foreign = media::is_foreign(&blob.media_type);
                watch.phase(item, if is_foreign { "Skipped foreign layer" } else { "Layer already exists" });
                return Ok(());
            }
            Origin::Mount(from) => {
                if client.mount_blob(target, &blob.digest, from.path())? == Mounted::Yes {
                    watch.phase(item, &format!("Mounted from {}", shown_path(from)));
                    return Ok(());
                }
                from
            }
            Origin::Copy(from) => from,
        };
        watch.phase(item, "Pushing");
        client.push_blob(target, blob, &Remote { engine: self, from: source, blob }, &Renamed { item, watch })?;
        watch.phase(item, "Pushed");
        Ok(())
    }

    /// Brings one layer to the registry in whatever form, and says in which.
    pub(crate) fn push_layer(&self, target: &Reference, layers: &[DiffId], watch: &dyn Watch) -> Result<Descriptor> {
        let diff_id = layers.last().expect("a layer and those below it");
        for form in self.store().layers().forms(diff_id)? {
            let Some(blob) = self.described(&form)? else { continue };
            match self.origin_of(target, diff_id, &blob)? {
                Some(origin @ (Origin::There | Origin::Mount(_))) => {
                    self.bring(target, diff_id, &blob, &origin, watch)?;
                    return Ok(blob);
                }
                // Compressing is cheaper than a detour over another registry.
                Some(Origin::Copy(_)) | None => {}
            }
        }
        let item = diff_id.digest();
        watch.phase(item, "Pushing");
        let compressed = Compressed::make(self, layers, watch)?;
        let blob = compressed.descriptor().clone();
        if self.client()?.has_blob(target, &blob.digest)?.is_some() {
            watch.phase(item, "Layer already exists");
            return Ok(blob);
        }
        self.client()?.push_blob(target, &blob, &compressed, &Renamed { item, watch })?;
        watch.phase(item, "Pushed");
        Ok(blob)
    }
}

impl Engine {
    /// Describes a layer's form. Of one whose bytes are elsewhere, some manifest that is here has to say where; none if none
    /// does, because then nobody could fetch it.
    fn described(&self, form: &LayerForm) -> Result<Option<Descriptor>> {
        if !media::is_foreign(&form.media_type) {
            return Ok(Some(Descriptor::new(&form.media_type, form.digest.clone(), form.size_bytes)));
        }
        for image in self.store().images().list()?.iter().filter(|image| image.layers.contains(&form.diff_id)) {
            let Some((manifest, _)) = self.original_manifest(image)? else { continue };
            let mut blobs = manifest.layers.into_iter();
            if let Some(blob) = blobs.find(|blob| blob.digest == form.digest && !blob.urls.is_empty()) {
                return Ok(Some(blob));
            }
        }
        Ok(None)
    }
}

/// A repository as `Mounted from` shows it.
fn shown_path(from: &Reference) -> String {
    from.path().to_owned()
}

/// A blob that is read from another registry while it is written to this one.
struct Remote<'a> {
    engine: &'a Engine,
    from: &'a Reference,
    blob: &'a Descriptor,
}

impl BlobSource for Remote<'_> {
    fn open(&self, offset: u64) -> io::Result<Box<dyn Read + Send + '_>> {
        let client = self.engine.client().map_err(io::Error::other)?;
        Ok(Box::new(client.blob(self.from, self.blob, offset).map_err(io::Error::other)?))
    }
}

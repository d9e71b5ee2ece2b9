//! The images that a build comes to.

use strata_store::records::{Annotations, LayerRecord, Said};
use strata_sys::failpoint;
use strata_types::ImageId;
use strata_types::config::ImageConfig;
use strata_types::reference::Reference;

use super::Workbench;
use crate::Result;
use crate::events::{Happening, Kind};
use crate::image::Ready;

/// An image whose layers are here.
#[derive(Clone, Debug)]
pub struct BuiltImage<'a> {
    /// Its config.
    pub config: &'a ImageConfig,
    /// Those of its layers that may not be recorded yet.
    pub layers: Vec<LayerRecord>,
    /// What is attested of it: types and JSON documents.
    pub predicates: Vec<(String, Vec<u8>)>,
    /// What its manifest is to say.
    pub annotations: Annotations,
}

impl Workbench<'_> {
    /// Records an image for each platform under names that stand for all of them. Gives the one that they mean here: the
    /// first that runs on this machine, else the first. There is one at least. Without names, what is said of each stays with
    /// it.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub fn add_images(&self, built: Vec<BuiltImage<'_>>, names: &[Reference]) -> Result<ImageId> {
        let engine = self.engine;
        let ready = built.into_iter().map(|BuiltImage { config, layers, predicates, annotations }| {
            let image = engine.made(config, &config.to_bytes(), layers, &self.lease)?;
            let keep = |(kind, text): (String, Vec<u8>)| engine.keep_predicate(kind, &text, &self.lease);
            let predicates = predicates.into_iter().map(keep).collect::<Result<Vec<_>>>()?;
            let said = Said { predicates, annotations, ..Said::default() };
            Ok(Ready { image, platform: config.platform(), said })
        });
        let ready = ready.collect::<Result<Vec<_>>>()?;
        failpoint!("engine.build.before-record");
        let id = engine.record_ready(ready, names)?;
        let event = |name: &Reference| {
            let name = name.clone().or_latest();
            Happening::new(Kind::Image, "tag", &id).with("name", &name.familiar())
        };
        engine.record_events(names.iter().map(event));
        Ok(id)
    }
}

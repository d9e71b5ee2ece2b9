//! What becomes of what was built: images here, files, a tar.

use std::time::Instant;

use strata_engine::workbench::{BuiltImage, Tree, TreeTarget};
use strata_types::config::ImageConfig;
use strata_types::{ImageId, Platform};

use crate::annotation;
use crate::attest;
use crate::base::Base;
use crate::error::Problem;
use crate::graph::Build;
use crate::history;
use crate::request::{Outcome, Output};

/// What was made of a build.
pub(crate) struct Exported {
    /// The image that runs here, else the first.
    pub(crate) image: ImageId,
    /// Its config.
    pub(crate) config: ImageConfig,
    /// All of them.
    pub(crate) images: Vec<(Platform, ImageId)>,
}

/// Makes of what was built for each platform what was asked for. There is one platform at least.
pub(crate) fn export(parts: &[(&Build<'_>, &Base)]) -> Result<Exported, Problem> {
    let (build, _) = parts[0];
    let configs: Vec<ImageConfig> = parts.iter().map(|(build, base)| config(build, base)).collect();
    let attest = |((build, base), config): (&(&Build<'_>, &Base), &ImageConfig)| match build.request.output {
        Output::Nothing => Ok(Vec::new()),
        _ => attest::predicates(build, base, config),
    };
    let attested = parts.iter().zip(&configs).map(attest).collect::<Result<Vec<_>, _>>()?;
    let (number, began) = (build.number(), Instant::now());
    let what = match &build.request.output {
        Output::Image => "exporting to image",
        Output::Nothing => "exporting nothing",
        Output::Dir(_) => "exporting to client directory",
        Output::Tar(_) => "exporting to client tarball",
    };
    build.observer.begin(number, what);
    let exported = write(parts, &configs, attested).and_then(|id| {
        parts.iter().try_for_each(|(build, _)| build.bench.used(&build.used()))?;
        Ok(id)
    });
    if let (Ok(id), Output::Image) = (&exported, &build.request.output) {
        build.observer.status(number, &format!("writing image {id} done"));
        for name in &build.request.names {
            build.observer.status(number, &format!("naming to {} done", name.clone().or_latest()));
        }
    }
    let outcome = if exported.is_ok() { Outcome::Done } else { Outcome::Failed };
    build.observer.end(number, outcome, began.elapsed());
    let image = exported?;
    let main = configs.iter().position(|config| config.image_id() == image).unwrap_or_default();
    let image_of =
        |((build, _), config): (&(&Build<'_>, &Base), &ImageConfig)| (build.platform.clone(), config.image_id());
    let images = parts.iter().zip(&configs).map(image_of).collect();
    Ok(Exported { image, config: configs[main].clone(), images })
}

/// The config of an image that is done.
fn config(build: &Build<'_>, base: &Base) -> ImageConfig {
    let mut config = base.config.clone();
    config.config.labels.extend(build.request.labels.clone());
    let last = history::complete(&mut config.history);
    let usual = || build.epoch_or(build.began).to_string();
    config.created = Some(last.unwrap_or_else(usual));
    build.shared.caches.write_inline(&build.request.cache_to, &mut config);
    config
}

fn write(
    parts: &[(&Build<'_>, &Base)],
    configs: &[ImageConfig],
    predicates: Vec<Vec<(String, Vec<u8>)>>,
) -> Result<ImageId, Problem> {
    let (build, _) = parts[0];
    match &build.request.output {
        Output::Image => {
            let image = |(((build, base), config), predicates): ((&(&Build<'_>, &Base), _), _)| BuiltImage {
                config,
                layers: base.added.clone(),
                predicates,
                annotations: annotation::of(&build.request.annotations, &build.platform),
            };
            let built = parts.iter().zip(configs).zip(predicates).map(image).collect();
            return Ok(build.bench.add_images(built, &build.request.names)?);
        }
        Output::Nothing => {}
        Output::Dir(path) => build.bench.write_trees(&trees(parts, predicates)?, TreeTarget::Dir(path), build)?,
        Output::Tar(file) => {
            let mut file: &std::fs::File = file;
            build.bench.write_trees(&trees(parts, predicates)?, TreeTarget::Tar(&mut file), build)?;
        }
    }
    Ok(configs[0].image_id())
}

/// The files of each platform, with what is attested of them. With several, each is in a directory of its own, which is
/// called as BuildKit calls it.
fn trees<'p>(
    parts: &[(&'p Build<'_>, &'p Base)],
    predicates: Vec<Vec<(String, Vec<u8>)>>,
) -> Result<Vec<Tree<'p>>, Problem> {
    let tree = |((build, base), predicates): (&(&'p Build<'_>, &'p Base), _)| {
        let dir = (parts.len() > 1).then(|| build.platform.to_string().replace('/', "_"));
        let files = attest::files(build, base, predicates)?;
        Ok(Tree { layers: &base.layers, dir, files, time: build.now() })
    };
    parts.iter().zip(predicates).map(tree).collect()
}

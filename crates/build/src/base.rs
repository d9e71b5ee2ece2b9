//! FROM: what a stage begins with.

use std::path::Path;

use strata_engine::image::{ImageError, ImageRecord, PullWish};
use strata_engine::workbench::{Layer, LayoutImage, LayoutName, Workbench};
use strata_types::config::{Fields, History, ImageConfig, RootFs, RunConfig};
use strata_types::{DiffId, Digest, Platform, Reference, Watch};

use crate::error::Problem;

/// Where programs are looked for when the base does not say.
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What a stage begins with, and what one ends with.
#[derive(Clone, Debug)]
pub(crate) struct Base {
    /// The layers, the lowest first.
    pub(crate) layers: Vec<DiffId>,
    /// Those that were made by builds.
    pub(crate) added: Vec<Layer>,
    /// The config so far.
    pub(crate) config: ImageConfig,
    /// The image it was, if it was one.
    pub(crate) origin: Option<Origin>,
}

/// An image that was built from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Origin {
    /// Its package URL.
    pub(crate) uri: String,
    /// The digest of its manifest; of its config if it was never in a registry.
    pub(crate) digest: Digest,
}

impl Base {
    /// Nothing.
    pub(crate) fn scratch(platform: &Platform) -> Self {
        let run = RunConfig { env: vec![PATH.to_owned()], working_dir: "/".to_owned(), ..RunConfig::default() };
        let config = ImageConfig::from(Fields {
            architecture: platform.architecture.clone(),
            variant: platform.variant.clone(),
            os: platform.os.clone(),
            config: run,
            ..Fields::default()
        });
        Self { layers: Vec::new(), added: Vec::new(), config, origin: None }
    }

    /// An image; it is pulled if it is not here, or if that is wanted.
    pub(crate) fn image(
        bench: &Workbench<'_>,
        name: &str,
        wanted: (&Platform, bool),
        pull: bool,
        watch: &dyn Watch,
    ) -> Result<Self, Problem> {
        refuse_windows(wanted.0)?;
        let record = find(bench, name, wanted, pull, watch)?;
        let known = bench.engine().config(&record.id)?;
        refuse_windows(&known.platform())?;
        if !bench.keep(&record.layers)? {
            return Err(Problem::Unsupported(format!("the layers of {name} are damaged: pull it again")));
        }
        let origin = Origin::of(name, &record, &known.platform());
        Ok(Self::of_config(known, origin))
    }

    /// An image in a directory with an OCI layout, which is called `name` here.
    pub(crate) fn layout(
        bench: &Workbench<'_>,
        name: &str,
        (dir, which): (&Path, &LayoutName),
        platform: &Platform,
        watch: &dyn Watch,
    ) -> Result<Self, Problem> {
        let found = bench.layout_image(dir, which, platform, watch)?;
        let LayoutImage { config, manifest: digest } = found.ok_or_else(|| Problem::NoLayout(dir.to_owned()))?;
        refuse_windows(&config.platform())?;
        let platform = config.platform().to_string().replace('/', "%2F");
        let uri = format!("pkg:oci/{}?platform={platform}", name.replace(':', "%3A"));
        Ok(Self::of_config(config, Origin { uri, digest }))
    }

    /// A stage that begins with an image.
    fn of_config(known: ImageConfig, origin: Origin) -> Self {
        let Fields { mut config, mut history, rootfs, .. } = known.fields.clone();
        if !config.env.iter().any(|variable| variable.starts_with("PATH=")) {
            config.env.push(PATH.to_owned());
        }
        // An image without a history has layers nobody told of: steps and layers have to agree from here on.
        if history.is_empty() {
            history = rootfs.diff_ids.iter().map(|_| History::default()).collect();
        }
        let fields = Fields {
            config,
            history,
            rootfs: RootFs { diff_ids: rootfs.diff_ids, ..RootFs::default() },
            comment: String::new(),
            docker_version: String::new(),
            ..known.fields
        };
        let config = ImageConfig::from(fields);
        Self { layers: config.diff_ids().to_vec(), added: Vec::new(), config, origin: Some(origin) }
    }
}

/// Refuses to build on Windows: nothing here runs its programs or knows its tree.
pub(crate) fn refuse_windows(platform: &Platform) -> Result<(), Problem> {
    if !platform.is_windows() {
        return Ok(());
    }
    let os = &platform.os;
    Err(Problem::Unsupported(format!(
        "operating system \"{os}\" is not supported: its images cannot be built on Linux"
    )))
}

impl Origin {
    fn of(name: &str, record: &ImageRecord, platform: &Platform) -> Self {
        let digest = record.manifest.clone().unwrap_or_else(|| record.id.digest().clone());
        let (name, tag) = match name.parse::<Reference>() {
            Ok(name) => (name.familiar_name(), name.or_latest().tag().unwrap_or_default().to_owned()),
            Err(_) => (name.to_owned(), String::new()),
        };
        let tag = if tag.is_empty() { tag } else { format!("@{tag}") };
        let platform = platform.to_string().replace('/', "%2F");
        Self { uri: format!("pkg:docker/{}{tag}?platform={platform}", name.replace(':', "%3A")), digest }
    }
}

/// Finds an image for a platform; the second of `wanted` says whether the person named one.
fn find(
    bench: &Workbench<'_>,
    name: &str,
    (platform, is_asked): (&Platform, bool),
    pull: bool,
    watch: &dyn Watch,
) -> Result<ImageRecord, Problem> {
    let engine = bench.engine();
    let fits = |image: &ImageRecord| -> Result<bool, Problem> {
        let has = engine.config(&image.id)?.platform();
        let same = platform.os == has.os && platform.architecture == has.architecture;
        let same = same && platform.takes_version_of(&has);
        Ok(!image.damaged && (!is_asked || (same && (platform.variant.is_empty() || platform.variant == has.variant))))
    };
    let local = |name: &str| -> Result<Option<ImageRecord>, Problem> {
        match engine.find_image_for(name, platform)? {
            Some(image) if fits(&image)? => Ok(Some(image)),
            _ => Ok(None),
        }
    };
    // A word of a few letters is no id, though an id may begin with it.
    if is_id(name)
        && let Some(image) = local(name)?
    {
        return Ok(image);
    }
    let reference = engine.reference(name)?.or_latest();
    let full = reference.to_string();
    if !pull && let Some(image) = local(&full)? {
        return Ok(image);
    }
    let wish = PullWish { platform: Some(platform.clone()).filter(|_| is_asked), ..PullWish::default() };
    let pulled = match engine.pull(&reference, &wish, watch) {
        // It is for one platform, another one: a warning tells of it, as with BuildKit.
        Err(strata_engine::Error::Image(ImageError::WrongPlatform { .. })) => {
            engine.pull(&reference, &PullWish::default(), watch)?
        }
        pulled => pulled?,
    };
    // What the name means may be another platform's by now, which is pulled at once.
    match pulled.first() {
        Some(pulled) => Ok(engine.image(&pulled.image.to_string())?),
        None => Ok(engine.image(&full)?),
    }
}

/// Whether a word is as long and looks like what `images` shows of an id.
pub(crate) fn is_id(name: &str) -> bool {
    let digits = name.strip_prefix("sha256:").unwrap_or(name);
    (12..=64).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

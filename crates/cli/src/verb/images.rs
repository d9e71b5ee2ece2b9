//! `strata images`: list images.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};
use strata_engine::image::{Summary, Wanted};

use crate::filter::{self, Filter, Filters};
use crate::format::{List, age, shorten, size, tree};
use crate::verb::prelude::*;

/// What `strata images` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show all images (default hides intermediate images)
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Show digests
    #[arg(long)]
    pub digests: bool,
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Don't truncate output
    #[arg(long)]
    pub no_trunc: bool,
    /// Only show image IDs
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// List multi-platform images as a tree
    #[arg(long)]
    pub tree: bool,
    /// Only images of this repository
    pub repository: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "List images";
    const USAGE: &str = "[OPTIONS] [REPOSITORY[:TAG]]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters =
            Filters::new(&self.filter, &["dangling", "label", "label!", "before", "since", "reference", "until"])?;
        let one = |name: &str| filters.values(name).last().cloned();
        let mut references = filters.values("reference").to_vec();
        references.extend(self.repository.clone());
        references.iter().try_for_each(|pattern| filter::check_glob(pattern))?;
        let wanted = Wanted {
            all: self.all,
            dangling: filters.truth("dangling")?,
            labels: filters.values("label").to_vec(),
            labels_not: filters.values("label!").to_vec(),
            references,
            before: one("before"),
            since: one("since"),
            until: filters.until(session)?,
        };
        if self.tree {
            self.refuse_beside_tree()?;
            let trees = session.engine()?.image_trees(&wanted)?;
            session.out.write_all(tree::draw(&trees).as_bytes())?;
            return Ok(Exit::SUCCESS);
        }
        let images = session.engine()?.images(&wanted)?;
        let shows_digests = self.digests || self.format.as_deref().is_some_and(|format| format.contains(".Digest"));
        let rows: Vec<Json> = images
            .iter()
            .flat_map(|image| names_of(image, shows_digests).into_iter().map(move |names| (image, names)))
            .map(|(image, names)| self.row(image, &names, session))
            .collect();
        let list = List {
            of: "*formatter.imageContext",
            columns: COLUMNS,
            table: if self.digests { TABLE_DIGESTS } else { TABLE },
            quiet: "{{.ID}}",
        };
        session.out.write_all(list.render(self.format.as_deref(), self.quiet, &rows)?.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

impl Args {
    /// The tree has one form.
    fn refuse_beside_tree(&self) -> Result<()> {
        let given = [
            ("quiet", self.quiet),
            ("no-trunc", self.no_trunc),
            ("digests", self.digests),
            ("format", self.format.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((name, _)) => Err(Failure::new(format!("--{name} is not yet supported with --tree"))),
            None => Ok(()),
        }
    }

    fn row(&self, image: &Summary, names: &Names, session: &Session) -> Json {
        let id = image.id.to_string();
        let id = if self.no_trunc { id.as_str() } else { shorten::id(&id) };
        let since = image.created.map(|time| age::ago(time, session.now())).unwrap_or_default();
        let at = image.created.map(|time| age::moment(time, session.zone())).unwrap_or_default();
        let (bytes, all_bytes) = (size::short(image.size_bytes), size::human(image.size_bytes));
        json!({
            "ID": id, "Repository": names.repository, "Tag": names.tag, "Digest": names.digest,
            "CreatedSince": since, "CreatedAt": at, "Size": bytes, "VirtualSize": all_bytes,
            "Containers": "N/A", "SharedSize": "N/A", "UniqueSize": "N/A",
        })
    }
}

/// What a row says about an image's names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) repository: String,
    pub(super) tag: String,
    pub(super) digest: String,
}

/// The rows of one image: one for each tag, or each tag and digest of its repository, and one for each repository it has
/// only a digest in.
pub(super) fn names_of(image: &Summary, shows_digests: bool) -> Vec<Names> {
    const NONE: &str = "<none>";
    let row = |repository: &str, tag: &str, digest: &str| Names {
        repository: repository.to_owned(),
        tag: tag.to_owned(),
        digest: digest.to_owned(),
    };
    if image.references.is_empty() {
        return vec![row(NONE, NONE, NONE)];
    }
    let mut digests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for name in &image.references.digests {
        let digest = name.digest().map(ToString::to_string).unwrap_or_default();
        digests.entry(name.familiar_name()).or_default().push(digest);
    }
    let mut rows = Vec::new();
    for name in &image.references.tags {
        let (repository, tag) = (name.familiar_name(), name.tag().unwrap_or(NONE));
        match digests.get(&repository).filter(|_| shows_digests) {
            Some(digests) => rows.extend(digests.iter().map(|digest| row(&repository, tag, digest))),
            None => rows.push(row(&repository, tag, NONE)),
        }
    }
    let tagged: Vec<String> = image.references.tags.iter().map(|name| name.familiar_name()).collect();
    for (repository, digests) in digests.iter().filter(|(repository, _)| !tagged.contains(repository)) {
        match shows_digests {
            true => rows.extend(digests.iter().map(|digest| row(repository, NONE, digest))),
            false => rows.push(row(repository, NONE, "")),
        }
    }
    rows
}

pub(super) const COLUMNS: &[(&str, &str)] = &[
    ("ID", "IMAGE ID"),
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("Containers", "CONTAINERS"),
    ("VirtualSize", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
];
const TABLE: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";
const TABLE_DIGESTS: &str = "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{if .CreatedSince}}{{.CreatedSince}}{{else}}N/A{{end}}\t{{.Size}}";

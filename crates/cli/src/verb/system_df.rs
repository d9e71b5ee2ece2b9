//! `strata system df`: show disk usage.

use jiff::Timestamp;
use serde_json::{Value as Json, json};
use strata_engine::checkpoint::Node;
use strata_engine::system::{ContainerUse, DiskUse, ImageUse, LayerUse, SizedVolume, Totals};

use crate::container::row;
use crate::format::template::{Template, Value};
use crate::format::{self, List, age, shorten, size};
use crate::verb::prelude::*;

/// What `strata system df` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short = 'v', long)]
    pub verbose: bool,
}

impl Verb for Args {
    const ABOUT: &str = "Show disk usage";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let used = session.engine()?.disk_use()?;
        let text = match (self.verbose, self.format.as_deref()) {
            (true, None | Some("")) => verbose(&used, session)?,
            (true, Some("json")) => format!("{}\n", details(&used, session)),
            (true, Some(format)) => format::document(
                Template::parse(format),
                &Value::typed("*formatter.diskUsageContext", &details(&used, session)),
            )?,
            (false, format) => {
                let list = List {
                    of: "*formatter.diskUsageImagesContext",
                    columns: COLUMNS,
                    table: TABLE,
                    quiet: "{{.Type}}",
                };
                list.render(format, false, &rows(&used))?
            }
        };
        session.out.write_all(text.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

const COLUMNS: &[(&str, &str)] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];
const TABLE: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

fn rows(used: &DiskUse) -> Vec<Json> {
    let line = |kind: &str, totals: Totals| {
        json!({
            "Type": kind, "TotalCount": totals.count.to_string(), "Active": totals.active.to_string(),
            "Size": size::human(totals.size_bytes), "Reclaimable": reclaimable(totals),
        })
    };
    let mut lines = vec![
        line("Images", used.image_totals()),
        line("Containers", used.container_totals()),
        line("Local Volumes", used.volume_totals()),
        line("Build Cache", used.build_cache),
    ];
    // Docker has none, and scripts count the lines.
    if !used.snapshots.is_empty() {
        lines.insert(2, line("Snapshots", used.snapshot_totals()));
    }
    lines
}

fn reclaimable(totals: Totals) -> String {
    let bytes = size::human(totals.reclaimable_bytes);
    match (totals.reclaimable_bytes * 100).checked_div(totals.size_bytes) {
        Some(percent) => format!("{bytes} ({percent}%)"),
        None => bytes,
    }
}

fn verbose(used: &DiskUse, session: &Session) -> Result<String> {
    let details = details(used, session);
    let rows = |name: &str| details[name].as_array().cloned().unwrap_or_default();
    let table = |fields: &[(&str, &str)], name: &str| {
        let cells: Vec<String> = fields.iter().map(|(field, _)| format!("{{{{.{field}}}}}")).collect();
        List { of: "", columns: fields, table: &cells.join("\t"), quiet: "" }.render(None, false, &rows(name))
    };
    let images = table(IMAGES, "Images")?;
    let layers = table(LAYERS, "Layers")?;
    let containers = table(CONTAINERS, "Containers")?;
    let volumes = table(VOLUMES, "Volumes")?;
    let snapshots = match used.snapshots.is_empty() {
        true => String::new(),
        false => format!("\nSnapshots space usage:\n\n{}", table(SNAPSHOTS, "Snapshots")?),
    };
    Ok(format!(
        "Images space usage:\n\n{images}\nLayers space usage:\n\n{layers}\nContainers space usage:\n\n{containers}{snapshots}\nLocal Volumes space usage:\n\n{volumes}\n\
         Build cache usage: 0B\n\nCACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n"
    ))
}

const IMAGES: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
];
const LAYERS: &[(&str, &str)] = &[
    ("ID", "LAYER"),
    ("Images", "IMAGES"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("DiskSize", "ON DISK"),
];
const CONTAINERS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("Command", "COMMAND"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
    ("RunningFor", "CREATED"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
];
const SNAPSHOTS: &[(&str, &str)] =
    &[("Name", "SNAPSHOT"), ("Size", "SIZE"), ("CreatedSince", "CREATED"), ("Forks", "FORKS")];
const VOLUMES: &[(&str, &str)] = &[("Name", "VOLUME NAME"), ("Links", "LINKS"), ("Size", "SIZE")];

fn details(used: &DiskUse, session: &Session) -> Json {
    let ago = |time: Option<Timestamp>| time.map(|time| age::ago(time, session.now())).unwrap_or_default();
    let image = |image: &ImageUse| {
        let summary = &image.summary;
        let names = super::images::names_of(summary, false).swap_remove(0);
        json!({
            "Repository": names.repository, "Tag": names.tag, "ID": summary.id.short(), "CreatedSince": ago(summary.created),
            "Size": size::short(summary.size_bytes), "SharedSize": size::human(image.shared_bytes),
            "UniqueSize": size::human(image.unique_bytes), "Containers": image.containers.to_string(),
            "SharedBytes": image.shared_bytes, "UniqueBytes": image.unique_bytes,
        })
    };
    let layer = |layer: &LayerUse| {
        let (shared, unique) = match layer.images {
            0 | 1 => (0, layer.size_bytes),
            _ => (layer.size_bytes, 0),
        };
        json!({
            "ID": layer.diff_id.digest().short(), "Images": layer.images.to_string(), "Size": size::human(layer.size_bytes),
            "SharedSize": size::human(shared), "UniqueSize": size::human(unique), "DiskSize": size::human(layer.disk_bytes),
            "DiffID": layer.diff_id.to_string(), "SharedBytes": shared, "UniqueBytes": unique,
            "DiskBytes": layer.disk_bytes,
        })
    };
    let container = |container: &ContainerUse| {
        let record = &container.known.record;
        let command = row::command_line(&container.known.document.words());
        let volumes = container.local_volumes.to_string();
        json!({
            "ID": record.id.short(), "Image": record.image_name, "Command": shorten::command(&command, false),
            "LocalVolumes": volumes, "Size": size::short(container.size_bytes), "RunningFor": ago(Some(record.created)),
            "Status": row::status(&container.state, session.now()), "Names": record.name,
        })
    };
    let volume = |volume: &SizedVolume| {
        let links = volume.volume.containers.to_string();
        json!({"Name": volume.volume.record.name, "Links": links, "Size": size::human(volume.size_bytes)})
    };
    let snapshot = |node: &Node| {
        json!({
            "Name": node.full_name(), "CreatedSince": ago(Some(node.record.created)),
            "Size": size::human(node.record.size_bytes), "Forks": node.forks.len().to_string(),
        })
    };
    json!({
        "Images": used.images.iter().map(image).collect::<Vec<_>>(),
        "Layers": used.layers.iter().map(layer).collect::<Vec<_>>(), "LayersBytes": used.layers_bytes,
        "Containers": used.containers.iter().map(container).collect::<Vec<_>>(),
        "Volumes": used.volumes.iter().map(volume).collect::<Vec<_>>(),
        "Snapshots": used.snapshots.iter().map(snapshot).collect::<Vec<_>>(),
        "BuildCache": [],
    })
}

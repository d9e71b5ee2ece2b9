//! What the records cost a `run`: open the store, look an image up, insert a container, remove it again.
//!
//! `cargo run --release -p strata-store --example open_cost [ROOT]`; prints CPU and wall time per run, each in a process of
//! its own, as the program meets the store.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use strata_store::records::{
    ContainerRecord, ImageRecord, InUse, LayerForm, LayerRecord, NewImage, Removal, TagRecord,
};
use strata_store::{Durability, Store};
use strata_types::{ContainerId, DiffId, Digest, ImageId};

const RUNS: u32 = 200;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let root =
        arguments.next().unwrap_or_else(|| std::env::temp_dir().join(format!("open-cost-{}", std::process::id())));
    if arguments.next().is_some() {
        return run(&root);
    }
    fill(&root)?;
    let program = std::env::current_exe()?;
    let (cpu, wall) = (children_cpu()?, Instant::now());
    for _ in 0..RUNS {
        let status = std::process::Command::new(&program).arg(&root).arg("run").status()?;
        assert!(status.success());
    }
    let (cpu, wall) = (children_cpu()? - cpu, wall.elapsed());
    println!("a process that opens, reads, inserts and removes: {:?} CPU, {:?} wall", cpu / RUNS, wall / RUNS);
    let cpu = children_cpu()?;
    for _ in 0..RUNS {
        std::process::Command::new(&program).arg("/").arg("nothing").arg("at all").status()?;
    }
    println!("a process that does nothing: {:?} CPU", (children_cpu()? - cpu) / RUNS);
    let start = Instant::now();
    for _ in 0..RUNS {
        run(&root)?;
    }
    println!("the same without the process: {:?} wall", start.elapsed() / RUNS);
    std::fs::remove_dir_all(&root)?;
    Ok(())
}

fn run(root: &Path) -> Result<(), Box<dyn std::error::Error>> {
    if root == Path::new("/") {
        return Ok(());
    }
    let store = Store::open(root)?;
    let image = store.tags().image(&"localhost:5000/image-7:latest".parse()?)?.ok_or("no image")?;
    let id = ContainerId::from_random(strata_sys::random::bytes());
    let container = ContainerRecord {
        name: format!("name-{id}"),
        id,
        image: image.id,
        image_name: "image-7".to_owned(),
        layers: image.layers,
        driver: "erofs".to_owned(),
        created: Timestamp::now(),
        spec: "x".repeat(3000),
    };
    store.containers().insert(&container, Durability::Ephemeral)?;
    store.containers().remove(&container.id, Durability::Ephemeral)?;
    Ok(())
}

fn fill(root: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let store = Store::open(root)?;
    for number in 0..100 {
        let layers: Vec<_> = (0..10).map(|layer| DiffId::new(Digest::sha256(&[number, layer]))).collect();
        let id = ImageId::new(Digest::sha256(&[number]));
        let now = Timestamp::now();
        let record = |diff_id: &DiffId| LayerRecord { diff_id: diff_id.clone(), size_bytes: 1, added: now };
        let form = |diff_id: &DiffId| LayerForm {
            diff_id: diff_id.clone(),
            digest: Digest::sha256(diff_id.hex().as_bytes()),
            size_bytes: 1,
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            sources: BTreeSet::from([format!("localhost:5000/image-{number}")]),
        };
        store.images().add(&NewImage {
            said: None,
            layers: layers.iter().map(record).collect(),
            forms: layers.iter().map(form).collect(),
            tags: vec![TagRecord {
                name: format!("localhost:5000/image-{number}:latest").parse()?,
                image: id.clone(),
                manifest: None,
                index: None,
                updated: now,
            }],
            image: ImageRecord {
                id: id.clone(),
                manifest: None,
                media_type: String::new(),
                index: None,
                size_bytes: 10,
                layers,
                parent: None,
                added: now,
                created: Some(now),
                last_used: None,
                damaged: false,
            },
        })?;
        if number == 99 {
            let tags = store.tags().of(&id)?.into_iter().map(|tag| tag.name).collect();
            store.images().remove(&Removal { tags, images: vec![id], in_use: InUse::Keep })?;
        }
    }
    Ok(())
}

fn children_cpu() -> Result<Duration, Box<dyn std::error::Error>> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks: u64 = fields[13].parse::<u64>()? + fields[14].parse::<u64>()?;
    Ok(Duration::from_millis(ticks * 10))
}

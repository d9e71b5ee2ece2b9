//! Any sequence of operations leaves exactly the files that a plain model of the store says are needed.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use strata_store::records::{ContainerRecord, Forgotten, InUse, Inserted, NewImage, Removed};
use strata_store::{Durability, Scope, Store};
use strata_types::{ContainerId, DiffId, Silent};

use crate::fixture::{Layers, bring, container, diff_id, image, remove};

const LAYERS: [&str; 4] = ["base", "one", "two", "three"];

#[derive(Clone, Debug)]
enum Step {
    Bring { image: u8, layers: usize },
    Remove { image: u8, in_use: InUse },
    Create { image: u8 },
    Delete,
    Collect(Scope),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let image = 0..3_u8;
    prop_oneof![
        4 => (image.clone(), 1..=LAYERS.len()).prop_map(|(image, layers)| Step::Bring { image, layers }),
        2 => image.clone().prop_map(|image| Step::Remove { image, in_use: InUse::Keep }),
        1 => image.clone().prop_map(|image| Step::Remove { image, in_use: InUse::Remove }),
        2 => image.prop_map(|image| Step::Create { image }),
        2 => Just(Step::Delete),
        2 => Just(Step::Collect(Scope::Removed)),
        1 => Just(Step::Collect(Scope::All { ingests_older_than: Duration::MAX })),
        1 => Just(Step::Reopen),
    ]
}

/// What should be there: the layers of each image and of each container.
#[derive(Debug, Default)]
struct Model {
    images: BTreeMap<u8, Vec<DiffId>>,
    containers: Vec<(ContainerId, u8, Vec<DiffId>)>,
}

impl Model {
    fn needed(&self) -> BTreeSet<DiffId> {
        let of_containers = self.containers.iter().map(|(_, _, layers)| layers);
        self.images.values().chain(of_containers).flatten().cloned().collect()
    }

    fn apply(&mut self, store: &Store, step: &Step) {
        match *step {
            Step::Bring { image: number, layers } => {
                // An image's layers follow from its id: recording it again changes nothing.
                let layers = self.images.get(&number).map_or(layers, Vec::len);
                bring(store, &number.to_string(), &LAYERS[..layers]).unwrap();
                self.images.insert(number, LAYERS[..layers].iter().map(|name| diff_id(name)).collect());
            }
            Step::Remove { image: number, in_use } => {
                let used = self.containers.iter().any(|(_, image, _)| *image == number);
                let removed = remove(store, &image(&number.to_string(), &[]).image.id, in_use).unwrap();
                match self.images.get(&number) {
                    None => assert_eq!(removed, Removed::Done(Vec::new(), Vec::new())),
                    Some(_) if used && in_use == InUse::Keep => assert!(matches!(removed, Removed::Used(_))),
                    Some(_) => {
                        assert!(matches!(removed, Removed::Done(..)));
                        self.images.remove(&number);
                    }
                }
            }
            Step::Create { image: number } => {
                let NewImage { mut image, tags, .. } = image(&number.to_string(), &[]);
                image.layers = self.images.get(&number).cloned().unwrap_or_default();
                // As a command does, which may know it from the last one.
                let found = store.tags().image(&tags[0].name).unwrap();
                assert_eq!(found.is_some(), self.images.contains_key(&number));
                let name = strata_sys::random::hex::<8>();
                let new = ContainerRecord { created: Timestamp::now(), ..container(&name, &image) };
                match store.containers().insert(&new, Durability::Ephemeral).unwrap() {
                    Inserted::Done => self.containers.push((new.id, number, image.layers)),
                    other => assert!(other == Inserted::ImageGone && !self.images.contains_key(&number)),
                }
            }
            Step::Delete => {
                if let Some((id, _, _)) = self.containers.pop() {
                    assert_ne!(store.containers().remove(&id, Durability::Ephemeral).unwrap(), Forgotten::NotThere);
                }
            }
            Step::Collect(scope) => {
                store.gc(scope, &Layers::of(store), &Silent).unwrap();
            }
            Step::Reopen => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_what_is_needed_stays(steps in prop::collection::vec(step(), 1..24)) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let mut model = Model::default();
        for step in &steps {
            if let Step::Reopen = step {
                store = Store::open(dir.path()).unwrap();
            }
            model.apply(&store, step);
            for layer in model.needed() {
                prop_assert!(Layers::of(&store).path(&layer).exists(), "lost after {:?}", step);
            }
        }
        store.gc(Scope::Removed, &Layers::of(&store), &Silent).unwrap();
        let records: BTreeSet<_> = store.layers().list().unwrap().into_iter().map(|layer| layer.diff_id).collect();
        let here: BTreeSet<_> = std::fs::read_dir(dir.path().join("layers/fake"))
            .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_default();
        let needed: BTreeSet<_> = model.needed().iter().map(|layer| layer.hex().to_owned()).collect();
        prop_assert_eq!(here, needed);
        prop_assert!(records.is_superset(&model.images.values().flatten().cloned().collect()));
    }
}

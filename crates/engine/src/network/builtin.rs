//! The networks that are always there: `bridge`, `host` and `none`.

use std::collections::BTreeMap;

use strata_store::records::NetworkRecord;

use super::definition::DEFAULT;
use super::pool::whole;
use crate::network::{Definition, NetworkError, NetworkKnown};
use crate::{Engine, Result};

/// The bridge of the default network, unless the host has something of that name.
const INTERFACE: &str = "strata0";

impl Engine {
    /// Finds the network a person means; the default one is made when first looked for.
    ///
    /// # Errors
    /// When there is none, or the digits are those of several.
    pub fn network(&self, name: &str) -> Result<NetworkKnown> {
        if let Some(record) = self.store().networks().find(name)? {
            return NetworkKnown::read(record);
        }
        if [DEFAULT, "host", "none"].contains(&name) {
            self.ensure_builtin()?;
        }
        let found = self.store().networks().find(name)?;
        NetworkKnown::read(found.ok_or_else(|| NetworkError::NotFound(name.to_owned()))?)
    }

    /// Records the networks that are always there.
    pub(super) fn ensure_builtin(&self) -> Result<()> {
        for (name, driver) in [("host", "host"), ("none", "null")] {
            if self.store().networks().by_name(name)?.is_none() {
                self.store().networks().create(&self.network_record(name, driver, &Definition::default()))?;
            }
        }
        if self.store().networks().by_name(DEFAULT)?.is_some() {
            return Ok(());
        }
        let pools = vec![whole(self.free_subnet()?)];
        let mut record = self.network_record(DEFAULT, "bridge", &Definition::default());
        let is_taken = std::path::Path::new("/sys/class/net").join(INTERFACE).exists();
        let interface = if is_taken { format!("br-{}", &record.id[..12]) } else { INTERFACE.to_owned() };
        record.spec = print(&Definition { pools, interface, ..Definition::default() });
        // Somebody else may have been quicker: theirs is as good.
        self.store().networks().create(&record)?;
        Ok(())
    }

    /// A record of a network with a new id.
    pub(super) fn network_record(&self, name: &str, driver: &str, definition: &Definition) -> NetworkRecord {
        NetworkRecord {
            id: strata_sys::random::hex::<32>(),
            name: name.to_owned(),
            driver: driver.to_owned(),
            options: BTreeMap::new(),
            labels: BTreeMap::new(),
            spec: print(definition),
            created: self.now(),
        }
    }
}

pub(super) fn print(definition: &Definition) -> String {
    serde_json::to_string(definition).expect("lists and texts always print")
}

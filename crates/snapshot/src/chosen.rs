//! Which driver a store has: chosen when it is made, written down, and never again in doubt.

use std::io;
use std::path::Path;

use strata_sys::durable::{self, Durability};

use crate::snapshots::{digest_of_hex, names};
use crate::{Availability, DriverName, Error, Result};

/// The file in the store's root directory.
const DRIVER: &str = "driver";

/// The driver of the store, the one that is asked for if it has none yet, or the best one that works here.
///
/// # Errors
/// When another one is asked for than the store has, when the one asked for does not work here, or when the store has layers
/// and nothing says any more whose they are.
pub(crate) fn driver(root: &Path, asked: Option<DriverName>) -> Result<DriverName> {
    let used = match recorded(root)? {
        Some(used) => used,
        None => match lost_driver(root)?.as_slice() {
            [] => choose(root, asked)?,
            owners => match asked {
                Some(asked) if owners.contains(&asked) => choose(root, Some(asked))?,
                _ => return Err(Error::DriverLost { owners: owners.to_vec() }),
            },
        },
    };
    match asked {
        Some(asked) if asked != used => Err(Error::OtherDriver { used, asked }),
        _ => Ok(used),
    }
}

/// The drivers that have layers in a store that does not say which its driver is; nothing is lost if there are none.
///
/// # Errors
/// When the directories cannot be listed.
pub fn lost_driver(root: &Path) -> Result<Vec<DriverName>> {
    if recorded(root)?.is_some() {
        return Ok(Vec::new());
    }
    let owners = owners(root)?;
    // Somebody may have made the store just now: they write down the driver before they make layers.
    Ok(if recorded(root)?.is_some() { Vec::new() } else { owners })
}

/// Writes down which driver a store has.
///
/// # Errors
/// When the disk refuses.
pub fn record_driver(root: &Path, driver: DriverName) -> Result<()> {
    durable::create_dirs(&root.join("layers").join(driver.as_str()), 0o711)?;
    Ok(durable::write_file(&root.join(DRIVER), format!("{driver}\n").as_bytes(), 0o644, Durability::Durable)?)
}

/// Tries every driver.
pub(crate) fn availability(root: &Path) -> Result<Vec<Availability>> {
    let scratch = root.join(format!("layers/.probe-{}", strata_sys::random::hex::<8>()));
    durable::create_dirs(&scratch, 0o700)?;
    let probed = DriverName::ALL.map(|driver| Availability { driver, missing: driver.probe(&scratch).err() });
    durable::remove(&scratch)?;
    Ok(probed.into())
}

fn recorded(root: &Path) -> Result<Option<DriverName>> {
    let path = root.join(DRIVER);
    match std::fs::read_to_string(&path) {
        Ok(name) => {
            let driver = name.trim().parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error));
            driver.map(Some).map_err(Error::at("read", &path))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::at("read", &path)(error)),
    }
}

/// The drivers whose sealed layers are there. Those for Windows lie beside those of any driver.
fn owners(root: &Path) -> Result<Vec<DriverName>> {
    let mut owners = Vec::new();
    for driver in DriverName::ALL.into_iter().filter(|driver| *driver != DriverName::WindowsFilter) {
        let names = names(&root.join("layers").join(driver.as_str()))?;
        if names.iter().any(|name| digest_of_hex(name).is_some()) {
            owners.push(driver);
        }
    }
    Ok(owners)
}

/// Finds the driver for a new store and records it. Two processes that do so at once find the same.
fn choose(root: &Path, asked: Option<DriverName>) -> Result<DriverName> {
    durable::create_dirs(&root.join("layers"), 0o711)?;
    let usable = availability(root)?;
    let reason = |driver| usable.iter().find(|one| one.driver == driver).and_then(|one| one.missing.clone());
    let chosen = match asked {
        Some(driver) => match reason(driver) {
            Some(reason) => return Err(Error::Unavailable { driver, reason }),
            None => driver,
        },
        None => usable.iter().find(|one| one.missing.is_none()).map_or(DriverName::Vfs, |one| one.driver),
    };
    record_driver(root, chosen)?;
    Ok(chosen)
}

//! Giving a container another name.

use strata_store::records::Renamed;

use crate::container::{ContainerError, Known, check};
use crate::{Engine, Result, events};

impl Engine {
    /// Renames a container.
    ///
    /// # Errors
    /// When the name is taken or none for a container.
    pub fn rename_container(&self, known: &Known, name: &str) -> Result<()> {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name == known.record.name {
            let sentence = "Renaming a container with the same name as its current name";
            return Err(ContainerError::invalid(sentence));
        }
        // Docker shows the name as it keeps it, with a slash.
        check::name(name).map_err(|_| not_renamed(check::invalid_name(&format!("/{name}"))))?;
        // Who starts or connects it meanwhile would do so under the old name.
        let _changing = self.store().lock_container(known.id())?;
        match self.store().containers().rename(known.id(), name)? {
            Renamed::Done(old) => {
                if let Err(error) = self.process(known.id()).rename(name) {
                    // Others would find it under a name that its shim does not answer to.
                    self.store().containers().rename(known.id(), &old)?;
                    return Err(error.into());
                }
                let event = events::of(known, "rename").with("name", name).with("oldName", &format!("/{old}"));
                self.record_event(event);
                Ok(())
            }
            Renamed::NameTaken(holder) => {
                Err(not_renamed(ContainerError::NameTaken { name: name.to_owned(), holder }).into())
            }
            Renamed::NotThere => Err(ContainerError::NotFound(known.record.name.clone()).into()),
        }
    }
}

fn not_renamed(because: ContainerError) -> ContainerError {
    ContainerError::NotRenamed(Box::new(because))
}

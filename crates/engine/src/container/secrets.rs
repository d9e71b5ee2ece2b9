//! `--secret`: values that a container gets as files in memory.

use std::path::Path;

use strata_runtime::spec::{Mount, MountSource, SecretFile};

use crate::container::{ContainerError, SecretMount};
use crate::secret::SecretError;
use crate::{Engine, Result};

/// Where secrets are unless their target is an absolute path.
const DIR: &str = "/run/secrets";

impl Engine {
    /// Checks that the secrets exist and that no two of them have one place.
    pub(super) fn resolve_secrets(&self, mut secrets: Vec<SecretMount>) -> Result<Vec<SecretMount>> {
        for secret in &mut secrets {
            secret.name = self.secret(&secret.name)?.name;
            let path = Path::new(&secret.target);
            let one_name = path.components().count() == 1 && path.file_name().is_some() && !secret.target.contains('/');
            let absolute = path.is_absolute() && path.file_name().is_some();
            if !one_name && !absolute {
                let what = "a name, or an absolute path";
                return Err(ContainerError::invalid(format!(
                    "invalid secret target {:?}: it has to be {what}",
                    secret.target
                )));
            }
        }
        for (index, secret) in secrets.iter().enumerate() {
            if secrets[..index].iter().any(|other| place(&other.target) == place(&secret.target)) {
                let sentence = format!("two secrets have the target {}", place(&secret.target));
                return Err(ContainerError::invalid(sentence));
            }
        }
        Ok(secrets)
    }

    /// How they are mounted. The values themselves are read by who mounts them.
    pub(super) fn secret_mounts(&self, secrets: &[SecretMount]) -> Result<Vec<Mount>> {
        let mut together = Vec::new();
        let mut mounts = Vec::new();
        let read_only =
            |target: &str, source| Mount { target: target.to_owned(), source, read_only: true, exec: false };
        for secret in secrets {
            let source = self.secret_value(&secret.name).map_err(|error| match error {
                crate::Error::Secret(SecretError::NotFound(name)) => {
                    ContainerError::invalid(format!("the container's secret {name} is gone"))
                }
                other => other,
            })?;
            let name = Path::new(&secret.target).file_name().unwrap_or_default().to_string_lossy().into_owned();
            let file = SecretFile { name, source, uid: secret.uid, gid: secret.gid, mode: secret.mode };
            if secret.target.starts_with('/') {
                mounts.push(read_only(&secret.target, MountSource::Secret(file)));
            } else {
                together.push(file);
            }
        }
        if !together.is_empty() {
            mounts.insert(0, read_only(DIR, MountSource::Secrets(together)));
        }
        Ok(mounts)
    }
}

fn place(target: &str) -> String {
    if target.starts_with('/') { target.to_owned() } else { format!("{DIR}/{target}") }
}

//! The registry client's settings, from the engine's.

use std::path::PathBuf;

use strata_registry::auth::CredentialStore;
use strata_registry::conf::{ConfFiles, Registries};

use crate::{Result, Settings};

/// Folders with certificates for some registries, as Docker and containers/image have them.
const CERTS_DIRS: [&str; 3] = ["/etc/docker/certs.d", "/etc/containers/certs.d", "/etc/strata/certs.d"];

/// Where references lead, as the containers tools have it; the first that exists counts.
const REGISTRIES_CONF: [&str; 2] = ["/etc/strata/registries.conf", "/etc/containers/registries.conf"];

/// Docker's settings, for its insecure registries and mirrors.
const DAEMON_JSON: &str = "/etc/docker/daemon.json";

/// Gathers what the client needs to know; reads `registries.conf`.
pub(crate) fn settings(settings: &Settings) -> Result<strata_registry::Settings> {
    let user_agent = concat!("strata/", env!("CARGO_PKG_VERSION"), " (linux)");
    let mut client = strata_registry::Settings::new(user_agent);
    client.credentials = CredentialStore::new(settings.docker_config.clone(), settings.auth_files.clone());
    let registries =
        settings.registries_conf.clone().map_or_else(|| REGISTRIES_CONF.map(PathBuf::from).to_vec(), |file| vec![file]);
    client.registries = Registries::load(&ConfFiles { registries, daemon: Some(PathBuf::from(DAEMON_JSON)) })?;
    client.proxies = settings.proxies.clone();
    client.certs_dirs = CERTS_DIRS.map(PathBuf::from).to_vec();
    Ok(client)
}

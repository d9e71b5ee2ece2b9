//! Short names: what `registries.conf` says a name without a registry stands for.

use strata_types::reference::Reference;

use crate::image::ImageError;
use crate::{Engine, Result};

/// What names without a registry mean by Docker's rules; who writes it out means it.
const HUB_NAMES: [&str; 2] = ["docker.io/", "index.docker.io/"];

impl Engine {
    /// What a person means by the name of an image that is to be pulled: by the table `[aliases]`, else by Docker's rules.
    ///
    /// # Errors
    /// When the name or what it stands for does not parse, or the configuration cannot be read.
    pub fn reference(&self, name: &str) -> Result<Reference> {
        let parse = |name: &str| {
            let parsed = name.parse::<Reference>();
            parsed.map_err(|source| ImageError::Reference { name: name.to_owned(), source })
        };
        let reference = parse(name)?;
        if reference.domain() != "docker.io" || HUB_NAMES.iter().any(|hub| name.starts_with(hub)) {
            return Ok(reference);
        }
        let Some(target) = self.client()?.settings().registries.alias(&reference.familiar_name()) else {
            return Ok(reference);
        };
        let target = parse(target)?;
        Ok(match (reference.digest(), reference.tag()) {
            (Some(digest), _) => target.with_digest(digest.clone()),
            (None, Some(tag)) => target.with_tag(tag).unwrap_or(target),
            (None, None) => target,
        })
    }
}

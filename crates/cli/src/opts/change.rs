//! `-c INSTRUCTION`: changes to an image's configuration.

use strata_engine::image::{Change, ChangeError};

/// Reads all of them.
pub fn changes(texts: &[String]) -> Result<Vec<Change>, ChangeError> {
    texts.iter().map(|text| text.parse()).collect()
}

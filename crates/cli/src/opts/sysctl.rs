//! `--sysctl NAME=VALUE`.

use strata_runtime::sysctl;

use super::{Invalid, Result};

/// Parses a setting of the kernel that a container can have for itself.
pub fn parse(text: &str) -> Result<(String, String)> {
    let setting = text.split_once('=').filter(|(name, _)| sysctl::namespace(name).is_some());
    let (name, value) = setting.ok_or_else(|| Invalid(format!("sysctl '{text}' is not allowed")))?;
    Ok((name.to_owned(), value.to_owned()))
}

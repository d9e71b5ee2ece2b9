//! `SOURCE_DATE_EPOCH`: the time that what is built is to have.

use std::collections::BTreeMap;
use std::path::Path;

use strata_build::last_commit_time;

use crate::exit::{Failure, Result};
use crate::session::Session;

/// The variable and the argument.
const NAME: &str = "SOURCE_DATE_EPOCH";
/// The word that stands for the time of the last commit.
const COMMIT: &str = "commit";

/// Reads it from the arguments of the build or the environment. Whoever wants two builds compared and does not give it gets
/// the last commit's time, or now for both.
pub fn of(
    session: &Session,
    arguments: &mut BTreeMap<String, String>,
    context: Option<&Path>,
    verify: bool,
) -> Result<Option<i64>> {
    let given = arguments.get(NAME).cloned().or_else(|| session.variable(NAME)).filter(|text| !text.is_empty());
    let commit = || context.and_then(last_commit_time);
    match given.as_deref() {
        Some(COMMIT) => {
            let time = commit().ok_or_else(|| {
                Failure::new(format!("{NAME}={COMMIT}: the context is no git work tree with a commit"))
                    .hint("give the seconds since 1970, as of `git log -1 --format=%ct`")
            })?;
            // The Dockerfile sees the number.
            if let Some(value) = arguments.get_mut(NAME) {
                *value = time.to_string();
            }
            Ok(Some(time))
        }
        Some(text) => {
            let bad = |_| Failure::new(format!("invalid {NAME}: {text}"));
            text.parse().map(Some).map_err(bad)
        }
        None if verify => Ok(Some(commit().unwrap_or_else(|| session.now().as_second()))),
        None => Ok(None),
    }
}

//! `--ulimit NAME=SOFT[:HARD]`.

use super::{Invalid, Result, number};

/// One limit on a process's resources (getrlimit(2)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ulimit {
    /// Its name: `nofile`, `nproc`, …
    pub name: &'static str,
    /// What the kernel enforces; none is unlimited.
    pub soft: Option<u64>,
    /// What the process may raise the soft limit to; none is unlimited.
    pub hard: Option<u64>,
}

/// Docker's names; `as` is not among them, because programs written in Go could not start under it.
const NAMES: &[&str] = &[
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// Parses the value of `--ulimit`.
pub fn parse(text: &str) -> Result<Ulimit> {
    let (name, limits) = text.split_once('=').ok_or_else(|| Invalid(format!("invalid ulimit argument: {text}")))?;
    let Some(&name) = NAMES.iter().find(|known| **known == name) else {
        return Err(Invalid(format!("invalid ulimit type: {name}")));
    };
    let parts: Vec<&str> = limits.split(':').collect();
    let (soft, hard) = match parts[..] {
        [both] => (number::integer(both)?, number::integer(both)?),
        [soft, hard] => (number::integer(soft)?, number::integer(hard)?),
        _ => {
            let most = "can only have up to two, `soft[:hard]`";
            return Err(Invalid(format!("too many limit value arguments - {limits}, {most}")));
        }
    };
    let rule = "ulimit soft limit must be less than or equal to hard limit";
    if hard != -1 && soft == -1 {
        return Err(Invalid(format!("{rule}: soft: -1 (unlimited), hard: {hard}")));
    }
    if hard != -1 && soft > hard {
        return Err(Invalid(format!("{rule}: {soft} > {hard}")));
    }
    let limit = |value: i64| match value {
        -1 => Ok(None),
        _ => u64::try_from(value).map(Some).map_err(|_| Invalid(format!("invalid ulimit argument: {text}"))),
    };
    Ok(Ulimit { name, soft: limit(soft)?, hard: limit(hard)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, sentence: &str) {
        assert_eq!(parse(text).expect_err(text).to_string(), sentence, "{text}");
    }

    #[test]
    fn one_number_sets_both_limits() {
        assert_eq!(parse("nofile=1024").unwrap(), Ulimit { name: "nofile", soft: Some(1024), hard: Some(1024) });
        assert_eq!(parse("nproc=1:2").unwrap(), Ulimit { name: "nproc", soft: Some(1), hard: Some(2) });
        assert_eq!(parse("core=0:-1").unwrap(), Ulimit { name: "core", soft: Some(0), hard: None });
    }

    #[test]
    fn refusals_are_dockers_words() {
        refused("nofile", "invalid ulimit argument: nofile");
        refused("nofile=x", r#"strconv.ParseInt: parsing "x": invalid syntax"#);
        refused("nofile=1:2:3", "too many limit value arguments - 1:2:3, can only have up to two, `soft[:hard]`");
        refused("foo=1", "invalid ulimit type: foo");
        refused("nofile=5:2", "ulimit soft limit must be less than or equal to hard limit: 5 > 2");
        let unlimited = "soft: -1 (unlimited), hard: 5";
        refused("nofile=-1:5", &format!("ulimit soft limit must be less than or equal to hard limit: {unlimited}"));
    }
}

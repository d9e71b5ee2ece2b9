//! How output is kept: `--log-driver` and `--log-opt`.

use std::collections::BTreeMap;
use std::path::Path;

use strata_runtime::spec::{Journal, Log};

use crate::Result;
use crate::container::{ContainerError, HostConfig, Known, LogConfig};

/// Where the system's journal listens.
const JOURNAL: &str = "/run/systemd/journal/socket";
/// The drivers there are.
const DRIVERS: [&str; 4] = ["json-file", "local", "journald", "none"];
/// What Docker's driver `local` keeps at most, and its cache of what went to a journal: `max-size`, `max-file`.
const LOCAL: (u64, u32) = (20_000_000, 5);
/// What Docker keeps in memory for a log that is slow, with `mode=non-blocking`.
const BUFFER_BYTES: u64 = 1_000_000;

/// Whether it makes sense, as far as that depends on nothing but itself.
pub(super) fn check(host: &HostConfig) -> Result<()> {
    files(&host.log_config).map(drop)
}

/// How a container's output is kept.
pub(super) fn of(known: &Known) -> Result<Log> {
    let config = &known.document.host.log_config;
    let mut log = files(config)?;
    let attributes = attributes(known);
    match config.kind.as_str() {
        "journald" => {
            if !Path::new(JOURNAL).exists() {
                let sentence = "failed to initialize logging driver: journald is not enabled on this host";
                return Err(ContainerError::invalid(sentence));
            }
            log.journal = Some(Journal { socket: JOURNAL.into(), fields: fields(known, attributes) });
        }
        "json-file" => {
            log.attributes = attributes;
            log.attributes.extend(config.config.get("tag").map(|tag| ("tag".to_owned(), tag_of(known, tag))));
        }
        _ => {}
    }
    Ok(log)
}

/// The files and their sizes.
fn files(config: &LogConfig) -> Result<Log> {
    let kind = config.kind.as_str();
    if !DRIVERS.contains(&kind) {
        return Err(invalid(format!("error looking up logging plugin {kind}: plugin {kind:?} not found")));
    }
    let mut log = Log { keep: kind != "none", max_files: 1, ..Log::default() };
    if matches!(kind, "local" | "journald") {
        (log.max_size_bytes, log.max_files, log.compress) = (Some(LOCAL.0), LOCAL.1, true);
    }
    let (mut buffered, mut buffer_bytes) = (false, BUFFER_BYTES);
    for (name, value) in &config.config {
        let for_files = matches!(kind, "json-file" | "local");
        let for_lines = matches!(kind, "json-file" | "journald");
        match name.as_str() {
            "max-size" if for_files && value == "-1" => log.max_size_bytes = None,
            "max-size" if for_files => log.max_size_bytes = Some(size(value)?),
            "max-file" if for_files => {
                let files = value.parse().ok().filter(|files| *files > 0);
                log.max_files = files.ok_or_else(|| invalid(format!("max-file cannot be less than 1: {value}")))?;
            }
            "compress" if for_files => {
                let bad = || invalid(format!("strconv.ParseBool: parsing {value:?}: invalid syntax"));
                log.compress = value.parse().map_err(|_| bad())?;
            }
            "labels" | "env" | "tag" if for_lines => {}
            "labels-regex" | "env-regex" if for_lines => drop(expression(value)?),
            "mode" if value == "blocking" => {}
            "mode" if value == "non-blocking" => buffered = true,
            "mode" => return Err(invalid(format!("logger: logging mode not supported: {value}"))),
            "max-buffer-size" => buffer_bytes = size(value)?,
            other => return Err(invalid(format!("unknown log opt '{other}' for {kind} log driver"))),
        }
    }
    if !buffered && config.config.contains_key("max-buffer-size") {
        let sentence = "logger: max-buffer-size option is only supported with 'mode=non-blocking'";
        return Err(invalid(sentence.to_owned()));
    }
    log.buffer_bytes = buffered.then_some(buffer_bytes);
    if log.max_files > 1 && log.max_size_bytes.is_none() {
        return Err(invalid(String::from("max-file cannot be used without max-size")));
    }
    if kind == "json-file" && log.compress && (log.max_files < 2 || log.max_size_bytes.is_none()) {
        let sentence = "compress cannot be true when max-file is less than 2 or max-size is not set";
        return Err(invalid(sentence.to_owned()));
    }
    Ok(log)
}

/// The labels and variables that `labels`, `env` and the expressions beside them name.
fn attributes(known: &Known) -> BTreeMap<String, String> {
    let options = &known.document.host.log_config.config;
    let run = &known.document.config.run;
    let wanted = |option: &str| {
        let names: Vec<&str> = options.get(option).map(|names| names.split(',').collect()).unwrap_or_default();
        // One that is wrong was refused when the container was made.
        let fits = options.get(&format!("{option}-regex")).and_then(|text| regex::Regex::new(text).ok());
        move |name: &str| names.contains(&name) || fits.as_ref().is_some_and(|fits| fits.is_match(name))
    };
    let (label, variable) = (wanted("labels"), wanted("env"));
    let labels = run.labels.iter().filter(|(name, _)| label(name)).map(|(name, value)| (name.clone(), value.clone()));
    let variables = run.env.iter().filter_map(|variable| variable.split_once('='));
    let variables = variables.filter(|(name, _)| variable(name));
    labels.chain(variables.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

fn expression(text: &str) -> Result<regex::Regex> {
    regex::Regex::new(text).map_err(|_| invalid(format!("error parsing regexp: {text}")))
}

/// What every line in the journal comes with, in Docker's names.
fn fields(known: &Known, attributes: BTreeMap<String, String>) -> BTreeMap<String, String> {
    let tag = known.document.host.log_config.config.get("tag").map(String::as_str).unwrap_or("{{.ID}}");
    let tag = tag_of(known, tag);
    let own = [
        ("CONTAINER_ID", known.id().short()),
        ("CONTAINER_ID_FULL", known.id().as_str()),
        ("CONTAINER_NAME", &known.record.name),
        ("CONTAINER_TAG", &tag),
        ("IMAGE_NAME", &known.record.image_name),
        ("SYSLOG_IDENTIFIER", &tag),
    ];
    // The journal takes names of capitals, digits and underscores only, which do not begin with an underscore.
    let clean = |name: String| {
        let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        name.chars().map(letter).collect::<String>().trim_start_matches('_').to_owned()
    };
    let more = attributes.into_iter().map(|(name, value)| (clean(name), value)).filter(|(name, _)| !name.is_empty());
    more.chain(own.map(|(name, value)| (name.to_owned(), value.to_owned()))).collect()
}

/// `--log-opt tag=TEMPLATE`.
fn tag_of(known: &Known, template: &str) -> String {
    let image = known.record.image.to_string();
    let image_id = image.strip_prefix("sha256:").unwrap_or(&image);
    [
        ("{{.ID}}", known.id().short()),
        ("{{.FullID}}", known.id().as_str()),
        ("{{.Name}}", &known.record.name),
        ("{{.ImageName}}", &known.record.image_name),
        ("{{.ImageID}}", image_id.get(..12).unwrap_or(image_id)),
        ("{{.ImageFullID}}", &image),
        ("{{.DaemonName}}", "strata"),
    ]
    .iter()
    .fold(template.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// `10m` and the like, in powers of a thousand: so does Docker read the sizes of logs.
fn size(text: &str) -> Result<u64> {
    let bad = || invalid(format!("invalid size: '{text}'"));
    let lower = text.to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match lower[digits.len()..].trim_end_matches('b').trim_end_matches('i') {
        "" => 1,
        "k" => 1_000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        _ => return Err(bad()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| bad())?;
    number.checked_mul(unit).ok_or_else(bad)
}

fn invalid(sentence: String) -> crate::Error {
    ContainerError::invalid(sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(kind: &str, options: &[(&str, &str)]) -> std::result::Result<Log, String> {
        let config = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        files(&LogConfig { kind: kind.to_owned(), config }).map_err(|error| error.to_string())
    }

    #[test]
    fn log_options_are_checked() {
        let log = |size, max_files, compress| Log {
            keep: true,
            max_size_bytes: Some(size),
            max_files,
            compress,
            ..Log::default()
        };
        assert_eq!(with("json-file", &[("max-size", "10m"), ("max-file", "3")]).unwrap(), log(10_000_000, 3, false));
        assert_eq!(with("local", &[]).unwrap(), log(20_000_000, 5, true));
        assert_eq!(with("local", &[("compress", "false"), ("max-size", "1k")]).unwrap(), log(1000, 5, false));
        assert!(!with("none", &[]).unwrap().keep);
        let buffered = |options: &[(&str, &str)]| with("json-file", options).unwrap().buffer_bytes;
        assert_eq!(buffered(&[("mode", "blocking")]), None);
        assert_eq!(buffered(&[("mode", "non-blocking")]), Some(1_000_000));
        assert_eq!(buffered(&[("mode", "non-blocking"), ("max-buffer-size", "4k")]), Some(4000));
        for (kind, option, sentence) in [
            ("json-file", ("nope", "1"), "unknown log opt 'nope' for json-file log driver"),
            ("local", ("labels", "a"), "unknown log opt 'labels' for local log driver"),
            ("json-file", ("max-file", "3"), "max-file cannot be used without max-size"),
            ("json-file", ("max-size", "x"), "invalid size: 'x'"),
            (
                "json-file",
                ("compress", "true"),
                "compress cannot be true when max-file is less than 2 or max-size is not set",
            ),
            ("json-file", ("mode", "x"), "logger: logging mode not supported: x"),
            ("json-file", ("labels-regex", "("), "error parsing regexp: ("),
            ("local", ("env-regex", "a"), "unknown log opt 'env-regex' for local log driver"),
            (
                "json-file",
                ("max-buffer-size", "1m"),
                "logger: max-buffer-size option is only supported with 'mode=non-blocking'",
            ),
        ] {
            assert_eq!(with(kind, &[option]).unwrap_err(), sentence);
        }
        assert_eq!(
            with("syslog", &[]).unwrap_err(),
            "error looking up logging plugin syslog: plugin \"syslog\" not found"
        );
    }
}

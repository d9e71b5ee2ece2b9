//! `--call`: what a build would be, instead of it; in BuildKit's words and documents.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Serialize;
use strata_build::{BuildError, BuildRequest, Findings, Outline, OutlineMount, check, outline};
use strata_dockerfile::{Dockerfile, Stage, Warning};
use strata_engine::Engine;

use super::excerpt::excerpt;
use super::verify;
use crate::exit::{Exit, Failure, Result};
use crate::format::tabs;
use crate::opts::{csv, go_bool};
use crate::session::Session;

/// What can be called, as `subrequests.describe` tells of it; BuildKit's does not tell of `lint`.
const METHODS: &[(&str, &str)] = &[
    ("outline", "List all parameters current build target supports"),
    ("targets", "List all targets current build supports"),
    ("lint", "Lint a Dockerfile"),
    ("subrequests.describe", "List available subrequest types"),
];
/// The version of all their documents.
const VERSION: &str = "1.0.0";
/// Where the rules of the checks are explained.
const RULES: &str = "https://docs.docker.com/go/dockerfile/rule/";

/// What is to be done with a Dockerfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Say what could be better.
    Check,
    /// Say what the target can be told.
    Outline,
    /// List the stages.
    Targets,
    /// List these methods.
    Describe,
}

/// What `--call` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// What to do.
    pub method: Method,
    /// Print a document instead of text.
    pub json: bool,
    /// Warnings do not count as a failure.
    pub ignore_status: bool,
}

impl Call {
    /// Reads `METHOD[,format=json|text][,ignorestatus=true]`; nothing means that the image is built.
    pub fn parse(word: &str) -> Result<Option<Self>> {
        let (mut method, mut json, mut ignore_status) = (None, false, false);
        for field in csv::fields(if word.is_empty() { "build" } else { word })? {
            match field.split_once('=') {
                Some(("format", "json")) => json = true,
                Some(("format", "" | "text")) => json = false,
                Some(("format", other)) => {
                    return Err(Failure::new(format!("invalid format {other:?} of --call")).hint("text or json"));
                }
                Some(("ignorestatus", value)) => {
                    let bad = || Failure::new(format!("invalid ignorestatus print value: {value}"));
                    ignore_status = go_bool(value).ok_or_else(bad)?;
                }
                Some(_) => return Err(Failure::new(format!("invalid print field: {field}"))),
                None if method.is_some() => return Err(Failure::new(format!("invalid print value: {word}"))),
                None => method = Some(field),
            }
        }
        let method = match method.as_deref().unwrap_or("build") {
            "build" => return Ok(None),
            "check" | "lint" => Method::Check,
            "outline" => Method::Outline,
            "targets" => Method::Targets,
            "subrequests.describe" => Method::Describe,
            other => {
                let failure = Failure::new(format!("unsupported request frontend.{other}"));
                return Err(failure.hint("build, check, outline, targets or subrequests.describe"));
            }
        };
        Ok(Some(Self { method, json, ignore_status }))
    }

    /// Does it. `name` and `place` are what the Dockerfile is called, and where it lies as people see it.
    pub fn answer(
        self,
        session: &mut Session,
        engine: &Engine,
        (name, place): (&str, &str),
        request: &BuildRequest,
    ) -> Result<Exit> {
        let (text, native) = (&request.dockerfile, &engine.platform());
        if self.method == Method::Check {
            return self.check(session, engine, if self.json { name } else { place }, request);
        }
        let answer = match self.method {
            Method::Outline => {
                let outline = outline(request, native).map_err(|error| verify::told(session, error, name, text))?;
                if self.json { document(&OutlineDocument::of(&outline, text)) } else { shown_outline(&outline) }
            }
            Method::Targets => {
                let file = parse(session, name, text)?;
                if self.json { document(&Targets::of(&file, text)) } else { shown_targets(&file) }
            }
            Method::Check | Method::Describe if self.json => document(&methods()),
            Method::Check | Method::Describe => {
                let row = |(name, about): &(&str, &str)| format!("{name}\t{VERSION}\t{about}\n");
                let rows: String = METHODS.iter().map(row).collect();
                tabs::align_closely(&format!("NAME\tVERSION\tDESCRIPTION\n{rows}"), 1)
            }
        };
        session.out.write_all(answer.as_bytes())?;
        Ok(Exit::SUCCESS)
    }

    /// Says what could be better.
    fn check(self, session: &mut Session, engine: &Engine, name: &str, request: &BuildRequest) -> Result<Exit> {
        let text = &request.dockerfile;
        let Findings { warnings, error } = check(engine, request);
        if self.json {
            let document = document(&Lint::of(&warnings, error.as_ref(), name, text));
            session.out.write_all(document.as_bytes())?;
        }
        if !self.json && (error.is_none() || !warnings.is_empty()) {
            session.out.write_all(shown_check(&warnings, name, text).as_bytes())?;
        }
        if let Some(error) = error {
            if !self.json && !warnings.is_empty() {
                session.out.write_all(b"\n")?;
            }
            return Err(verify::told(session, error, name, text));
        }
        Ok(if warnings.is_empty() || self.ignore_status { Exit::SUCCESS } else { Exit::FAILURE })
    }
}

fn parse(session: &mut Session, name: &str, text: &str) -> Result<Dockerfile> {
    Dockerfile::parse(text).map_err(|error| verify::told(session, BuildError::outside(error), name, text))
}

fn shown_check(warnings: &[Warning], name: &str, text: &str) -> String {
    let mut shown = match warnings.len() {
        0 => return "Check complete, no warnings found.\n".to_owned(),
        1 => "Check complete, 1 warning has been found!\n".to_owned(),
        count => format!("Check complete, {count} warnings have been found!\n"),
    };
    for warning in warnings {
        let place = excerpt(name, text, (warning.line, warning.last_line));
        let page = Some(url(warning.rule)).filter(|url| !url.is_empty()).map(|url| format!(" - {url}"));
        let page = page.unwrap_or_default();
        shown.push_str(&format!("\nWARNING: {}{page}\n{}\n{place}", warning.rule, warning.message));
    }
    shown
}

fn shown_targets(file: &Dockerfile) -> String {
    let mut rows = "TARGET\tDESCRIPTION\n".to_owned();
    for (index, stage) in file.stages.iter().enumerate() {
        let name = match (stage.name.as_str(), index + 1 == file.stages.len()) {
            ("", true) => "(default)".to_owned(),
            (name, true) => format!("{name} (default)"),
            (name, false) => name.to_owned(),
        };
        rows.push_str(&format!("{name}\t{}\n", stage.description));
    }
    tabs::align_closely(&rows, 1)
}

fn shown_outline(outline: &Outline) -> String {
    let mut shown = String::new();
    if !outline.name.is_empty() || !outline.description.is_empty() {
        let name = if outline.name.is_empty() { "(default)" } else { &outline.name };
        let mut rows = format!("TARGET:\t{name}\n");
        if !outline.description.is_empty() {
            rows.push_str(&format!("DESCRIPTION:\t{}\n", outline.description));
        }
        shown.push_str(&format!("{}\n", tabs::align_closely(&rows, 1)));
    }
    let mounts = |title: &str, mounts: &[OutlineMount]| {
        let row = |mount: &OutlineMount| format!("{}\t{}\n", mount.id, if mount.required { "true" } else { "" });
        (format!("{title}\tREQUIRED\n"), mounts.iter().map(row).collect::<String>())
    };
    let arguments = outline.arguments.iter().map(|argument| {
        let (name, value, description) = (&argument.name, &argument.value, &argument.description);
        format!("{name}\t{value}\t{description}\n")
    });
    for (head, rows) in [
        ("BUILD ARG\tVALUE\tDESCRIPTION\n".to_owned(), arguments.collect()),
        mounts("SECRET", &outline.secrets),
        mounts("SSH", &outline.agents),
    ] {
        if !rows.is_empty() {
            shown.push_str(&format!("{}\n", tabs::align_closely(&(head + &rows), 3)));
        }
    }
    shown
}

/// Where a rule is explained: `JSONArgsRecommended` as `json-args-recommended`; nothing if it is not.
pub(super) fn url(rule: &str) -> String {
    if rule == "InvalidBaseImagePlatform" {
        return String::new();
    }
    let letters: Vec<char> = rule.chars().collect();
    let mut name = String::new();
    for (at, letter) in letters.iter().enumerate() {
        let ends_a_word =
            at > 0 && (letters[at - 1].is_lowercase() || letters.get(at + 1).is_some_and(|c| c.is_lowercase()));
        if letter.is_uppercase() && ends_a_word {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    format!("{RULES}{name}/")
}

/// A document as Go prints it.
fn document(value: &impl Serialize) -> String {
    let text = serde_json::to_string_pretty(value).expect("strings and numbers always print");
    // Go writes these so that a browser takes nothing of it for its own; they stand in strings only.
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026") + "\n"
}

/// What else is said of the methods.
fn methods() -> Vec<MethodDocument> {
    let method = |(name, about): &(&str, &'static str)| {
        let kinds: &[&str] = match *name {
            "lint" => &["result.json", "result.txt", "result.statuscode"],
            _ => &["result.json", "result.txt"],
        };
        MethodDocument {
            name: format!("frontend.{name}"),
            version: VERSION,
            kind: "rpc",
            description: about,
            opts: match *name {
                "outline" => Some(vec![NamedDocument { name: "target", description: "Target build stage" }]),
                "subrequests.describe" => None,
                _ => Some(Vec::new()),
            },
            inputs: (),
            metadata: kinds.iter().map(|name| NamedDocument { name, description: "" }).collect(),
            refs: (),
        }
    };
    METHODS.iter().map(method).collect()
}

#[derive(Serialize)]
struct MethodDocument {
    name: String,
    version: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    description: &'static str,
    opts: Option<Vec<NamedDocument>>,
    /// Nobody has any: `null`.
    inputs: (),
    metadata: Vec<NamedDocument>,
    refs: (),
}

#[derive(Serialize)]
struct NamedDocument {
    name: &'static str,
    description: &'static str,
}

/// Lines of the Dockerfile, each as a range of its own.
#[derive(Default, Serialize)]
struct Location {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ranges: Vec<Range>,
}

#[derive(Serialize)]
struct Range {
    start: Position,
    end: Position,
}

#[derive(Clone, Copy, Serialize)]
struct Position {
    line: usize,
}

impl Location {
    fn of((first, last): (usize, usize)) -> Self {
        let range = |line| Range { start: Position { line }, end: Position { line } };
        Self { ranges: (first..=last.max(first)).map(range).collect() }
    }
}

#[derive(Serialize)]
struct OutlineDocument<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    args: Vec<ArgumentDocument<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<MountDocument<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh: Vec<MountDocument<'a>>,
    sources: [String; 1],
}

#[derive(Serialize)]
struct ArgumentDocument<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    value: &'a str,
    location: Location,
}

#[derive(Serialize)]
struct MountDocument<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    required: bool,
    location: Location,
}

impl<'a> OutlineDocument<'a> {
    fn of(outline: &'a Outline, text: &str) -> Self {
        let mounts = |mounts: &'a [OutlineMount]| {
            let mount = |mount: &'a OutlineMount| MountDocument {
                name: &mount.id,
                required: mount.required,
                location: Location::of(mount.lines),
            };
            mounts.iter().map(mount).collect()
        };
        let args = outline.arguments.iter().map(|argument| ArgumentDocument {
            name: &argument.name,
            description: &argument.description,
            value: &argument.value,
            location: Location::of(argument.lines),
        });
        Self {
            name: &outline.name,
            description: &outline.description,
            args: args.collect(),
            secrets: mounts(&outline.secrets),
            ssh: mounts(&outline.agents),
            sources: [BASE64.encode(text)],
        }
    }
}

#[derive(Serialize)]
struct Targets<'a> {
    targets: Vec<Target<'a>>,
    sources: [String; 1],
}

#[derive(Serialize)]
struct Target<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    default: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    description: &'a str,
    base: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    platform: &'a str,
    location: Location,
}

impl<'a> Targets<'a> {
    fn of(file: &'a Dockerfile, text: &str) -> Self {
        let target = |(index, stage): (usize, &'a Stage)| Target {
            name: &stage.name,
            default: index + 1 == file.stages.len(),
            description: &stage.description,
            base: &stage.base,
            platform: &stage.platform,
            location: Location::of((stage.line, stage.last_line)),
        };
        Self { targets: file.stages.iter().enumerate().map(target).collect(), sources: [BASE64.encode(text)] }
    }
}

#[derive(Serialize)]
struct Lint<'a> {
    /// `null` if there are none.
    warnings: Option<Vec<WarningDocument<'a>>>,
    sources: [SourceDocument<'a>; 1],
    #[serde(rename = "buildError", skip_serializing_if = "Option::is_none")]
    error: Option<ErrorDocument>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WarningDocument<'a> {
    rule_name: &'a str,
    description: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    url: String,
    detail: &'a str,
    location: Location,
}

#[derive(Serialize)]
struct SourceDocument<'a> {
    filename: &'a str,
    data: String,
    language: &'static str,
}

#[derive(Serialize)]
struct ErrorDocument {
    message: String,
    location: Location,
}

impl<'a> Lint<'a> {
    fn of(warnings: &'a [Warning], error: Option<&BuildError>, name: &'a str, text: &str) -> Self {
        let warning = |warning: &'a Warning| WarningDocument {
            rule_name: warning.rule,
            description: warning.reason,
            url: url(warning.rule),
            detail: &warning.message,
            location: Location::of((warning.line, warning.last_line)),
        };
        let error = error.map(|error| ErrorDocument {
            message: message(error),
            location: error.lines.map(Location::of).unwrap_or_default(),
        });
        let source = SourceDocument { filename: name, data: BASE64.encode(text), language: "Dockerfile" };
        let warnings = Some(warnings.iter().map(warning).collect()).filter(|warnings: &Vec<_>| !warnings.is_empty());
        Self { warnings, sources: [source], error }
    }
}

/// The error with the causes that it has.
fn message(error: &BuildError) -> String {
    let said = strata_types::sentence(&*error.problem);
    match error.hint.as_ref().filter(|hint| hint.starts_with("did you mean ")) {
        Some(hint) => format!("{said} ({hint})"),
        None => said,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_formats() {
        let check = |word: &str, expected: Option<(Method, bool, bool)>| {
            let found = Call::parse(word).unwrap().map(|call| (call.method, call.json, call.ignore_status));
            assert_eq!(found, expected, "{word}");
        };
        check("", None);
        check("build", None);
        check("check", Some((Method::Check, false, false)));
        check("lint,ignorestatus=1", Some((Method::Check, false, true)));
        check("format=json,outline", Some((Method::Outline, true, false)));
        check("targets,format=text", Some((Method::Targets, false, false)));
        check("subrequests.describe", Some((Method::Describe, false, false)));
        for (bad, says) in [
            ("magic", "unsupported request frontend.magic"),
            ("outline,targets", "invalid print value: outline,targets"),
            ("outline,colour=red", "invalid print field: colour=red"),
            ("outline,format=xml", "invalid format \"xml\" of --call"),
            ("check,ignorestatus=x", "invalid ignorestatus print value: x"),
        ] {
            assert_eq!(Call::parse(bad).unwrap_err().error.unwrap().to_string(), says);
        }
    }

    #[test]
    fn rules_are_explained_where_docker_explains_them() {
        for (rule, page) in [
            ("JSONArgsRecommended", "json-args-recommended"),
            ("FromAsCasing", "from-as-casing"),
            ("SecretsUsedInArgOrEnv", "secrets-used-in-arg-or-env"),
        ] {
            assert_eq!(url(rule), format!("https://docs.docker.com/go/dockerfile/rule/{page}/"));
        }
    }
}

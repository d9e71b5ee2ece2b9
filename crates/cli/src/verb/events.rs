//! `strata events`: get real time events.

use jiff::Timestamp;
use strata_engine::events::{Event, Kind, Span};

use crate::filter::{self, Filter, Filters};
use crate::format;
use crate::format::template::{Template, Value};
use crate::opts;
use crate::verb::prelude::*;

/// What `strata events` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Filter output based on conditions provided
    #[arg(short = 'f', long, value_name = "filter", value_parser = filter::parse)]
    pub filter: Vec<Filter>,
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, long)]
    pub format: Option<String>,
    /// Show all events created since timestamp
    #[arg(long)]
    pub since: Option<String>,
    /// Stream events until this timestamp
    #[arg(long)]
    pub until: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Get real time events";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let filters = Filters::new(&self.filter, FILTERS)?;
        let time = |text: &Option<String>| -> Result<Option<Timestamp>> {
            Ok(text
                .as_deref()
                .filter(|text| !text.is_empty())
                .map(|text| opts::time::parse(text, session.now(), session.zone()))
                .transpose()?)
        };
        let mut span = Span { since: time(&self.since)?, until: time(&self.until)? };
        if span.until.is_some_and(|until| until <= session.now()) && span.since.is_none() {
            // What was there is asked for.
            span.since = Some(Timestamp::UNIX_EPOCH);
        }
        self.check_format(session.now())?;
        let engine = session.engine()?;
        let mut written = Ok(());
        engine.events(span, None, &mut |event| {
            if fits(&filters, &event) {
                written = self.write(session, &event);
            }
            written.is_ok()
        })?;
        written?;
        Ok(Exit::SUCCESS)
    }
}

/// What `--filter` takes.
const FILTERS: &[&str] = &[
    "config",
    "container",
    "daemon",
    "event",
    "image",
    "label",
    "label!",
    "network",
    "node",
    "plugin",
    "scope",
    "secret",
    "service",
    "type",
    "volume",
];
/// Of kinds of things that there are not here.
const NOTHING: &[&str] = &["config", "daemon", "node", "plugin", "secret", "service"];

impl Args {
    /// Refuses a template that fits no event, before there is one.
    fn check_format(&self, time: Timestamp) -> Result<()> {
        let Some(source) = self.format.as_deref().filter(|format| !matches!(*format, "" | "json")) else {
            return Ok(());
        };
        let some = String::from("some");
        let attributes = [(String::from("image"), some.clone())].into();
        let event = Event { kind: Kind::Container, action: some.clone(), id: some, attributes, time };
        let event = typed(&event)?;
        let rendered = Template::parse(source).and_then(|template| template.render(&event));
        rendered.map(drop).map_err(|error| Failure::new(format!("Error parsing format: {error}")).exit(Exit::TEMPLATE))
    }

    fn write(&self, session: &mut Session, event: &Event) -> Result<()> {
        let text = match self.format.as_deref().unwrap_or_default() {
            "" => line(event, session.zone()),
            "json" | "{{json .}}" => format!("{}\n", event.json()),
            template => format::document(Template::parse(template), &typed(event)?)?,
        };
        session.out.write_all(text.as_bytes())?;
        Ok(session.out.flush()?)
    }
}

fn typed(event: &Event) -> Result<Value> {
    Ok(Value::typed("*events.Message", &serde_json::from_str(&event.json())?))
}

/// `TIME TYPE ACTION ID (NAME=VALUE, …)`.
fn line(event: &Event, zone: &jiff::tz::TimeZone) -> String {
    let time = event.time.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S.%9f%:z");
    let attributes: Vec<String> = event.attributes.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let shown = if attributes.is_empty() { String::new() } else { format!(" ({})", attributes.join(", ")) };
    format!("{time} {} {} {}{shown}\n", event.kind.as_str(), event.action, event.id)
}

fn fits(filters: &Filters, event: &Event) -> bool {
    let attribute = |name: &str| event.attributes.get(name).map(String::as_str);
    let is = |kind: &str, wanted: &str| {
        event.kind.as_str() == kind && (event.id.starts_with(wanted) || attribute("name") == Some(wanted))
    };
    let image = |wanted: &str| {
        let named = |name: &str| name == wanted || name.split([':', '@']).next() == Some(wanted);
        named(&event.id) || attribute("image").is_some_and(named) || (is("image", wanted))
    };
    // `health_status: healthy` and `exec_create: COMMAND` go by what is before the colon, too.
    let action = |wanted: &str| event.action == wanted || event.action.split(':').next() == Some(wanted);
    filters.fits("container", |wanted| is("container", wanted) || attribute("container") == Some(wanted))
        && filters.fits("volume", |wanted| is("volume", wanted))
        && filters.fits("network", |wanted| is("network", wanted))
        && filters.fits("image", image)
        && filters.fits("event", action)
        && filters.fits("type", |wanted| event.kind.as_str() == wanted)
        && filters.fits("scope", |wanted| wanted == "local")
        && NOTHING.iter().all(|kind| filters.fits(kind, |_| false))
        && filters.fits_labels(attribute)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strata_engine::events::Kind;

    fn event() -> Event {
        let attributes = [("image", "box:1"), ("name", "web"), ("color", "blue")];
        Event {
            kind: Kind::Container,
            action: "health_status: healthy".to_owned(),
            id: "abcdef".to_owned(),
            attributes: attributes.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            time: "2024-03-01T12:00:00.5Z".parse().unwrap(),
        }
    }

    #[test]
    fn a_line_is_dockers() {
        let expected = "2024-03-01T12:00:00.500000000+00:00 container health_status: healthy abcdef (color=blue, image=box:1, name=web)\n";
        assert_eq!(line(&event(), &jiff::tz::TimeZone::UTC), expected);
    }

    #[test]
    fn filters_choose() {
        let check = |text: &str| fits(&Filters::new(&[filter::parse(text).unwrap()], FILTERS).unwrap(), &event());
        for yes in
            ["container=web", "container=abc", "event=health_status", "image=box", "label=color=blue", "type=container"]
        {
            assert!(check(yes), "{yes}");
        }
        for no in ["container=we", "event=die", "image=bo", "label=color=red", "type=image", "volume=web"] {
            assert!(!check(no), "{no}");
        }
    }
}

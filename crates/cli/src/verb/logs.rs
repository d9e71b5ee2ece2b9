//! `strata logs`: fetch the logs of a container.

use jiff::Timestamp;
use strata_runtime::Stream;
use strata_runtime::logs::{Entry, Filter};

use crate::opts;
use crate::verb::prelude::*;

/// What `strata logs` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Show extra details provided to logs
    #[arg(long)]
    pub details: bool,
    /// Follow log output
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// Show logs since timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long)]
    pub since: Option<String>,
    /// Number of lines to show from the end of the logs
    #[arg(short = 'n', long, default_value = "all")]
    pub tail: String,
    /// Show timestamps
    #[arg(short = 't', long)]
    pub timestamps: bool,
    /// Show logs before a timestamp (e.g. "2013-01-02T13:23:37Z") or relative (e.g. "42m" for 42 minutes)
    #[arg(long)]
    pub until: Option<String>,
    /// The container
    pub container: String,
}

impl Verb for Args {
    const ABOUT: &str = "Fetch the logs of a container";
    const USAGE: &str = "[OPTIONS] CONTAINER";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let engine = session.engine()?;
        let known = engine.container(&self.container)?;
        if known.document.host.log_config.kind == "none" {
            return Err(Failure::new("configured logging driver does not support reading"));
        }
        let time = |option: &str, text: &Option<String>| -> Result<Option<Timestamp>> {
            let parsed = text
                .as_deref()
                .filter(|text| !text.is_empty())
                .map(|text| opts::time::parse(text, session.now(), session.zone()));
            parsed.transpose().map_err(|error| Failure::new(format!("invalid value for \"{option}\": {error}")))
        };
        let filter = Filter {
            // What is no number means all, as with Docker.
            tail: self.tail.parse().ok(),
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            follow: self.follow,
        };
        let tty = known.document.config.tty;
        let mut written = Ok(());
        engine.process(known.id()).logs().read(&filter, None, &mut |entry| {
            written = self.write(session, tty, &entry);
            written.is_ok()
        })?;
        written?;
        Ok(Exit::SUCCESS)
    }
}

impl Args {
    fn write(&self, session: &mut Session, tty: bool, entry: &Entry) -> Result<()> {
        let mut head = String::new();
        if self.timestamps {
            head = format!("{:.9} ", entry.time);
        }
        if self.details {
            let details: Vec<String> = entry.details.iter().map(|(name, value)| format!("{name}={value}")).collect();
            head.push_str(&details.join(","));
            head.push(' ');
        }
        let to_stderr = entry.stream == Stream::Stderr && !tty;
        if to_stderr {
            // So that lines keep their order where both end up in one place.
            session.out.flush()?;
        }
        let out = if to_stderr { &mut session.err } else { &mut session.out };
        out.write_all(head.as_bytes())?;
        out.write_all(&entry.bytes)?;
        if self.follow {
            out.flush()?;
        }
        Ok(())
    }
}

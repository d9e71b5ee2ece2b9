//! `strata runtime ps`: list the processes of a container.

use std::process::Command;

use super::runtime;
use crate::verb::prelude::*;

/// What `strata runtime ps` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// "table" or "json"
    #[arg(short = 'f', long, default_value = "table")]
    pub format: String,
    /// The container's id
    pub id: String,
    /// Options of ps
    #[arg(allow_hyphen_values = true)]
    pub options: Vec<String>,
}

impl Verb for Args {
    const ABOUT: &str = "List the processes of a container";
    const USAGE: &str = "[OPTIONS] ID [PS OPTIONS]";
    const OPTIONS_END_AT_NAME: bool = true;

    fn run(self, session: &mut Session) -> Result<Exit> {
        let pids = runtime::open(session)?.processes(&self.id)?;
        match self.format.as_str() {
            "json" => writeln!(session.out, "{}", serde_json::to_string(&pids)?)?,
            "table" => {
                let options = if self.options.is_empty() { vec!["-ef".to_owned()] } else { self.options };
                let output = Command::new("ps").args(&options).output()?;
                if !output.status.success() {
                    return Err(Failure::new(String::from_utf8_lossy(&output.stderr).trim_end()));
                }
                let text = String::from_utf8_lossy(&output.stdout);
                let mut lines = text.lines();
                let head = lines.next().unwrap_or_default();
                let column = head.split_whitespace().position(|word| word == "PID");
                let column = column.ok_or_else(|| Failure::new("couldn't find PID field in ps output"))?;
                writeln!(session.out, "{head}")?;
                let pid = |line: &str| line.split_whitespace().nth(column).and_then(|pid| pid.parse::<i32>().ok());
                for line in lines.filter(|line| pid(line).is_some_and(|pid| pids.contains(&pid))) {
                    writeln!(session.out, "{line}")?;
                }
            }
            other => return Err(Failure::new(format!("invalid format option: {other}"))),
        }
        Ok(Exit::SUCCESS)
    }
}

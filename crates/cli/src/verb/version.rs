//! `strata version`: shows which strata this is.

use serde_json::json;

use crate::format;
use crate::format::template::{Template, Value};
use crate::verb::prelude::*;

/// The version and what it was built from, as `strata --version` shows it.
pub const LONG: &str = concat!(env!("CARGO_PKG_VERSION"), ", build ", env!("STRATA_BUILD"));

/// What `strata version` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to print it
    #[arg(help = INSPECT_FORMAT_HELP, short = 'f', long)]
    pub format: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Show the strata version information";
    const USAGE: &str = "[OPTIONS]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let (version, build) = (env!("CARGO_PKG_VERSION"), env!("STRATA_BUILD"));
        let native = strata_types::Platform::native();
        let (os, arch) = (native.os.as_str(), native.architecture.as_str());
        let text = match self.format.as_deref() {
            None | Some("") => {
                format!("strata:\n Version:    {version}\n Git commit: {build}\n OS/Arch:    {os}/{arch}\n")
            }
            Some(format) => {
                // Scripts ask for either side; here they are the same program.
                let uname = rustix::system::uname();
                let kernel = uname.release().to_string_lossy();
                let client = json!({"Version": version, "GitCommit": build, "Os": os, "Arch": arch});
                let server =
                    json!({"Version": version, "GitCommit": build, "Os": os, "Arch": arch, "KernelVersion": kernel});
                let format = if format == "json" { "{{json .}}" } else { format };
                let both = Value::typed("system.versionInfo", &json!({"Client": client, "Server": server}));
                format::document(Template::named("version", format), &both)?
            }
        };
        session.out.write_all(text.as_bytes())?;
        Ok(Exit::SUCCESS)
    }
}

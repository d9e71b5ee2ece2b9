//! `strata cp`: copy files/folders between a container and the local filesystem.

use std::path::{Path, PathBuf};

use strata_engine::container::CopyWish;
use strata_types::Silent;

use crate::format::size;
use crate::streams::{Output, input};
use crate::verb::prelude::*;

/// What `strata cp` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Archive mode (copy all uid/gid information)
    #[arg(short = 'a', long)]
    pub archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Suppress progress output during copy. Progress output is automatically suppressed if no terminal is attached
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// What to take
    pub source: String,
    /// Where to put it
    pub destination: String,
}

impl Verb for Args {
    const ABOUT: &str = "Copy files/folders between a container and the local filesystem";
    const USAGE: &str =
        "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tstrata cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH";

    fn run(self, session: &mut Session) -> Result<Exit> {
        // Joined to the working directory, nothing would be all of it.
        for (end, what) in [(&self.source, "source"), (&self.destination, "destination")] {
            if end.is_empty() {
                return Err(Failure::new(format!("{what} can not be empty")));
            }
        }
        let wish = CopyWish { follow_link: self.follow_link, archive: self.archive };
        let engine = session.engine()?;
        let bytes = match (End::parse(&self.source), End::parse(&self.destination)) {
            (End::Container(..), End::Container(..)) => {
                return Err(Failure::new("copying between containers is not supported"));
            }
            (End::Host(_), End::Host(_)) => return Err(Failure::new("must specify at least one container source")),
            (End::Container(_, ""), _) => return Err(Failure::new("bad parameter: path cannot be empty")),
            (End::Host("-"), End::Container(_, "")) => {
                return Err(Failure::new(format!("destination \"{}\" must be a directory", self.destination)));
            }
            (End::Host(_), End::Container(_, "")) => return Err(Failure::new("no such directory")),
            (End::Container(name, path), End::Host("-")) => {
                if session.terminal().stdout {
                    return Err(Failure::new("refusing to write an archive to a terminal").hint("redirect the output"));
                }
                let mut output = Output::open(session, None)?;
                let copied = engine.copy_out(name, Path::new(path), output.file(), wish, &Silent);
                return copied.map(|()| Exit::SUCCESS).map_err(|error| output.fail(error));
            }
            (End::Host("-"), End::Container(name, path)) => {
                engine.copy_in(name, Path::new(path), &mut input(None)?, &Silent)?;
                return Ok(Exit::SUCCESS);
            }
            (End::Container(name, path), End::Host(to)) => {
                let to = typed(&session.cwd()?, to);
                engine.copy_from(name, Path::new(path), &to, wish, &Silent)?
            }
            (End::Host(from), End::Container(name, path)) => {
                let from = typed(&session.cwd()?, from);
                engine.copy_to(name, &from, Path::new(path), wish, &Silent)?
            }
        };
        if !self.quiet && session.terminal().stderr {
            let to = &self.destination;
            writeln!(session.err, "Successfully copied {} to {to}", size::human(bytes))?;
        }
        Ok(Exit::SUCCESS)
    }
}

/// One end of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End<'a> {
    /// `CONTAINER:PATH`
    Container(&'a str, &'a str),
    /// A path of the host, or `-`.
    Host(&'a str),
}

impl<'a> End<'a> {
    /// A colon makes it a container's, unless the path is absolute or begins with a dot.
    fn parse(text: &'a str) -> Self {
        match text.split_once(':') {
            Some((name, path)) if !text.starts_with('/') && !text.starts_with('.') && !name.is_empty() => {
                Self::Container(name, path)
            }
            _ => Self::Host(text),
        }
    }
}

/// A path seen from the working directory; a slash or `/.` at its end stays, because it means something.
fn typed(cwd: &Path, path: &str) -> PathBuf {
    let absolute = cwd.join(path);
    if path == "." { cwd.join("./.") } else { absolute }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_names_a_container() {
        assert_eq!(End::parse("web:/etc"), End::Container("web", "/etc"));
        assert_eq!(End::parse("./a:b"), End::Host("./a:b"));
        assert_eq!(End::parse("/a:b"), End::Host("/a:b"));
        assert_eq!(End::parse("-"), End::Host("-"));
        assert_eq!(typed(Path::new("/w"), "d/."), Path::new("/w/d/."));
    }
}

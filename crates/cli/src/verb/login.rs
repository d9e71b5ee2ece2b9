//! `strata login`: log in to a registry.

use crate::verb::prelude::*;
use std::io::Read as _;

/// What `strata login` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Password
    #[arg(short = 'p', long)]
    pub password: Option<String>,
    /// Take the password from stdin
    #[arg(long)]
    pub password_stdin: bool,
    /// Username
    #[arg(short = 'u', long)]
    pub username: Option<String>,
    /// The registry
    pub server: Option<String>,
}

impl Verb for Args {
    const ABOUT: &str = "Log in to a registry";
    const USAGE: &str = "[OPTIONS] [SERVER]";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let host = registry_of(self.server.as_deref());
        let engine = session.engine()?;
        let user = match self.username.clone() {
            Some(user) => user,
            None if self.password_stdin => return Err(Failure::new("Must provide --username with --password-stdin")),
            None => ask_user(session, engine.known_user(&host)?)?,
        };
        let password = self.password_for(session)?;
        if user.is_empty() || password.is_empty() {
            return Err(Failure::new("a user name and a password are required"));
        }
        let login = engine.login(&host, &user, &password)?;
        if let Some(file) = login.file {
            writeln!(session.err, "WARNING! Your password will be stored unencrypted in {}.", file.display())?;
            writeln!(session.err, "Configure a credential helper to remove this warning. See")?;
            writeln!(session.err, "https://docs.docker.com/engine/reference/commandline/login/#credential-stores\n")?;
        }
        writeln!(session.out, "Login Succeeded")?;
        Ok(Exit::SUCCESS)
    }
}

impl Args {
    fn password_for(&self, session: &mut Session) -> Result<String> {
        if self.password.is_some() {
            writeln!(session.err, "WARNING! Using --password via the CLI is insecure. Use --password-stdin.")?;
        }
        match &self.password {
            Some(_) if self.password_stdin => {
                Err(Failure::new("--password and --password-stdin are mutually exclusive"))
            }
            Some(password) => Ok(password.clone()),
            None if self.password_stdin => {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text)?;
                Ok(text.trim_end_matches(['\r', '\n']).to_owned())
            }
            None if session.terminal().stdin => ask_password(session),
            None => Err(Failure::new("Cannot perform an interactive login from a non TTY device")),
        }
    }
}

/// The registry that is meant when none is named.
pub(super) const DEFAULT: &str = "docker.io";
/// What Docker calls it.
pub(super) const DEFAULT_URL: &str = "https://index.docker.io/v1/";

/// A registry's host, from whatever people type for it.
pub(super) fn registry_of(server: Option<&str>) -> String {
    let Some(server) = server.filter(|server| !server.is_empty()) else { return String::from(DEFAULT) };
    let bare = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    let host = bare.split('/').next().unwrap_or(bare);
    if matches!(host, "index.docker.io" | "registry-1.docker.io") { String::from(DEFAULT) } else { host.to_owned() }
}

fn ask_user(session: &mut Session, known: Option<String>) -> Result<String> {
    if !session.terminal().stdin {
        return Err(Failure::new("Cannot perform an interactive login from a non TTY device"));
    }
    match &known {
        Some(known) => write!(session.out, "Username ({known}): ")?,
        None => write!(session.out, "Username: ")?,
    }
    session.out.flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    let answer = answer.trim();
    Ok(if answer.is_empty() { known.unwrap_or_default() } else { answer.to_owned() })
}

/// Asks for a password; the terminal does not show it.
fn ask_password(session: &mut Session) -> Result<String> {
    write!(session.out, "Password: ")?;
    session.out.flush()?;
    let stdin = std::io::stdin();
    let shown = rustix::termios::tcgetattr(&stdin)?;
    let mut hidden = shown.clone();
    hidden.local_modes.remove(rustix::termios::LocalModes::ECHO);
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &hidden)?;
    let mut answer = String::new();
    let read = stdin.read_line(&mut answer);
    rustix::termios::tcsetattr(&stdin, rustix::termios::OptionalActions::Now, &shown)?;
    writeln!(session.out)?;
    read?;
    Ok(answer.trim_end_matches(['\r', '\n']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_is_known_by_many_names() {
        assert_eq!(registry_of(None), "docker.io");
        assert_eq!(registry_of(Some("https://index.docker.io/v1/")), "docker.io");
        assert_eq!(registry_of(Some("http://localhost:5000/v2/")), "localhost:5000");
    }
}

//! One run of the program: its environment, working directory, clock, terminal and output. Nothing else in this crate
//! reads them, so that everything else can be tried with made-up ones.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, IsTerminal as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use strata_engine::{Engine, Proxies, Settings, rootless};
use strata_runtime::{Ahead, New};
use strata_types::ContainerId;

use crate::exit::Result;
use crate::globals::Globals;
use crate::verb::Starts;

/// What a verb may know about its surroundings.
pub struct Session {
    /// Data for people and programs: stdout, buffered; flushed at the end.
    pub out: Box<dyn Write + Send>,
    /// Talk: stderr.
    pub err: Box<dyn Write + Send>,
    /// Options before the verb.
    pub globals: Globals,
    /// Options between `runtime` and its verb.
    pub runtime: crate::verb::runtime::Globals,
    /// How the verb was called, `strata image ls`, for messages.
    pub invoked_as: String,
    /// The shim of a container that this run is going to start.
    pub ahead: Option<Ahead>,
    environment: Environment,
    terminal: Terminal,
    /// Whoever runs it is not root.
    person: bool,
    now: Option<Timestamp>,
    zone: OnceCell<TimeZone>,
    settings: OnceCell<Settings>,
}

/// Which of the streams are terminals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminal {
    /// Standard input is one.
    pub stdin: bool,
    /// Standard output is one.
    pub stdout: bool,
    /// Standard error is one.
    pub stderr: bool,
}

enum Environment {
    Process,
    Fixed { variables: BTreeMap<String, String>, cwd: PathBuf },
}

impl Session {
    /// The session of this process.
    pub fn of_process() -> Self {
        let terminal = Terminal {
            stdin: io::stdin().is_terminal(),
            stdout: io::stdout().is_terminal(),
            stderr: io::stderr().is_terminal(),
        };
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            globals: Globals::default(),
            runtime: Default::default(),
            invoked_as: String::from("strata"),
            ahead: None,
            environment: Environment::Process,
            terminal,
            person: !rustix::process::geteuid().is_root(),
            now: None,
            zone: OnceCell::new(),
            settings: OnceCell::new(),
        }
    }

    /// A session that is not this process's: for tests.
    pub fn fixed(
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
        variables: BTreeMap<String, String>,
        cwd: PathBuf,
        now: Timestamp,
    ) -> Self {
        Self {
            out,
            err,
            globals: Globals::default(),
            runtime: Default::default(),
            invoked_as: String::from("strata"),
            ahead: None,
            environment: Environment::Fixed { variables, cwd },
            terminal: Terminal::default(),
            person: false,
            now: Some(now),
            zone: OnceCell::from(TimeZone::UTC),
            settings: OnceCell::new(),
        }
    }

    /// Begins the shim of a container that is going to be started, as early as can be: while nothing is open yet. Somebody
    /// who is not root begins it later, in a user namespace. One that is to be made first has its id from now on, and `words`
    /// of the command line may say what its network will be.
    pub fn expect_starts(&mut self, starts: Starts, words: &[OsString]) {
        if starts == Starts::Nothing || matches!(self.environment, Environment::Fixed { .. }) || self.person {
            return;
        }
        let new = (starts == Starts::New && !says_unusual(words)).then(|| {
            let Settings { root, run_dir, .. } = self.settings();
            let id = ContainerId::from_random(strata_sys::random::bytes());
            New { id, root, run_dir, is_alone: says_alone(words) }
        });
        match Ahead::fork(new) {
            Ok(ahead) => self.ahead = Some(ahead),
            Err(error) => tracing::debug!(%error, "no shim ahead of its container"),
        }
    }

    /// An environment variable, if it is set and is text.
    pub fn variable(&self, name: &str) -> Option<String> {
        match &self.environment {
            Environment::Process => std::env::var(name).ok(),
            Environment::Fixed { variables, .. } => variables.get(name).cloned(),
        }
    }

    /// The working directory.
    pub fn cwd(&self) -> io::Result<PathBuf> {
        match &self.environment {
            Environment::Process => std::env::current_dir(),
            Environment::Fixed { cwd, .. } => Ok(cwd.clone()),
        }
    }

    /// The person's home directory, from `HOME`.
    pub fn home(&self) -> Option<PathBuf> {
        self.path("HOME")
    }

    /// The time now.
    pub fn now(&self) -> Timestamp {
        self.now.unwrap_or_else(Timestamp::now)
    }

    /// The time zone in which times are shown; read when first needed.
    pub fn zone(&self) -> &TimeZone {
        self.zone.get_or_init(TimeZone::system)
    }

    /// Which streams are terminals.
    pub const fn terminal(&self) -> Terminal {
        self.terminal
    }

    /// The terminal's (columns, rows), if standard output is one.
    pub fn terminal_size(&self) -> Option<(u16, u16)> {
        if !self.terminal.stdout {
            return None;
        }
        let size = rustix::termios::tcgetwinsize(io::stdout()).ok()?;
        (size.ws_col > 0).then_some((size.ws_col, size.ws_row))
    }

    /// Docker's `config.json`: in the directory of `--config`, else `$DOCKER_CONFIG/config.json`, else the one in the home directory.
    pub fn docker_config(&self) -> Option<PathBuf> {
        let dir = self.globals.config.clone().map(PathBuf::from).or_else(|| self.path("DOCKER_CONFIG"));
        dir.or_else(|| self.home().map(|home| home.join(".docker"))).map(|dir| dir.join("config.json"))
    }

    /// What the engine is opened with: options, then environment, then the usual places. Found out once, when the options are
    /// known.
    pub fn settings(&self) -> Settings {
        self.settings.get_or_init(|| self.find_settings()).clone()
    }

    fn find_settings(&self) -> Settings {
        let either = |option: &Option<OsString>, name: &str| {
            option.clone().or_else(|| self.variable(name).filter(|value| !value.is_empty()).map(OsString::from))
        };
        let root = either(&self.globals.root, "STRATA_ROOT").map_or_else(|| self.usual_root(), PathBuf::from);
        // Shims look for it from elsewhere.
        let cwd = if root.is_absolute() { None } else { self.cwd().ok() };
        let root = cwd.map_or_else(|| root.clone(), |cwd| cwd.join(&root));
        let run_dir =
            either(&self.globals.run_dir, "STRATA_RUN_DIR").map_or_else(|| self.usual_run_dir(&root), PathBuf::from);
        Settings {
            root,
            run_dir,
            driver: self.globals.storage_driver.clone().or_else(|| self.variable("STRATA_STORAGE_DRIVER")),
            docker_config: self.docker_config(),
            auth_files: self.auth_files(),
            registries_conf: self.path("CONTAINERS_REGISTRIES_CONF"),
            proxies: self.proxies(),
        }
    }

    /// The root directory unless said otherwise: a person's own is among their data.
    fn usual_root(&self) -> PathBuf {
        let data = || self.path("XDG_DATA_HOME").or_else(|| self.home().map(|home| home.join(".local/share")));
        match self.person.then(data).flatten() {
            Some(data) => data.join("strata"),
            None => PathBuf::from(ROOT),
        }
    }

    /// The run directory that belongs to a root directory: two roots never share one.
    fn usual_run_dir(&self, root: &std::path::Path) -> PathBuf {
        let absolute = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
        let digest = strata_types::Digest::sha256(absolute.as_os_str().as_encoded_bytes());
        if !self.person {
            return PathBuf::from("/run/strata").join(digest.short());
        }
        match self.path("XDG_RUNTIME_DIR") {
            Some(running) => running.join("strata").join(digest.short()),
            // Whoever has none has no place that a reboot empties; what is left there is told by its age.
            None => root.join("run"),
        }
    }

    /// Where the containers tools keep credentials (containers-auth.json(5)).
    fn auth_files(&self) -> Vec<PathBuf> {
        let named = self.path("REGISTRY_AUTH_FILE");
        let running = self.path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
        let config = self.path("XDG_CONFIG_HOME").or_else(|| self.home().map(|home| home.join(".config")));
        let kept = config.map(|dir| dir.join("containers/auth.json"));
        named.into_iter().chain(running).chain(kept).collect()
    }

    /// A path in an environment variable; an empty one is none.
    fn path(&self, name: &str) -> Option<PathBuf> {
        self.variable(name).filter(|value| !value.is_empty()).map(PathBuf::from)
    }

    /// The proxies that the environment names, in capitals or not.
    fn proxies(&self) -> Proxies {
        let either = |name: &str| {
            let found = self.variable(&name.to_lowercase()).or_else(|| self.variable(name));
            found.filter(|value| !value.is_empty())
        };
        Proxies {
            http: either("HTTP_PROXY"),
            https: either("HTTPS_PROXY"),
            all: either("ALL_PROXY"),
            none: either("NO_PROXY"),
        }
    }

    /// Opens the engine; for somebody who is not root, in their own user namespace.
    pub fn engine(&self) -> Result<Engine> {
        let settings = self.settings();
        if self.person && !rustix::process::geteuid().is_root() {
            let entered = rootless::enter(&settings)?;
            let unpacks =
                ["run", "create", "pull", "load", "import", "build"].iter().any(|verb| self.invoked_as.ends_with(verb));
            if entered == rootless::Entered::One && unpacks {
                writeln!(io::stderr(), "{ONE_ID}")?;
            }
        }
        Ok(Engine::open(settings)?)
    }
}

/// Said to those who were delegated no ids, when it matters.
const ONE_ID: &str =
    "note: you have no lines in /etc/subuid and /etc/subgid, so in containers there is only root, who owns all files";

/// Where everything is kept, unless said otherwise.
const ROOT: &str = "/var/lib/strata";

/// Whether these words seem to ask for a network with nothing in it. They are not parsed yet, and some may be the program's own:
/// this may be wrong either way.
fn says_alone(words: &[OsString]) -> bool {
    networks(words).any(|network| network == b"none")
}

/// Whether these words seem to ask for namespaces that most containers do not have. Then nothing is made ahead.
fn says_unusual(words: &[OsString]) -> bool {
    const OPTIONS: [&[u8]; 5] = [b"--userns", b"--pid", b"--ipc", b"--uts", b"--runtime"];
    let is_unusual =
        |word: &OsString| OPTIONS.contains(&word.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default());
    words.iter().any(is_unusual)
        || networks(words).any(|network| network == b"host" || network.starts_with(b"container:"))
}

/// What seem to be values of `--network`.
fn networks(words: &[OsString]) -> impl Iterator<Item = &[u8]> {
    words.iter().enumerate().filter_map(|(at, word)| match word.as_bytes() {
        b"--network" | b"--net" => words.get(at + 1).map(|value| value.as_bytes()),
        both => both.strip_prefix(b"--network=").or_else(|| both.strip_prefix(b"--net=")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_ahead_is_guessed_from_words() {
        let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
        for (line, alone, unusual) in [
            ("run debian true", false, false),
            ("run --network none debian", true, false),
            ("run --net=none debian", true, false),
            ("run --network web --network=none debian", true, false),
            ("run --net host debian", false, true),
            ("run --network=container:web debian", false, true),
            ("run --userns auto debian", false, true),
            ("run --network none --pid=host debian", true, true),
            ("run debian --network", false, false),
        ] {
            assert_eq!((says_alone(&words(line)), says_unusual(&words(line))), (alone, unusual), "{line}");
        }
    }
}

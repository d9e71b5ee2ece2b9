//! pasta(1): the network of somebody who is not root.
//!
//! It makes an interface in the container's network namespace and speaks to the outside with ordinary sockets. One process
//! for each container, child of the shim: the kernel ends it with the shim, and the shim with the container.
//!
//! The network namespace is its standard input, because pasta gives up the privileges by which it could open that of
//! another process. It writes its number to its standard output when the network is there.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use strata_sys::process::{self, Child, NamespaceSet};
use strata_sys::signal::{self, Signal};

use crate::error::{Error, Result};
use crate::plan::{Pasta, Protocol, Publish, Published};

/// How long it may take until the network is there.
const READY_WITHIN: Duration = Duration::from_secs(15);
/// The longest complaint that is passed on.
const SAID_BYTES_MAX: usize = 4096;
/// What the interface is called if nobody says: as in other networks.
const INTERFACE: &str = "eth0";

/// A running pasta.
#[derive(Debug)]
pub(crate) struct Helper {
    child: Child,
    /// What it says later goes here and is not read: without a reader, a word of it would end it.
    _said: OwnedFd,
}

impl Helper {
    /// Starts it, and waits until the network is there.
    pub(crate) fn start(pasta: &Pasta, ports: &[Published], namespace: BorrowedFd<'_>) -> Result<Self> {
        let failed = || Error::step::<io::Error>(format!("start {}", pasta.program.display()));
        let words = words(pasta, ports);
        let (helper, ready) = Self::launch(pasta, &words, namespace).map_err(failed())?;
        match is_ready(&ready) {
            Ok(true) => Ok(helper),
            Ok(false) => Err(Error::Pasta(helper.complaint())),
            Err(error) => {
                helper.end();
                Err(failed()(error))
            }
        }
    }

    fn launch(pasta: &Pasta, words: &[String], namespace: BorrowedFd<'_>) -> io::Result<(Self, OwnedFd)> {
        let program = CString::new(pasta.program.as_os_str().as_bytes())?;
        let words =
            std::iter::once(c"pasta".to_owned()).map(Ok).chain(words.iter().map(|text| CString::new(text.as_str())));
        let words: Vec<CString> = words.collect::<std::result::Result<_, _>>()?;
        let (ready, number) = pipe_with(PipeFlags::CLOEXEC)?;
        let (said, complaint) = pipe_with(PipeFlags::CLOEXEC)?;
        // One that talks and talks is not held up by our not listening.
        rustix::io::ioctl_fionbio(&complaint, true)?;
        rustix::io::ioctl_fionbio(&said, true)?;
        let shim = rustix::process::getpid();
        let child = process::clone(NamespaceSet::default(), None, || {
            let prepared = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
                .and_then(|()| process::lead_session())
                .and_then(|()| process::set_standard_streams([namespace, number.as_fd(), complaint.as_fd()]))
                .and_then(|()| process::close_on_exec_from(3));
            // An older pasta takes it for a failure that it finds SIGPIPE ignored.
            signal::reset();
            if prepared.is_ok() && rustix::process::getppid() == Some(shim) {
                process::execute(&program, &words, &[]);
            }
            NOT_EXECUTED
        })?;
        Ok((Self { child, _said: said }, ready))
    }

    /// Readable when it has ended.
    pub(crate) fn ended(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Whether it has ended by itself.
    pub(crate) fn is_over(&self) -> bool {
        !matches!(process::reap(self.child.pidfd.as_fd(), false), Ok(None))
    }

    /// Ends it.
    pub(crate) fn end(self) {
        let pidfd = self.child.pidfd.as_fd();
        let ended = signal::send(pidfd, Signal::KILL).and_then(|()| process::reap(pidfd, true));
        if let Err(errno) = ended {
            tracing::debug!(%errno, "pasta had ended before");
        }
    }

    /// Why it gave up.
    fn complaint(self) -> String {
        let mut text = vec![0; SAID_BYTES_MAX];
        let length = rustix::io::read(&self._said, &mut text).unwrap_or(0);
        self.end();
        let text = String::from_utf8_lossy(&text[..length]).into_owned();
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.contains("to syslog"));
        let said = lines.collect::<Vec<_>>().join("; ");
        if said.is_empty() { String::from("it ended without a word") } else { said }
    }
}

/// The exit code of a copy of the shim that could not become pasta.
const NOT_EXECUTED: u8 = 127;

/// Whether the network is there; not if pasta ended before.
fn is_ready(ready: &OwnedFd) -> io::Result<bool> {
    let patience = Timespec { tv_sec: READY_WITHIN.as_secs() as i64, tv_nsec: 0 };
    let mut fds = [PollFd::new(ready, PollFlags::IN)];
    if poll(&mut fds, Some(&patience))? == 0 {
        return Err(Errno::TIMEDOUT.into());
    }
    Ok(rustix::io::read(ready, &mut [0_u8; 16])? > 0)
}

/// Refuses what it cannot publish.
pub(crate) fn check(ports: &[Publish]) -> Result<()> {
    match ports.iter().any(|port| port.protocol == Protocol::Sctp) {
        true => Err(Error::Invalid("pasta publishes tcp and udp ports only".to_owned())),
        false => Ok(()),
    }
}

/// Its arguments. What somebody asked for goes before what is usual: only what they left open is said.
fn words(pasta: &Pasta, ports: &[Published]) -> Vec<String> {
    let mut words: Vec<String> = vec!["--config-net".into()];
    words.extend(pasta.options.iter().filter(|option| *option != MAP_GATEWAY).cloned());
    let mut publishing = [("-t", "--tcp-ports", false), ("-u", "--udp-ports", false)];
    for port in ports {
        let at = match port.protocol {
            Protocol::Tcp => 0,
            Protocol::Udp | Protocol::Sctp => 1,
        };
        publishing[at].2 = true;
        let numbers = format!("{}:{}", port.host_port, port.port);
        let word = if port.host.is_unspecified() { numbers } else { format!("{}/{numbers}", port.host) };
        let known = |pair: &[String]| pair[0] == publishing[at].0 && pair[1] == word;
        if !words.windows(2).any(known) {
            words.extend([publishing[at].0.to_owned(), word]);
        }
    }
    let asked = |names: &[&str]| {
        pasta.options.iter().any(|option| names.contains(&option.split('=').next().unwrap_or_default()))
    };
    let mut usual = |names: [&str; 2], value: &str| {
        if !asked(&names) {
            words.extend([names[0].to_owned(), value.to_owned()]);
        }
    };
    for (short, long, _) in publishing.into_iter().filter(|(.., published)| !published) {
        usual([short, long], "none");
    }
    usual(["-T", "--tcp-ns"], "none");
    usual(["-U", "--udp-ns"], "none");
    usual(["-I", "--ns-ifname"], INTERFACE);
    // The host's loopback is its own: containers get there only if somebody asks for that.
    if !pasta.options.iter().any(|option| option == MAP_GATEWAY) {
        words.push("--no-map-gw".to_owned());
    }
    let last = ["--no-netns-quit", "--foreground", "--quiet", "--pid", "/dev/stdout", "--netns", "/proc/self/fd/0"];
    words.extend(last.map(str::to_owned));
    words
}

/// Not an option of pasta, but the opposite of one that we give.
const MAP_GATEWAY: &str = "--map-gw";

#[cfg(test)]
mod tests {
    use super::*;

    fn passes(options: &[&str], ports: &[Published], expected: &str) {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let pasta = Pasta { program: "/usr/bin/pasta".into(), options, required: true };
        let last = " --no-netns-quit --foreground --quiet --pid /dev/stdout --netns /proc/self/fd/0";
        assert_eq!(words(&pasta, ports).join(" "), format!("--config-net {expected}{last}"));
    }

    fn port(host: &str, host_port: u16, port: u16, protocol: Protocol) -> Published {
        Published { port, protocol, host: host.parse().unwrap(), host_port }
    }

    #[test]
    fn nothing_is_forwarded_unless_asked_for() {
        passes(&[], &[], "-t none -u none -T none -U none -I eth0 --no-map-gw");
    }

    #[test]
    fn ports_are_forwarded_once_for_all_addresses() {
        let ports = [
            port("0.0.0.0", 8080, 80, Protocol::Tcp),
            port("::", 8080, 80, Protocol::Tcp),
            port("127.0.0.1", 53, 5353, Protocol::Udp),
        ];
        passes(&[], &ports, "-t 8080:80 -u 127.0.0.1/53:5353 -T none -U none -I eth0 --no-map-gw");
    }

    #[test]
    fn what_somebody_asks_for_replaces_the_usual() {
        let options = ["-t", "auto", "--ns-ifname=tap0", "--map-gw", "-U", "53"];
        passes(&options, &[], "-t auto --ns-ifname=tap0 -U 53 -u none -T none");
    }

    #[test]
    fn other_protocols_are_refused() {
        let wish = |protocol| [Publish { address: None, host: None, port: 1, protocol }];
        check(&wish(Protocol::Udp)).unwrap();
        let refused = check(&wish(Protocol::Sctp)).unwrap_err();
        assert_eq!(refused.to_string(), "pasta publishes tcp and udp ports only");
    }
}

//! A real registry for one test: Debian's `docker-registry` on a free loopback port.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::Machine;
use crate::image::Image;

/// Who gets into a locked registry.
pub const USER: &str = "me";
/// How.
pub const PASSWORD: &str = "secret";
/// bcrypt of [`PASSWORD`]: the only kind that the registry takes.
const PASSWORD_HASH: &str = "$2b$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a";

/// Whom it lets in, and how one speaks to it.
#[derive(Clone, Copy, Debug)]
enum Door<'a> {
    Open,
    Locked,
    Tls(&'a Path, &'a Path),
}

/// Runs until dropped; its data is in a temporary folder.
#[derive(Debug)]
pub struct Registry {
    process: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Registry {
    /// Starts one on the host's loopback and waits until it answers. Needs `host::program("docker-registry")`.
    pub fn start() -> Self {
        Self::start_by(None, Door::Open)
    }

    /// Starts one inside a machine, on its own loopback. Needs `host::program("docker-registry")` and `busybox`.
    pub fn start_in(machine: &Machine) -> Self {
        Self::start_by(Some(machine), Door::Open)
    }

    /// The same, for nobody but [`USER`] with [`PASSWORD`].
    pub fn start_locked_in(machine: &Machine) -> Self {
        Self::start_by(Some(machine), Door::Locked)
    }

    /// Starts one on the host's loopback that speaks TLS only, with this certificate and key.
    pub fn start_tls(certificate: &Path, key: &Path) -> Self {
        Self::start_by(None, Door::Tls(certificate, key))
    }

    fn start_by(machine: Option<&Machine>, door: Door<'_>) -> Self {
        let command = |program: &str| machine.map_or_else(|| Command::new(program), |machine| machine.command(program));
        let dir = tempfile::Builder::new().prefix("strata-registry-").tempdir().unwrap();
        // Another process may take the port between its release and the registry's bind: then try the next one.
        for _attempt in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut process = spawn(command("docker-registry"), dir.path(), port, door);
            let is_up = || {
                if machine.is_none() {
                    return std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
                }
                let mut ask = command("busybox");
                // Everybody may read the root, whatever is behind it.
                ask.args(["wget", "-q", "-O", "/dev/null", &format!("http://127.0.0.1:{port}/")]);
                ask.stderr(Stdio::null()).status().unwrap().success()
            };
            if answers(&process, &is_up) {
                return Self { process, port, dir };
            }
            let _ended = process.kill();
            let _reaped = process.wait();
        }
        panic!("docker-registry did not start: {}", std::fs::read_to_string(dir.path().join("log")).unwrap());
    }

    /// `127.0.0.1:PORT`, as it stands in a reference.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Puts an image there with skopeo, by way of an OCI layout. Needs `host::program("skopeo")`.
    pub fn push(&self, image: &Image, name: &str) {
        self.push_by(Command::new("skopeo"), image, name);
    }

    /// The same for a registry inside a machine.
    pub fn push_in(&self, machine: &Machine, image: &Image, name: &str) {
        self.push_by(machine.command("skopeo"), image, name);
    }

    fn push_by(&self, mut skopeo: Command, image: &Image, name: &str) {
        let layout = self.dir.path().join("layout");
        image.write_layout(&layout, "image");
        let from = format!("oci:{}:image", layout.display());
        let to = format!("docker://{}/{name}", self.host());
        skopeo.args([
            "--insecure-policy",
            "copy",
            "--quiet",
            "--preserve-digests",
            "--dest-tls-verify=false",
            &from,
            &to,
        ]);
        let output = skopeo.output().unwrap();
        assert!(output.status.success(), "skopeo: {}", String::from_utf8_lossy(&output.stderr));
        std::fs::remove_dir_all(&layout).unwrap();
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ended = self.process.kill();
        let _reaped = self.process.wait();
    }
}

fn spawn(mut command: Command, dir: &Path, port: u16, door: Door<'_>) -> Child {
    let passwords = dir.join("htpasswd");
    std::fs::write(&passwords, format!("{USER}:{PASSWORD_HASH}\n")).unwrap();
    let passwords = passwords.display();
    let (more_http, more) = match door {
        Door::Open => (String::new(), String::new()),
        Door::Locked => (String::new(), format!("auth: {{ htpasswd: {{ realm: test, path: '{passwords}' }} }}\n")),
        Door::Tls(certificate, key) => {
            (format!(", tls: {{ certificate: '{}', key: '{}' }}", certificate.display(), key.display()), String::new())
        }
    };
    let config = format!(
        "version: 0.1\nlog: {{ level: error, accesslog: {{ disabled: true }} }}\n\
         validation: {{ manifests: {{ urls: {{ allow: ['^http://'] }} }} }}\n\
         storage: {{ filesystem: {{ rootdirectory: {} }}, delete: {{ enabled: true }} }}\n\
         http: {{ addr: '127.0.0.1:{port}'{more_http} }}\n{more}",
        dir.join("data").display()
    );
    std::fs::write(dir.join("config.yml"), config).unwrap();
    let log = std::fs::File::create(dir.join("log")).unwrap();
    command.arg("serve").arg(dir.join("config.yml")).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap()
}

fn answers(process: &Child, is_up: &dyn Fn() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_secs(20);
    let pid = rustix::process::Pid::from_child(process);
    let exit = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).unwrap();
    while Instant::now() < deadline {
        if is_up() {
            return true;
        }
        if exited_within(&exit, Duration::from_millis(10)) {
            return false;
        }
    }
    false
}

/// Waits for the process to end, and gives the registry that long to open its port.
fn exited_within(process: &rustix::fd::OwnedFd, limit: Duration) -> bool {
    let mut fds = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec::try_from(limit).unwrap();
    rustix::event::poll(&mut fds, Some(&limit)).unwrap() > 0
}

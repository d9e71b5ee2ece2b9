//! Repositories over TLS and ssh, with repositories in them: served on the machine's own loopback.

use std::process::{Command, Stdio};

use strata_testkit::machine::Ran;
use strata_testkit::{Machine, host, need};

use super::{Server, machine, need_all};

/// `git http-backend` behind TLS, for whoever knows the password.
const SERVER: &str = r#"
import http.server, os, ssl, subprocess
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.headers.get("Authorization") != "Basic bWU6c2VjcmV0":
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="test"')
            self.send_header("Content-Length", "0")
            return self.end_headers()
        path, _, query = self.path.partition("?")
        length = self.headers.get("Content-Length") or "0"
        env = dict(os.environ, GIT_PROJECT_ROOT=os.path.abspath("repos"), GIT_HTTP_EXPORT_ALL="1", PATH_INFO=path,
                   QUERY_STRING=query, REQUEST_METHOD=self.command, CONTENT_LENGTH=length,
                   CONTENT_TYPE=self.headers.get("Content-Type") or "",
                   HTTP_CONTENT_ENCODING=self.headers.get("Content-Encoding") or "",
                   GIT_PROTOCOL=self.headers.get("Git-Protocol") or "")
        ran = subprocess.run(["git", "http-backend"], input=self.rfile.read(int(length)), env=env, stdout=subprocess.PIPE)
        head, _, body = ran.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items(): self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    do_POST = do_GET
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("cert.pem", "key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"#;

/// Starts a server and waits until its port answers.
fn serve(machine: &Machine, mut command: Command, port: u16) -> Server {
    let log = std::fs::File::create(machine.dir().join("server.log")).unwrap();
    let server = Server(command.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    let waited = machine.sh(&format!(
        "i=0; until bash -c '< /dev/tcp/127.0.0.1/{port}' 2> /dev/null; do i=$((i+1)); [ $i -lt 400 ] || exit 1; sleep 0.05; done"
    ));
    let log = std::fs::read_to_string(machine.dir().join("server.log")).unwrap();
    assert_eq!(waited.code, 0, "{log}");
    server
}

/// Makes `repos/outer.git`, in which `repos/inner.git` is at `sub`, and in that `repos/deep.git` at `sub/sub`.
fn repositories(machine: &Machine) {
    machine
        .sh("export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b \
                    GIT_AUTHOR_DATE=@1600000000 GIT_COMMITTER_DATE=@1600000000\n\
             make() { # NAME [SUBMODULE]
                git init -q -b main $1 && cd $1 && echo $1 > name && git add name || exit 1
                if [ -n \"$2\" ]; then
                    printf '[submodule \"sub\"]\\n\\tpath = sub\\n\\turl = ../%s.git\\n' $2 > .gitmodules
                    git add .gitmodules && git update-index --add --cacheinfo 160000,$(git -C ../$2 rev-parse HEAD),sub
                fi
                [ $1 = outer ] && printf 'FROM scratch\\nCOPY . /\\n' > Dockerfile && git add Dockerfile
                git commit -qm $1 && cd .. && git clone -q --bare $1 repos/$1.git
             }\n\
             mkdir repos && make deep && make inner deep && make outer inner")
        .ok();
}

/// Builds with this environment, and writes the files to `out`.
fn build(machine: &Machine, words: &[&str], env: (&str, &str)) -> Ran {
    machine.sh("rm -rf out").ok();
    let mut command = machine.strata_command(["build", "--network", "none", "-o", "out"].iter().chain(words));
    command.env(env.0, env.1).env("GIT_CONFIG_NOSYSTEM", "1").output().unwrap().into()
}

fn files(machine: &Machine) -> String {
    machine.sh("cd out && find . -type f | sort | while read -r f; do stat -c '%n %Y' $f; done; cat sub/sub/name").ok()
}

/// All that is in the repositories, of the commit's time, and none of their own files.
const FILES: &str = "./.gitmodules 1600000000\n./Dockerfile 1600000000\n./name 1600000000\n./sub/.gitmodules 1600000000\n\
                     ./sub/name 1600000000\n./sub/sub/name 1600000000\ndeep\n";

#[test]
fn repositories_come_over_tls_with_those_in_them() {
    need_all!();
    need!(host::program("git"), host::program("python3"), host::program("openssl"));
    let machine = machine(&[]);
    repositories(&machine);
    machine
        .sh("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout key.pem -out cert.pem \
                -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 2> /dev/null")
        .ok();
    let mut python = machine.command("python3");
    python.args(["-c", SERVER]);
    let _server = serve(&machine, python, 8443);
    let certificate = machine.dir().join("cert.pem");
    let trusted = ("GIT_SSL_CAINFO", certificate.to_str().unwrap());
    let url = "https://me:secret@127.0.0.1:8443/outer.git";
    let built = build(&machine, &[&format!("{url}#main")], trusted);
    assert_eq!(built.code, 0, "{}", built.err);
    assert_eq!(files(&machine), FILES);
    std::fs::write(machine.dir().join("D"), format!("FROM scratch\nADD {url} /\n")).unwrap();
    std::fs::create_dir_all(machine.dir().join("ctx")).unwrap();
    let built = build(&machine, &["--no-cache", "-f", "D", "ctx"], trusted);
    assert_eq!(built.code, 0, "{}", built.err);
    assert_eq!(files(&machine), FILES);
    // In part, and by a secret that says who we are.
    let built = build(&machine, &[&format!("{url}?branch=main&submodules=false&keep-git-dir")], trusted);
    assert_eq!(built.code, 0, "{}", built.err);
    assert_eq!(machine.sh("cd out; cat name; git log --format=%s; ls -A sub").ok(), "outer\nouter\n");
    std::fs::write(machine.dir().join("header"), "Basic bWU6c2VjcmV0\n").unwrap();
    let secret = ["--secret", "id=GIT_AUTH_HEADER.127.0.0.1:8443,src=header"];
    let plain = "https://127.0.0.1:8443/outer.git";
    let built = build(&machine, &[secret[0], secret[1], plain], trusted);
    assert_eq!(built.code, 0, "{}", built.err);
    assert_eq!(files(&machine), FILES);
    std::fs::write(machine.dir().join("D"), format!("FROM scratch\nADD {plain}?tag=none /\n")).unwrap();
    let error = build(&machine, &["-f", "D", secret[0], secret[1], "ctx"], trusted).fails(1);
    assert!(error.contains("refs/tags/none"), "{error}");
    // Whom git does not trust or know, we do not.
    let error = build(&machine, &[url], ("UNUSED", "")).fails(1);
    assert!(error.contains("certificate") && !error.contains("secret"), "{error}");
    let error = build(&machine, &["https://127.0.0.1:8443/outer.git"], trusted).fails(1);
    assert!(error.contains("could not read Username"), "{error}");
}

#[test]
fn repositories_come_by_ssh_with_those_in_them() {
    need_all!();
    need!(host::program("git"), host::program("ssh"), host::program("ssh-keygen"), host::program("dropbear"));
    let machine = machine(&[]);
    repositories(&machine);
    // The home of root, where the server looks for keys, is the machine's own.
    machine
        .sh(
            "dropbearkey -t ed25519 -f host.key > /dev/null 2>&1 && ssh-keygen -q -t ed25519 -N '' -f me.key && \
                mount -t tmpfs -o mode=700 none /root && mkdir -m 700 /root/.ssh && cp me.key.pub /root/.ssh/authorized_keys",
        )
        .ok();
    let mut dropbear = machine.command("dropbear");
    dropbear.args(["-F", "-E", "-s", "-r", "host.key", "-p", "127.0.0.1:2222", "-P", "/run/dropbear.pid"]);
    let _server = serve(&machine, dropbear, 2222);
    let key = machine.dir().join("me.key");
    let ssh = format!(
        "ssh -F none -i {} -o IdentitiesOnly=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        key.display()
    );
    let url = format!("ssh://root@127.0.0.1:2222{}/repos/outer.git", machine.dir().display());
    let built = build(&machine, &[&format!("{url}#main")], ("GIT_SSH_COMMAND", &ssh));
    assert_eq!(built.code, 0, "{}", built.err);
    assert_eq!(files(&machine), FILES);
    let stranger = ssh.replace("me.key", "host.key");
    let error = build(&machine, &["--no-cache", &url], ("GIT_SSH_COMMAND", &stranger)).fails(1);
    assert!(error.contains("Permission denied"), "{error}");
}

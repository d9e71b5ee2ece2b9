//! ADD and contexts by URL and from repositories, served on the machine's own loopback.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use strata_testkit::{Machine, host, need};

use super::{Server, build, machine, need_all, sh};

/// Serves `served/` with tags and times, sends `/moved/X` on to `/X`, and writes down what it was asked for.
const SERVER: &str = r#"
import hashlib, http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with open("asked", "a") as log: log.write(self.path + "\n")
        if self.path.startswith("/moved/"):
            self.send_response(302)
            self.send_header("Location", self.path[6:])
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if self.path.startswith("/locked/") and self.headers.get("Authorization") != "Basic bWU6c2VjcmV0":
            self.send_response(401); self.send_header("Content-Length", "0"); return self.end_headers()
        if self.path.startswith("/token/") and self.headers.get("Authorization") != "Bearer top":
            self.send_response(403); self.send_header("Content-Length", "0"); return self.end_headers()
        name = "served/" + self.path.split("?")[0].replace("/locked/", "/").replace("/token/", "/").lstrip("/").replace("%20", " ")
        if not os.path.isfile(name):
            self.send_response(404); self.send_header("Content-Length", "0"); return self.end_headers()
        body = open(name, "rb").read()
        self.send_response(200)
        if "untagged" not in name:
            self.send_header("ETag", '"%s"' % hashlib.md5(body).hexdigest())
            self.send_header("Last-Modified", "Wed, 21 Oct 2015 07:28:00 GMT")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Handler)
print("ready", flush=True)
server.serve_forever()
"#;

fn serve_files(machine: &Machine) -> Server {
    let child = machine.command("python3").args(["-c", SERVER]).stdout(Stdio::piped()).spawn().unwrap();
    let mut server = Server(child);
    let mut line = String::new();
    BufReader::new(server.0.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    server
}

fn asked(machine: &Machine) -> String {
    let path = machine.dir().join("asked");
    let asked = std::fs::read_to_string(&path).unwrap_or_default();
    std::fs::write(&path, "").unwrap();
    asked
}

#[test]
fn files_of_the_web_are_added_with_their_names_times_and_checksums() {
    need_all!();
    need!(host::program("python3"));
    let machine = machine(&[("local", "local\n")]);
    machine
        .sh(
            "mkdir -p served/d && echo one > served/d/one.txt && echo sp > 'served/a b' && echo u > served/untagged && \
                mkdir in && echo inner > in/f && tar -C in -czf served/in.tgz .",
        )
        .ok();
    let _server = serve_files(&machine);
    let sum = machine.sh("sha256sum < served/d/one.txt | cut -d' ' -f1").ok().trim().to_owned();
    let file = format!(
        "FROM base\nARG U=http://127.0.0.1:8000\nADD $U/d/one.txt /dir/\nADD --chmod=755 --chown=5:6 $U/moved/d/one.txt?q=/x /file\n\
         ADD $U/a%20b local $U/untagged /several/\nADD $U/in.tgz /packed/\nADD --unpack=true $U/in.tgz /unpacked/\n\
         ADD --checksum=sha256:{sum} http://me:secret@127.0.0.1:8000/locked/d/one.txt /checked\n"
    );
    let ran = build(&machine, &file, &["-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert!(!ran.err.contains("me:secret@127") || ran.err.contains("ADD"), "{}", ran.err);
    let seen = sh(
        &machine,
        "app",
        "cd /; for f in dir/one.txt file several/* packed/* unpacked/* checked; do stat -c '%n %a %u %g %Y' \"$f\"; done; cat file unpacked/f checked",
    );
    let time = 1_445_412_480;
    let local = sh(&machine, "app", "stat -c %Y /several/local; stat -c %Y /unpacked/f");
    let (local, inner) = local.trim().split_once('\n').unwrap();
    let expected = format!(
        "dir/one.txt 600 0 0 {time}\nfile 755 5 6 {time}\nseveral/a b 600 0 0 {time}\nseveral/local 644 0 0 {local}\n\
         several/untagged 600 0 0 0\npacked/in.tgz 600 0 0 {time}\nunpacked/f 644 0 0 {inner}\nchecked 600 0 0 {time}\none\ninner\none\n"
    );
    assert_eq!(seen, expected);

    // What the server says is the same is not read again; what has a checksum is not even asked for.
    asked(&machine);
    let again = build(&machine, &file, &["-t", "again"]);
    assert_eq!(again.err.matches("CACHED").count(), 6, "{}", again.err);
    let asked_again = asked(&machine);
    assert!(asked_again.contains("/d/one.txt") && !asked_again.contains("/locked/"), "{asked_again}");
    machine.sh("echo two > served/d/one.txt").ok();
    let other = build(&machine, &file, &["-t", "app"]);
    assert_eq!(sh(&machine, "app", "cat /dir/one.txt /checked"), "two\none\n", "{}", other.err);
    machine.strata(["check"]).ok();
}

#[test]
fn secrets_say_who_we_are_to_their_host() {
    need_all!();
    need!(host::program("python3"));
    let machine = machine(&[]);
    machine
        .sh("mkdir served && echo one > served/one && printf top > token && printf 'Basic bWU6c2VjcmV0' > header")
        .ok();
    let _server = serve_files(&machine);
    let build = |path: &str, options: &[&str]| {
        let file = format!("FROM base\nADD http://127.0.0.1:8000/{path} /x\nRUN cat /x\n");
        build(&machine, &file, &[&["--no-cache", "-t", "app"], options].concat())
    };
    let token = ["--secret", "id=HTTP_AUTH_TOKEN_127.0.0.1,src=token"];
    for (path, options) in [
        ("token/one", token),
        ("moved/token/one", token),
        ("locked/one", ["--secret", "id=HTTP_AUTH_HEADER_127.0.0.1,src=header"]),
    ] {
        let ran = build(path, &options);
        assert_eq!(ran.code, 0, "{path}: {}", ran.err);
    }
    let refused = build("token/one", &["--secret", "id=HTTP_AUTH_TOKEN_localhost,src=token"]).fails(1);
    assert!(refused.contains("invalid response status 403"), "{refused}");
    // A context, too.
    machine.sh("printf 'FROM scratch\\nENV A=1\\n' > served/D").ok();
    let context = "http://127.0.0.1:8000/token/D";
    machine.strata(["build", "-q", context]).fails(1);
    machine.strata(["build", "-q", token[0], token[1], context]).ok();
}

#[test]
fn what_cannot_be_fetched_is_said_in_words() {
    need_all!();
    need!(host::program("python3"));
    let machine = machine(&[("f", "f\n")]);
    machine.sh("mkdir served && echo one > served/one").ok();
    let _server = serve_files(&machine);
    let zeros = "0".repeat(64);
    for (line, says) in [
        ("ADD http://127.0.0.1:8000/none /x", "cannot fetch http://127.0.0.1:8000/none: invalid response status 404\n"),
        (
            "ADD http://me:pw@127.0.0.1:8000/locked/one /x",
            "cannot fetch http://127.0.0.1:8000/locked/one: invalid response status 401\n",
        ),
        ("ADD http://127.0.0.1:1/x /x", "cannot fetch http://127.0.0.1:1/x: connection refused\n"),
        (
            &format!("ADD --checksum=sha256:{zeros} http://127.0.0.1:8000/one /x"),
            "digest mismatch of http://127.0.0.1:8000/one: expected sha256:00",
        ),
        (
            "ADD --checksum=md5:00 http://127.0.0.1:8000/one /x",
            "invalid checksum \"md5:00\": write --checksum=sha256:HEX\n",
        ),
        (&format!("ADD --checksum=sha256:{zeros} f /x"), "checksum requires HTTP(S) or Git sources\n"),
        (
            &format!("ADD --checksum=sha256:{zeros} f http://127.0.0.1:8000/one /x/"),
            "checksum can't be specified for multiple sources\n",
        ),
        ("ADD http://127.0.0.1:8000/one f /x", "the destination must be a directory and end with a /\n"),
        ("COPY http://127.0.0.1:8000/one /x", "source can't be a URL for COPY\nhint: ADD takes it\n"),
    ] {
        let err = build(&machine, &format!("FROM base\n{line}\n"), &[]).fails(1);
        assert!(err.contains(says), "{line}: {err}");
    }
    assert!(machine.sh("ls -A store/build/work 2> /dev/null").out.is_empty());
}

/// A repository with a commit on `main`, an older one tagged `v1`, and one on `side`.
const REPOSITORY: &str = "
    export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@a GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@a
    mkdir -p repositories && git init -q -b main repositories/x && cd repositories/x
    mkdir sub && echo one > sub/f && echo run > tool && chmod 700 tool && ln -s sub/f link && git add .
    GIT_AUTHOR_DATE='1600000000 +0000' GIT_COMMITTER_DATE='1600000000 +0000' git commit -qm one
    GIT_COMMITTER_DATE='1600000000 +0000' git tag -a -m v1 v1
    echo two > sub/f && printf 'FROM base\\nCOPY . /src/\\n' > Dockerfile && echo hidden > .dockerignore && echo h > hidden && git add .
    GIT_AUTHOR_DATE='1700000000 +0000' GIT_COMMITTER_DATE='1700000000 +0000' git commit -qm two
    git checkout -q -b side && echo side > sub/f && GIT_COMMITTER_DATE='1700000001 +0000' git commit -qam side && git checkout -q main
    git rev-parse main v1^{commit} side";

/// `git daemon` on the machine's loopback; gives the commits, too.
fn serve_repository(machine: &Machine) -> (Server, Vec<String>) {
    let commits = machine.sh(REPOSITORY).ok().lines().map(str::to_owned).collect();
    let mut command = machine.command("git");
    command.args([
        "daemon",
        "--listen=127.0.0.1",
        "--export-all",
        "--base-path=repositories",
        "--verbose",
        "--pid-file=daemon",
    ]);
    command.arg("--log-destination=stderr").arg("repositories").stderr(Stdio::piped());
    let mut server = Server(command.spawn().unwrap());
    let mut lines = BufReader::new(server.0.stderr.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("Ready to rumble")));
    std::thread::spawn(move || lines.for_each(drop));
    (server, commits)
}

#[test]
fn commits_of_repositories_are_added() {
    need_all!();
    need!(host::program("git"));
    let machine = machine(&[]);
    let (server, commits) = serve_repository(&machine);
    let file = format!(
        "FROM base\nARG R=git://127.0.0.1/x\nADD $R /main/\nADD $R#v1:sub /v1/\nADD --keep-git-dir=true $R#side /side\n\
         ADD --checksum={} $R#main:sub/f /one\nADD --chown=7:8 $R#{} /commit/\nADD $R?branch=side&subdir=sub /query/\n",
        commits[0], commits[1]
    );
    let ran = build(&machine, &file, &["-t", "app"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let seen = sh(
        &machine,
        "app",
        "cd /; cat main/sub/f v1/f side/sub/f one commit/sub/f query/f; ls -A main v1; ls -d side/.git; readlink main/link; \
         stat -c '%n %a %u %g %Y' main/tool main/sub main/sub/f v1/f commit/tool",
    );
    assert_eq!(
        seen,
        "two\none\nside\ntwo\none\nside\nmain:\n.dockerignore\nDockerfile\nhidden\nlink\nsub\ntool\n\nv1:\nf\nside/.git\nsub/f\n\
         main/tool 755 0 0 1700000000\nmain/sub 755 0 0 1700000000\nmain/sub/f 644 0 0 1700000000\nv1/f 644 0 0 1600000000\n\
         commit/tool 755 7 8 1600000000\n"
    );
    assert!(machine.sh("ls -A store/build/work").ok().is_empty(), "nothing stays");

    // A commit that is named by its id needs no server once it is here.
    machine.sh("kill $(cat daemon)").ok();
    drop(server);
    let by_id = format!("FROM base\nADD git://127.0.0.1/x#{}:sub /x/\n", commits[1]);
    assert_eq!(build(&machine, &by_id, &[]).code, 0);
    let err = build(&machine, "FROM base\nADD git://127.0.0.1/x /x/\n", &[]).fails(1);
    assert!(err.contains("cannot fetch git://127.0.0.1/x: "), "{err}");
}

#[test]
fn what_a_repository_does_not_have_is_said_in_words() {
    need_all!();
    need!(host::program("git"));
    let machine = machine(&[]);
    let (_server, commits) = serve_repository(&machine);
    for (line, says) in [
        ("ADD git://127.0.0.1/x#none /x/".to_owned(), "repository git://127.0.0.1/x does not contain ref none\n"),
        ("ADD git://127.0.0.1/y /x/".to_owned(), "cannot fetch git://127.0.0.1/y: "),
        ("ADD git://127.0.0.1/x#:none /x/".to_owned(), "\"/none\": not found\n"),
        ("ADD git://127.0.0.1/x#--upload-pack=touch /x/".to_owned(), "invalid git reference"),
        (
            format!("ADD --checksum={} git://127.0.0.1/x /x/", commits[1]),
            "digest mismatch of git://127.0.0.1/x: expected ",
        ),
    ] {
        let err = build(&machine, &format!("FROM base\n{line}\n"), &[]).fails(1);
        assert!(err.contains(says), "{line}: {err}");
    }
    let mut without = machine.command("/usr/bin/env");
    without.arg("PATH=/nowhere").arg(host::strata()).arg("--root").arg(machine.root()).args(["build", "-"]);
    let err = strata_testkit::machine::feed(without, b"FROM base\nADD git://127.0.0.1/x /x/\n").fails(1);
    assert!(err.contains("the program `git` is not installed\nhint: install git"), "{err}");
}

#[test]
fn contexts_are_repositories_tars_and_dockerfiles_of_the_web() {
    need_all!();
    need!(host::program("git"), host::program("python3"));
    let machine = machine(&[("f", "f\n")]);
    let (_daemon, _) = serve_repository(&machine);
    machine.sh("mkdir served && cd repositories/x && git archive --format=tar.gz -o ../../served/x.tgz main && cp Dockerfile ../../served/ && \
                printf 'FROM base\\nRUN echo made > /made\\n' > ../../served/plain").ok();
    let _server = serve_files(&machine);
    let built = |words: &[&str]| {
        let ran = machine.strata([&["build", "--network", "none", "-t", "app"], words].concat());
        assert_eq!(ran.code, 0, "{words:?}: {}", ran.err);
    };
    for context in ["git://127.0.0.1/x", "git://127.0.0.1/x#main", "http://127.0.0.1:8000/x.tgz"] {
        built(&[context]);
        assert_eq!(
            sh(&machine, "app", "cat /src/sub/f; ls -A /src"),
            "two\n.dockerignore\nDockerfile\nlink\nsub\ntool\n",
            "{context}"
        );
    }
    built(&["http://127.0.0.1:8000/plain"]);
    assert_eq!(sh(&machine, "app", "cat /made"), "made\n");
    let file = "FROM base\nCOPY --from=repo sub/f /f\nCOPY --from=tar Dockerfile /\n";
    let named = [
        "-t",
        "app",
        "--build-context",
        "repo=git://127.0.0.1/x#v1",
        "--build-context",
        "tar=http://127.0.0.1:8000/x.tgz",
    ];
    build(&machine, file, &named).ok();
    assert_eq!(sh(&machine, "app", "cat /f; ls /Dockerfile"), "one\n/Dockerfile\n");
    for (words, says) in [
        (
            &["-f", "none", "git://127.0.0.1/x"][..],
            "failed to read dockerfile: open none: no such file or directory\nhint: -f names",
        ),
        (&["git://127.0.0.1/x#:sub/none"], "cannot read the context \"sub/none\" of the repository"),
        (
            &["--build-context", "x=http://127.0.0.1:8000/plain", "git://127.0.0.1/x"],
            "the URL is neither a repository nor a tar",
        ),
    ] {
        let err = machine.strata([&["build"], words].concat()).fails(1);
        assert!(err.contains(says), "{words:?}: {err}");
    }
}

//! A commit of a repository, as a layer with its tree. The program `git` fetches it: it knows protocols, credentials and
//! agents, and is what people have set up. Times of the files are the commit's, permissions those that git keeps.

use std::io;
use std::path::Path;
use std::process::{Command, Stdio};

use strata_dockerfile::{Copying, Ignore};
use strata_engine::workbench::{Layer, Workbench};
use strata_layer::Time;
use strata_sys::root_dir::RootDir;
use strata_types::Watch;

use super::spec::shown;
use super::{Fetched, GitSpec, Wish, host_of, remember};
use crate::copy::{Destination, Found, Tree};
use crate::error::{Problem, read};
use crate::key::Key;

/// What git may use on the way: nothing that runs programs or reads this host's files.
const PROTOCOLS: [&str; 4] = ["http", "https", "git", "ssh"];
/// How much of what git says about a failure is shown.
const SAID_BYTES_MAX: usize = 2000;

pub(super) fn fetch(
    bench: &Workbench<'_>,
    spec: &GitSpec,
    wish: &Wish<'_>,
    watch: &dyn Watch,
) -> Result<Fetched, Problem> {
    if spec.reference.starts_with('-') || spec.url.starts_with('-') {
        return Err(Problem::Unsupported(format!("invalid git reference {:?}", spec.reference)));
    }
    let caller = Caller { url: &spec.url, authorization: wish.authorization.as_deref() };
    let commit = resolve(spec, &caller)?;
    for wanted in [wish.checksum, &spec.checksum] {
        if !commit.starts_with(wanted) {
            let (expected, actual) = (wanted.to_owned(), commit);
            return Err(Problem::Checksum { url: shown(&spec.url), expected, actual });
        }
    }
    let keep_git_dir = wish.keep_git_dir || spec.keep_git_dir;
    let mut key = Key::of("commit of a repository");
    let kept = if keep_git_dir { "with .git" } else { "" };
    key.parts("what", [spec.url.as_str(), &commit, kept]);
    if spec.without_submodules {
        key.part("without", "submodules");
    }
    let key = key.finish();
    let found = |layers, time| Fetched { layers, path: format!("/{}", spec.dir.trim_matches('/')), time };
    if !wish.anew
        && let Some(memory) = bench.recall(&key)?
    {
        return Ok(found(memory.layers, memory.created.as_second()));
    }
    let dir = bench.work_dir()?;
    let made = checkout(dir.path(), spec, &commit, &caller)
        .and_then(|time| Ok((layer_of(bench, dir.path(), keep_git_dir, time, watch)?, time)));
    dir.remove()?;
    let (layer, time) = made?;
    let what = format!("commit {} of {}", &commit[..commit.len().min(12)], shown(&spec.url));
    let created = jiff::Timestamp::from_second(time).unwrap_or_default();
    let layers = remember(bench, [key], &what, layer, created)?;
    Ok(found(layers, time))
}

/// The commit that a reference means.
fn resolve(spec: &GitSpec, caller: &Caller<'_>) -> Result<String, Problem> {
    let is_commit = |text: &str| matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = spec.reference.as_str();
    if is_commit(name) {
        return Ok(name.to_ascii_lowercase());
    }
    let wanted = if name.is_empty() { "HEAD" } else { name };
    let listed = caller.run(git(None).args(["ls-remote", "--", &spec.url]))?;
    let find = |full: &str| {
        let line = listed.lines().find(|line| line.split_once('\t').is_some_and(|(_, known)| known == full))?;
        Some(line.split_once('\t')?.0.to_owned())
    };
    // A branch before a tag, and of a tag with a message the commit.
    let names = [wanted.to_owned(), format!("refs/heads/{wanted}"), format!("refs/tags/{wanted}")];
    let commit = names.iter().find_map(|name| find(&format!("{name}^{{}}")).or_else(|| find(name)));
    commit.ok_or_else(|| Problem::NoReference { url: shown(&spec.url), reference: wanted.to_owned() })
}

/// Puts the files of a commit into a directory; gives the commit's time.
fn checkout(dir: &Path, spec: &GitSpec, commit: &str, caller: &Caller<'_>) -> Result<i64, Problem> {
    let url = spec.url.as_str();
    let run_in = |words: &[&str]| caller.run(git(Some(dir)).args(words));
    run_in(&["init", "--quiet", "."])?;
    run_in(&["remote", "add", "origin", url])?;
    // Not every server gives a commit by its id, or knows what shallow is: then all of it is fetched.
    if run_in(&["fetch", "--quiet", "--depth=1", "--no-tags", "origin", commit]).is_err() {
        run_in(&["fetch", "--quiet", "--tags", "origin", "+refs/heads/*:refs/remotes/origin/*"])?;
    }
    run_in(&["checkout", "--quiet", "--detach", commit])?;
    if dir.join(".gitmodules").exists() && !spec.without_submodules {
        run_in(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"])?;
    }
    let time = run_in(&["show", "--no-patch", "--format=%ct", "HEAD"])?;
    time.trim().parse().map_err(|_| Problem::Unsupported(format!("{url}: the commit has no time")))
}

fn layer_of(
    bench: &Workbench<'_>,
    dir: &Path,
    keep_git_dir: bool,
    time: i64,
    watch: &dyn Watch,
) -> Result<Option<Layer>, Problem> {
    let root = RootDir::open_host(dir).map_err(read("the repository"))?;
    let nothing = Ignore::default();
    let tree = Some(Tree { root: &root, ignore: &nothing, is_host: true, stamps: None });
    let exclude = if keep_git_dir { Vec::new() } else { vec!["**/.git".to_owned()] };
    let copying = Copying {
        sources: vec![".".to_owned()],
        target: "/".to_owned(),
        link: true,
        // All that git keeps of permissions, whatever ours are for new files.
        chmod: "u=rwX,go=rX".to_owned(),
        exclude,
        ..Copying::default()
    };
    let time = Time { seconds: time, nanoseconds: 0 };
    let to =
        Destination { copying: &copying, name: "ADD", working_dir: "/", base: None, now: time, newest: Some(time) };
    let found = Found::new(&copying, tree, Vec::new())?;
    Ok(bench.add_layer(&[], &mut found.lay_out(tree, &to)?, watch)?)
}

/// The time of the last commit where a directory lies in a work tree; none if it does not, or git is not there.
pub fn last_commit_time(dir: &Path) -> Option<i64> {
    let is_in_tree = dir.ancestors().any(|dir| dir.join(".git").exists());
    if !is_in_tree {
        return None;
    }
    let output = git(Some(dir)).args(["log", "-1", "--format=%ct"]).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().parse().ok()).flatten()
}

fn git(dir: Option<&Path>) -> Command {
    let mut command = Command::new("git");
    if let Some(dir) = dir {
        command.arg("-C").arg(dir);
    }
    command.args(["-c", "protocol.allow=never", "-c", "core.hooksPath=/dev/null", "-c", "log.showSignature=false"]);
    for protocol in PROTOCOLS {
        command.args(["-c", &format!("protocol.{protocol}.allow=always")]);
    }
    // Whoever calls us from a hook has these set for another repository.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"] {
        command.env_remove(name);
    }
    command.env("GIT_TERMINAL_PROMPT", "0").env("LC_ALL", "C").stdin(Stdio::null());
    command
}

/// Who calls git, for what repository.
struct Caller<'c> {
    url: &'c str,
    authorization: Option<&'c str>,
}

impl Caller<'_> {
    /// Runs git. What says who we are goes by the environment, which nobody else can read, and to this server alone.
    fn run(&self, command: &mut Command) -> Result<String, Problem> {
        if let (Some(header), Some((scheme, _))) = (self.authorization, self.url.split_once("://")) {
            let host = host_of(self.url);
            command.env("GIT_CONFIG_COUNT", "1");
            command.env("GIT_CONFIG_KEY_0", format!("http.{scheme}://{host}/.extraHeader"));
            command.env("GIT_CONFIG_VALUE_0", format!("Authorization: {}", header.trim()));
        }
        run(command, self.url)
    }
}

fn run(command: &mut Command, url: &str) -> Result<String, Problem> {
    let output = command.output().map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => Problem::NoGit(shown(url)),
        _ => Problem::System { act: "run git", source },
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: String = said.trim().chars().take(SAID_BYTES_MAX).collect();
    Err(Problem::Git { url: shown(url), said })
}

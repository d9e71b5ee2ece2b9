//! `RUN --mount`: what is mounted for one command, and is part of no layer.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::path::Path;

use strata_dockerfile::{Copying, Expander, MountKind, RunMount, Sharing};
use strata_engine::workbench::{CacheDir, CacheDirWish, CacheSharing, Memory, StepMount, StepSource};
use strata_types::DiffId;

use super::StageRun;
use super::copy::Opened;
use crate::copy::{Destination, Found, absolute};
use crate::error::Problem;
use crate::graph::{Build, Files};
use crate::key::Key;
use crate::request::Secret;
use crate::run::in_memory;

/// The argument that keeps caches of builds apart.
const CACHES_ARGUMENT: &str = "BUILDKIT_CACHE_MOUNT_NS";
/// Where secrets are unless a target says so.
const SECRETS: &str = "/run/secrets";

/// A mount as it was asked for.
pub(super) struct Wish<'b> {
    text: String,
    mount: RunMount,
    target: String,
    /// What a bind shows, or a cache begins with.
    files: Option<Files<'b>>,
    opened: Opened,
    found: OnceCell<Found>,
}

/// What a command gets beside its root.
#[derive(Default)]
pub(super) struct Given {
    pub(super) mounts: Vec<StepMount>,
    pub(super) env: Vec<String>,
    /// What must not be seen in its output.
    pub(super) hidden: Vec<Vec<u8>>,
    /// In use until the command has ended.
    held: Vec<Held>,
}

#[expect(dead_code, reason = "held, not looked at")]
enum Held {
    Cache(CacheDir),
    File(OwnedFd),
}

impl<'b> StageRun<'b> {
    /// Reads the mounts of a RUN. Waits for the stages they come from.
    pub(super) fn mounts(&self, mounts: &[String]) -> Result<Vec<Wish<'b>>, Problem> {
        let wish = |text: &String| {
            let lexer = Expander { raw_quotes: true, ..Expander::new(self.build.plan.globals.escape()) };
            let lookup = |name: &str| self.state.scope.lookup(&self.config().env, name);
            let expanded = lexer.expand(text, &lookup);
            let text = expanded.map_err(|source| Problem::Expand { text: text.clone(), source })?.text;
            let mount = RunMount::parse(&text).map_err(Problem::Mount)?;
            let target = if mount.target.is_empty() {
                String::new()
            } else {
                absolute(&self.config().working_dir, &mount.target)
            };
            let files = match mount.kind {
                MountKind::Bind => Some(self.build.files(&mount.from, self.index)?),
                MountKind::Cache if !mount.from.is_empty() => Some(self.build.files(&mount.from, self.index)?),
                _ => None,
            };
            Ok(Wish { text, mount, target, files, opened: Opened::default(), found: OnceCell::new() })
        };
        mounts.iter().map(wish).collect()
    }
}

impl Wish<'_> {
    /// Adds what the command can read of it to a key: not what is in a cache, nor a secret's value.
    pub(super) fn read_into(&self, key: &mut Key, build: &Build<'_>) -> Result<(), Problem> {
        key.part("mount", &self.text);
        match &self.files {
            Some(Files::Layers(base)) => key.layers(&base.layers),
            Some(files @ Files::Context(_)) => {
                let tree = self.opened.tree(files, build)?;
                self.found(build)?.read_into(key, tree)?;
            }
            None => {}
        }
        Ok(())
    }

    /// Makes it ready.
    pub(super) fn give(&self, build: &Build<'_>, given: &mut Given) -> Result<(), Problem> {
        let mount = &self.mount;
        let add = |given: &mut Given, target: &str, read_only, source| {
            given.mounts.push(StepMount { target: target.to_owned(), read_only, source });
        };
        match mount.kind {
            MountKind::Tmpfs => {
                let size_bytes = Some(mount.size_bytes).filter(|size| *size > 0);
                add(given, &self.target, false, StepSource::Memory { size_bytes });
            }
            MountKind::Bind => {
                let (layers, subpath) = self.bound(build)?;
                let writable = !mount.read_only;
                add(given, &self.target, mount.read_only, StepSource::Layers { layers, subpath, writable });
            }
            MountKind::Cache => {
                let dir = self.cache(build)?;
                add(given, &self.target, mount.read_only, StepSource::Host(dir.path().to_owned()));
                given.held.push(Held::Cache(dir));
            }
            MountKind::Secret => self.secret(build, given)?,
            MountKind::Ssh => {
                let id = if mount.id.is_empty() { "default" } else { &mount.id };
                let Some(socket) = build.request.ssh.get(id) else { return self.missing("ssh", id) };
                let usual = || format!("/run/buildkit/ssh_agent.{}", given.mounts.len());
                let target = if self.target.is_empty() { usual() } else { self.target.clone() };
                given.env.push(format!("SSH_AUTH_SOCK={target}"));
                add(given, &target, true, StepSource::Host(socket.clone()));
            }
        }
        Ok(())
    }

    fn missing(&self, what: &'static str, id: &str) -> Result<(), Problem> {
        match self.mount.required {
            true => Err(Problem::Missing { what, id: id.to_owned() }),
            false => Ok(()),
        }
    }

    fn secret(&self, build: &Build<'_>, given: &mut Given) -> Result<(), Problem> {
        let mount = &self.mount;
        let base = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
        let named = [mount.id.clone(), mount.source.clone(), base(&mount.target)];
        let id = named.into_iter().find(|name| !name.is_empty()).unwrap_or_default();
        let Some(secret) = build.request.secrets.get(&id) else { return self.missing("secret", &id) };
        let value = secret.read(&id)?;
        if let Some(name) = &mount.env {
            let text = String::from_utf8_lossy(&value);
            given.env.push(format!("{name}={}", text.trim_end_matches('\n')));
        }
        let lines = value.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        given.hidden.extend(lines.filter(|line| line.len() >= Secret::HIDDEN_BYTES_MIN).map(<[u8]>::to_vec));
        if mount.env.is_none() || !self.target.is_empty() {
            let target = if self.target.is_empty() { format!("{SECRETS}/{}", base(&id)) } else { self.target.clone() };
            let (source, file) = in_memory(&value)?;
            let (uid, gid) = (mount.uid.unwrap_or(0), mount.gid.unwrap_or(0));
            let source = StepSource::Secret { source, uid, gid, mode: mount.mode.unwrap_or(0o400) };
            given.mounts.push(StepMount { target, read_only: true, source });
            given.held.push(Held::File(file));
        }
        Ok(())
    }

    fn cache(&self, build: &Build<'_>) -> Result<CacheDir, Problem> {
        let mount = &self.mount;
        let base = match &self.files {
            Some(Files::Layers(base)) => Some(base),
            _ => None,
        };
        let source = Path::new(if mount.source.is_empty() { "/" } else { &mount.source });
        let id = if mount.id.is_empty() { &self.target } else { &mount.id };
        let within = build.plan.globals.given(CACHES_ARGUMENT).filter(|within| !within.is_empty());
        let id = within.map_or_else(|| id.clone(), |within| format!("{}/{}", within, id.trim_start_matches('/')));
        Ok(build.bench.cache_dir(&CacheDirWish {
            id: &id,
            sharing: match mount.sharing {
                Sharing::Shared => CacheSharing::Shared,
                Sharing::Private => CacheSharing::Private,
                Sharing::Locked => CacheSharing::Locked,
            },
            mode: mount.mode.unwrap_or(0o755),
            uid: mount.uid.unwrap_or(0),
            gid: mount.gid.unwrap_or(0),
            content: base.map(|base| (base.layers.as_slice(), source)),
        })?)
    }

    /// What a bind shows: layers, and a place in them.
    fn bound(&self, build: &Build<'_>) -> Result<(Vec<DiffId>, Option<String>), Problem> {
        let Some(files) = &self.files else { return Ok((Vec::new(), None)) };
        if let Files::Layers(base) = files {
            let subpath = Some(self.mount.source.clone()).filter(|path| !path.trim_matches('/').is_empty());
            return Ok((base.layers.clone(), subpath));
        }
        // A copy: it cannot change meanwhile, and what is ignored is not in it.
        let (tree, found) = (self.opened.tree(files, build)?, self.found(build)?);
        let mut key = Key::of("context");
        found.read_into(&mut key, tree)?;
        let key = key.finish();
        let name = found.single_name();
        let known = build.bench.recall(&key)?;
        let layers = match known {
            Some(memory) => memory.layers,
            None => {
                let to = Destination {
                    copying: &self.copying(),
                    name: "RUN --mount",
                    working_dir: "/",
                    base: None,
                    now: build.now(),
                    newest: build.newest(),
                };
                let layer = build.bench.add_layer(&[], &mut found.lay_out(tree, &to)?, build)?;
                let size_bytes = layer.as_ref().map_or(0, |layer| layer.size_bytes);
                let layers: Vec<DiffId> = layer.into_iter().map(|layer| layer.diff_id).collect();
                let memory = Memory { layers, size_bytes, created: jiff::Timestamp::now() };
                build.bench.remember(&key, "local source for the context", &memory)?;
                memory.layers
            }
        };
        Ok((layers, name))
    }

    fn found(&self, build: &Build<'_>) -> Result<&Found, Problem> {
        if self.found.get().is_none() {
            let tree = self.files.as_ref().map(|files| self.opened.tree(files, build)).transpose()?.flatten();
            let found = Found::new(&self.copying(), tree, Vec::new())?;
            self.found.get_or_init(|| found);
        }
        Ok(self.found.get().expect("it was just found"))
    }

    /// The bind of a part of the context, as a copy of it.
    fn copying(&self) -> Copying {
        let source = Some(self.mount.source.clone()).filter(|source| !source.is_empty());
        let sources = vec![source.unwrap_or_else(|| ".".to_owned())];
        Copying { sources, target: "/".to_owned(), link: true, ..Copying::default() }
    }
}

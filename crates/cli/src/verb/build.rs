//! `strata build`: build an image from a Dockerfile.

use std::collections::BTreeMap;

use strata_build::{BuildRequest, Built, CacheExport, Compared, Secret};
use strata_engine::Engine;
use strata_engine::container::{HostConfig, Resources, SHM_SIZE_BYTES};
use strata_engine::image::Exposed;
use strata_sys::durable::{self, Durability};
use strata_types::Silent;
use strata_types::reference::{Reference, ReferenceError};

use std::path::{Component, Path, PathBuf};

use crate::build::call::Call;
use crate::build::input::Fetching;
use crate::build::tty::TAIL_LINES;
use crate::build::verify::{self, Mode, Shown};
use crate::build::{annotation, attest, cache, contexts, epoch, input, output, raw_json, secret};
use crate::container::limits::Limits;
use crate::container::request::ulimits;
use crate::exposure;
use crate::opts;
use crate::opts::go_bool;
use crate::opts::ulimit::Ulimit;
use crate::verb::prelude::*;

/// What asks for a cache in the image itself.
const INLINE: &str = "type=inline";

/// What `strata build` understands.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What each RUN may take.
    #[command(flatten)]
    pub limits: Limits,
    /// Add a custom host-to-IP mapping (format: "host:ip")
    #[arg(long, value_name = "strings", value_delimiter = ',')]
    pub add_host: Vec<String>,
    /// Allow extra privileged entitlement ("security.insecure", "network.host")
    #[arg(long, value_name = "stringArray")]
    pub allow: Vec<String>,
    /// Do not warn of credentials in the image
    #[arg(long)]
    pub allow_secrets: bool,
    /// Add annotation to the image
    #[arg(
        long,
        value_name = "stringArray",
        help = "Add annotation to the image (format: \"[index,manifest:]key=value\")"
    )]
    pub annotation: Vec<String>,
    /// Attestation parameters (format: "type=sbom" or "type=provenance,mode=max")
    #[arg(long, value_name = "stringArray")]
    pub attest: Vec<String>,
    /// Set build-time variables
    #[arg(long, value_name = "stringArray")]
    pub build_arg: Vec<String>,
    /// The builder: there is one, "default"
    #[arg(long)]
    pub builder: Option<String>,
    /// Additional build contexts (e.g., name=path, name=URL)
    #[arg(long, value_name = "stringArray")]
    pub build_context: Vec<String>,
    /// External cache sources (e.g., "user/app:cache", "type=local,src=path/to/dir")
    #[arg(long, value_name = "stringArray")]
    pub cache_from: Vec<String>,
    /// Cache export destinations (e.g., "user/app:cache", "type=local,dest=path/to/dir")
    #[arg(long, value_name = "stringArray")]
    pub cache_to: Vec<String>,
    /// Set method for evaluating build ("check", "outline", "targets")
    #[arg(long, default_value = "build", value_name = "string")]
    pub call: String,
    /// Shorthand for "--call=check"
    #[arg(long)]
    pub check: bool,
    /// Set the parent cgroup for the "RUN" instructions during build
    #[arg(long)]
    pub cgroup_parent: Option<String>,
    /// Ignored: the context is not sent anywhere
    #[arg(long, hide = true)]
    pub compress: bool,
    /// Name of the Dockerfile (default: "PATH/Dockerfile")
    #[arg(short = 'f', long)]
    pub file: Option<String>,
    /// Ignored: no container is left behind
    #[arg(long, hide = true)]
    pub force_rm: bool,
    /// Write the image ID to a file
    #[arg(long)]
    pub iidfile: Option<String>,
    /// Set metadata for an image
    #[arg(long, value_name = "stringArray")]
    pub label: Vec<String>,
    /// Ignored: what is built is here
    #[arg(long, hide = true)]
    pub load: bool,
    /// Write build result metadata to a file
    #[arg(long)]
    pub metadata_file: Option<String>,
    /// Set the networking mode for the "RUN" instructions during build
    #[arg(long, default_value = "default")]
    pub network: String,
    /// Do not use cache when building the image
    #[arg(long)]
    pub no_cache: bool,
    /// Do not cache specified stages
    #[arg(long, value_name = "stringArray", value_delimiter = ',')]
    pub no_cache_filter: Vec<String>,
    /// Output destination (format: "type=local|tar|oci|docker|image|registry,dest=path")
    #[arg(short = 'o', long, value_name = "stringArray")]
    pub output: Vec<String>,
    /// Set target platform for build
    #[arg(long, value_name = "stringArray", value_delimiter = ',')]
    pub platform: Vec<String>,
    /// Set type of progress output ("auto", "quiet", "plain", "tty", "rawjson")
    #[arg(long, default_value = "auto")]
    pub progress: String,
    /// Shorthand for "--attest=type=provenance"
    #[arg(long)]
    pub provenance: Option<String>,
    /// Always attempt to pull all referenced images
    #[arg(long)]
    pub pull: bool,
    /// Shorthand for "--output=type=registry"
    #[arg(long)]
    pub push: bool,
    /// Suppress the build output and print image ID on success
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Ignored: no container is left behind
    #[arg(long, default_value = "true", hide = true)]
    pub rm: bool,
    /// Security options
    #[arg(long, value_name = "strings")]
    pub security_opt: Vec<String>,
    /// Shorthand for "--attest=type=sbom"
    #[arg(long)]
    pub sbom: Option<String>,
    /// Secret to expose to the build (format: "id=mysecret[,src=/local/secret|,env=VARIABLE]")
    #[arg(long, value_name = "stringArray")]
    pub secret: Vec<String>,
    /// Shared memory size for build containers
    #[arg(long, value_name = "bytes", value_parser = opts::size::bytes)]
    pub shm_size: Option<u64>,
    /// Squash newly built layers into a single new layer
    #[arg(long)]
    pub squash: bool,
    /// SSH agent socket to expose to the build (format: "default|<id>[=<socket>]")
    #[arg(long, value_name = "stringArray")]
    pub ssh: Vec<String>,
    /// Name and optionally a tag (format: "name:tag")
    #[arg(short = 't', long, value_name = "stringArray")]
    pub tag: Vec<String>,
    /// Set the target build stage to build
    #[arg(long)]
    pub target: Option<String>,
    /// Ulimit options
    #[arg(long, value_name = "ulimit", value_parser = opts::ulimit::parse)]
    pub ulimit: Vec<Ulimit>,
    /// Build twice without cache, and say in what the two differ
    #[arg(long)]
    pub verify: bool,
    /// The directory of the files to copy, the URL of a repository or tar, or - for a Dockerfile or a tar on the standard input
    pub path: String,
}

impl Verb for Args {
    const ABOUT: &str = "Build an image from a Dockerfile";
    const USAGE: &str = "[OPTIONS] PATH | URL | -";

    const EXAMPLES: &str = "  strata build -t shop .                  Build the Dockerfile here
  strata build --target test -f ci/D .    Build one stage of another file
  strata build -q - < Dockerfile          Build without any files, print the image's ID";

    fn run(self, session: &mut Session) -> Result<Exit> {
        let usual = session.variable("BUILDKIT_PROGRESS").filter(|word| !word.is_empty());
        let mode = Mode::parse(&self.progress, usual.as_deref(), self.quiet, session.terminal().stderr)?;
        let call = Call::parse(if self.check { "check" } else { &self.call })?;
        one_builder(self.builder.as_deref())?;
        let engine = session.engine()?;
        let keep_git_dir = self.is_set(session, "BUILDKIT_CONTEXT_KEEP_GIT_DIR");
        let fetching = Fetching { keep_git_dir, secrets: secret::secrets(session, &self.secret)? };
        let input = input::read(session, &engine, (&self.path, self.file.as_deref()), &fetching)?;
        let (name, text) = (input.name.clone(), input.dockerfile.clone());
        if let Some(call) = call {
            let request = self.request(session, input, fetching.secrets, &engine)?;
            let place = self.place(&name);
            return call.answer(session, &engine, (&name, &place), &request);
        }
        let wanted = output::parse(&self.output, &engine.platform())?;
        let (destination, archive) = output::open(session, &wanted)?;
        let mut request = self.request(session, input, fetching.secrets, &engine)?;
        request.output = destination;
        request.names.extend(names(&wanted.names)?);
        request.annotations.extend(wanted.annotations.iter().cloned());
        self.refuse(&request, wanted.push || self.push)?;
        let tail_lines = session.variable("BUILDKIT_TTY_LOG_LINES").and_then(|lines| lines.parse().ok());
        let shown = Shown { name: &name, text: &text, mode, tail_lines: tail_lines.unwrap_or(TAIL_LINES) };
        if self.verify
            && let Compared::Different(difference) = verify::twice(session, &engine, &mut request, &shown)?
        {
            return Err(Failure::new(format!("two builds came to different images\n{difference}"))
                .hint("what a step writes must not depend on the time, on randomness or on the network"));
        }
        let built = verify::attempt(session, &engine, &request, &shown)?;
        let told = self.succeed(session, &built, mode)?;
        if !self.allow_secrets && matches!(request.output, strata_build::Output::Image) {
            self.warn(session, &engine, &built, wanted.push || self.push)?;
        }
        let names = request.names.iter().map(Reference::familiar).collect::<Vec<_>>();
        let pushed = output::finish(session, &engine, (&wanted, self.push), archive, (&built, &names))?;
        if let Some(path) = &self.metadata_file {
            output::metadata(session, path, (&built, pushed.as_ref()), &names)?;
        }
        Ok(told)
    }
}

impl Args {
    /// Where the Dockerfile lies, in the person's words: what buildx calls it in checks.
    fn place(&self, name: &str) -> String {
        match self.file.as_deref() {
            Some("-") => "stdin".to_owned(),
            Some(file) => file.to_owned(),
            None if self.path == "-" => "stdin".to_owned(),
            None if self.path.contains("://") => name.to_owned(),
            None => Path::new(&self.path)
                .join(name)
                .components()
                .filter(|part| *part != Component::CurDir)
                .collect::<PathBuf>()
                .display()
                .to_string(),
        }
    }

    fn request(
        &self,
        session: &Session,
        input: input::Input,
        secrets: BTreeMap<String, Secret>,
        engine: &Engine,
    ) -> Result<BuildRequest> {
        let native = &engine.platform();
        self.build_arg.iter().try_for_each(|word| named(word).map(drop))?;
        let mut arguments = self.arguments(session);
        let epoch = epoch::of(session, &mut arguments, input.dir.as_deref(), self.verify)?;
        let platforms = opts::platform::platforms(&self.platform, native)?;
        Ok(BuildRequest {
            dockerfile: input.dockerfile,
            context: input.context,
            contexts: contexts::read(session, engine, &self.build_context, &secrets)?,
            output: strata_build::Output::Image,
            attest: attest::parse(&self.attest, self.provenance.as_deref(), self.sbom.as_deref())?,
            annotations: annotation::parse(&self.annotation, native)?,
            names: names(&self.tag)?,
            target: self.target.clone(),
            arguments,
            labels: self.labels()?,
            no_cache: self.no_cache,
            squash: self.squash,
            no_cache_filter: self.no_cache_filter.clone(),
            cache_from: cache::from(&self.cache_from, &session.cwd()?)?,
            cache_to: self.caches(session)?,
            pull: self.pull,
            platforms,
            network: self.network(engine)?,
            secrets,
            ssh: secret::agents(session, &self.ssh)?,
            allow_insecure: self.allow_insecure()?,
            host: self.host()?,
            epoch,
            steps_at_once: steps_at_once(),
        })
    }

    /// Refuses what does not go together.
    fn refuse(&self, request: &BuildRequest, leaves: bool) -> Result<()> {
        if leaves && request.names.is_empty() {
            return Err(
                Failure::new("tag is needed when pushing to registry").hint("name it with -t REGISTRY/NAME:TAG")
            );
        }
        if self.verify && request.platforms.len() > 1 {
            let sentence = "--verify compares the image of one platform";
            return Err(Failure::new(sentence).hint("say which with --platform"));
        }
        Ok(())
    }

    /// `--cache-to`, and what asks for a cache in the image itself in another way.
    fn caches(&self, session: &Session) -> Result<Vec<CacheExport>> {
        let mut words = self.cache_to.clone();
        if self.is_set(session, "BUILDKIT_INLINE_CACHE") && !words.iter().any(|word| word == INLINE) {
            words.push(INLINE.to_owned());
        }
        cache::to(&words, &session.cwd()?)
    }

    /// Whether an argument that BuildKit takes for an option is true.
    fn is_set(&self, session: &Session, name: &str) -> bool {
        self.arguments(session).get(name).and_then(|value| go_bool(value)).unwrap_or(false)
    }

    /// `--label`.
    fn labels(&self) -> Result<BTreeMap<String, String>> {
        let label = |word: &String| {
            let (key, value) = named(word)?;
            Ok((key.to_owned(), value.unwrap_or_default().to_owned()))
        };
        self.label.iter().map(label).collect()
    }

    /// `--build-arg`; without a value it is the environment's.
    fn arguments(&self, session: &Session) -> BTreeMap<String, String> {
        let argument = |word: &String| match word.split_once('=') {
            Some((name, value)) => Some((name.to_owned(), value.to_owned())),
            None => session.variable(word).map(|value| (word.clone(), value)),
        };
        self.build_arg.iter().filter_map(argument).collect()
    }

    /// `--allow`. The host's network is the person's to give with `--network` and by what they build.
    fn allow_insecure(&self) -> Result<bool> {
        let known = |word: &&String| ["security.insecure", "network.host"].contains(&word.as_str());
        match self.allow.iter().find(|word| !known(word)) {
            Some(other) => Err(Failure::new(format!("unknown entitlement {other}"))),
            None => Ok(self.allow.iter().any(|word| word == "security.insecure")),
        }
    }

    /// `--network`, which has to be there although no step may need it.
    fn network(&self, engine: &Engine) -> Result<String> {
        match self.network.as_str() {
            "" | "default" | "none" | "host" => {}
            joined if joined.starts_with("container:") => {
                return Err(Failure::new(format!("network mode {joined:?} not supported by build")));
            }
            name => drop(engine.network(name)?),
        }
        Ok(self.network.clone())
    }

    fn host(&self) -> Result<HostConfig> {
        let line = |text: &String| {
            let host = opts::host::parse(text).map_err(|_| Failure::new(format!("invalid host {text}")))?;
            let address = host.address.map_or_else(|| "host-gateway".to_owned(), |address| address.to_string());
            Ok(format!("{}:{address}", host.name))
        };
        let list = |words: Vec<String>| (!words.is_empty()).then_some(words);
        let hosts = self.add_host.iter().filter(|text| !text.is_empty()).map(line).collect::<Result<_>>()?;
        Ok(HostConfig {
            extra_hosts: list(hosts),
            security_opt: list(self.security_opt.clone()),
            shm_size: self.shm_size.filter(|size| *size > 0).unwrap_or(SHM_SIZE_BYTES),
            resources: Resources {
                cgroup_parent: self.cgroup_parent.clone().unwrap_or_default(),
                ulimits: ulimits(&self.ulimit),
                ..self.limits.resources()
            },
            ..HostConfig::default()
        })
    }

    /// Warns of credentials in the image: of files only in what was made just now, or is going to leave.
    fn warn(&self, session: &mut Session, engine: &Engine, built: &Built, leaves: bool) -> Result<()> {
        let exposed = match leaves {
            true => engine.exposed_by(&built.image, &Silent)?,
            false => engine.exposed_in(&built.config, &built.made, &Silent)?,
        };
        // What its name alone gives away, the Dockerfile's check has told.
        let is_told = |exposed: &Exposed| match exposed {
            Exposed::Variable { name, kind: None } | Exposed::Argument { name, kind: None } => {
                !self.quiet && strata_dockerfile::looks_secret(name)
            }
            _ => false,
        };
        let untold: Vec<Exposed> = exposed.into_iter().filter(|exposed| !is_told(exposed)).collect();
        exposure::warn(session, &untold)
    }

    fn succeed(&self, session: &mut Session, built: &Built, mode: Mode) -> Result<Exit> {
        let is_meant = |rule| self.allow_secrets && rule == "SecretsUsedInArgOrEnv";
        let meant = built.warnings.iter().filter(|warning| !is_meant(warning.rule));
        match mode {
            Mode::Quiet => {}
            Mode::RawJson => session.err.write_all(raw_json::warnings(meant).as_bytes())?,
            Mode::Plain | Mode::Tty => {
                session.err.write_all(verify::warned(meant).as_bytes())?;
                if !built.unused.is_empty() {
                    let names = built.unused.join(" ");
                    writeln!(session.err, "[Warning] One or more build-args [{names}] were not consumed")?;
                }
            }
        }
        if let Some(path) = &self.iidfile {
            let path = session.cwd()?.join(path);
            durable::write_file(&path, built.image.to_string().as_bytes(), 0o644, Durability::Ephemeral)?;
        }
        if mode == Mode::Quiet {
            writeln!(session.out, "{}", built.image)?;
        }
        Ok(Exit::SUCCESS)
    }
}

/// `--builder`: there is one, which those who name it mean.
pub(super) fn one_builder(name: Option<&str>) -> Result<()> {
    match name {
        None | Some("" | "default") => Ok(()),
        Some(other) => Err(Failure::new(format!("no builder {other:?} found"))
            .hint("there is one builder, this program itself: leave --builder out, or say `default`")),
    }
}

/// A key, and what it is to be.
fn named(word: &str) -> Result<(&str, Option<&str>)> {
    let (key, value) = word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value)));
    if key.is_empty() {
        return Err(Failure::new(format!("invalid key-value pair {word:?}: empty key")));
    }
    Ok((key, value))
}

/// Reads `-t`.
fn names(tags: &[String]) -> Result<Vec<Reference>> {
    let invalid = |tag: &str, why: &str| Err(Failure::new(format!("invalid tag {tag:?}: {why}")));
    let name = |tag: &String| match tag.parse::<Reference>() {
        Ok(name) if name.digest().is_none() => Ok(name),
        Ok(_) => invalid(tag, "a digest cannot be given to an image"),
        // In the words of what reads references without Docker's own names.
        Err(ReferenceError::Uppercase(_)) => invalid(tag, "repository name must be lowercase"),
        Err(_) if tag.is_empty() => invalid(tag, "repository name must have at least one component"),
        Err(error) => invalid(tag, &error.to_string()),
    };
    tags.iter().map(name).collect()
}

/// As many steps as there are processors; two at least, because a step also waits.
fn steps_at_once() -> usize {
    std::thread::available_parallelism().map_or(2, |count| count.get().max(2))
}

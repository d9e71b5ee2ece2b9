//! All verbs. One file each: an `Args` that says what the verb understands, and what it does with it.
//!
//! To add a verb: write `verb/NAME.rs` with `pub struct Args` (`#[derive(Debug, clap::Args)]`) and `impl Verb for Args`,
//! name the module here and give it a line in [`ENTRIES`]. Flags are plain `bool`s (`--rm=false` works), lists are
//! `Vec`s, `value_name` is Docker's word for the type (`list`, `bytes`, …), help texts have no period.

use std::ffi::OsString;

use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::exit::Result;
use crate::session::Session;

pub mod attach;
pub mod boot_unit;
pub mod build;
pub mod builder_prune;
pub mod check;
pub mod commit;
pub mod complete;
pub mod completion;
pub mod container_inspect;
pub mod container_options;
pub mod container_prune;
pub mod cp;
pub mod create;
pub mod diff;
pub mod events;
pub mod exec;
pub mod export;
pub mod fork;
pub mod history;
pub mod image_append;
pub mod image_diff;
pub mod image_inspect;
pub mod image_keep;
pub mod image_prune;
pub mod images;
pub mod import;
pub mod info;
pub mod inspect;
pub mod kill;
pub mod load;
pub mod login;
pub mod logout;
pub mod logs;
pub mod man;
pub mod manifest_annotate;
pub mod manifest_create;
pub mod manifest_inspect;
pub mod manifest_push;
pub mod manifest_rm;
pub mod network_connect;
pub mod network_create;
pub mod network_disconnect;
pub mod network_inspect;
pub mod network_ls;
pub mod network_prune;
pub mod network_rm;
pub mod pause;
pub mod port;
pub mod prelude;
pub mod ps;
pub mod pull;
pub mod push;
pub mod reap_container;
pub mod rename;
pub mod restart;
pub mod rm;
pub mod rmi;
pub mod rollback;
pub mod run;
pub mod runtime;
pub mod runtime_create;
pub mod runtime_delete;
pub mod runtime_exec;
pub mod runtime_features;
pub mod runtime_kill;
pub mod runtime_list;
pub mod runtime_pause;
pub mod runtime_ps;
pub mod runtime_resume;
pub mod runtime_run;
pub mod runtime_spec;
pub mod runtime_start;
pub mod runtime_state;
pub mod runtime_update;
pub mod save;
pub mod secret_create;
pub mod secret_inspect;
pub mod secret_ls;
pub mod secret_rm;
pub mod snapshot;
pub mod snapshot_inspect;
pub mod snapshot_ls;
pub mod snapshot_rm;
pub mod start;
pub mod stats;
pub mod stop;
pub mod stop_options;
pub mod system_budget;
pub mod system_df;
pub mod system_gc;
pub mod system_migrate;
pub mod system_prune;
pub mod tag;
pub mod top;
pub mod unpause;
pub mod update;
pub mod version;
pub mod volume_create;
pub mod volume_inspect;
pub mod volume_ls;
pub mod volume_prune;
pub mod volume_rm;
pub mod wait;

/// The containers that a verb starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Starts {
    /// None.
    Nothing,
    /// Some that there are.
    Known,
    /// One that it makes first.
    New,
}

/// What a verb says about itself and does.
pub trait Verb: clap::Args {
    /// The line in lists of commands: imperative, no period.
    const ABOUT: &'static str;
    /// What stands after the name in `Usage:`.
    const USAGE: &'static str;
    /// Whether everything after the first operand belongs to a program in the container.
    const OPTIONS_END_AT_NAME: bool = false;
    /// Lines that show how it is used, after the options; each begins with two spaces.
    const EXAMPLES: &'static str = "";
    /// The exit code when [`Verb::run`] fails and the failure names no other.
    const FAILURE_CODE: u8 = 1;
    /// The containers it starts, whose shim can begin before anything else is known.
    const STARTS: Starts = Starts::Nothing;

    /// What the parser would make of these words, if that can be known without it: making it costs.
    fn plain(_words: &[OsString]) -> Option<Self> {
        None
    }

    /// Does it.
    fn run(self, session: &mut Session) -> Result<crate::exit::Exit>;
}

/// Where the main help lists a verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Under `Common Commands`.
    Common,
    /// Management commands themselves.
    Management,
    /// Under `Commands`.
    Other,
    /// Nowhere: only below a management command, or for programs.
    Unlisted,
}

/// One verb in the table.
#[derive(Debug)]
pub struct Entry {
    /// Its name at the top level; for unlisted verbs only a name for clap.
    pub name: &'static str,
    /// Where the main help lists it.
    pub group: Group,
    /// Its names below a management command: `("image", &["ls", "list"])`.
    pub below: Option<(&'static str, &'static [&'static str])>,
    /// The line in lists of commands.
    pub about: &'static str,
    /// What stands after the name in `Usage:`.
    pub usage: &'static str,
    /// See [`Verb::EXAMPLES`].
    pub examples: &'static str,
    /// See [`Verb::OPTIONS_END_AT_NAME`].
    pub options_end_at_name: bool,
    /// See [`Verb::FAILURE_CODE`].
    pub failure_code: u8,
    /// See [`Verb::STARTS`].
    pub starts: Starts,
    /// Builds the verb's options; only for the verb that is called, because sixty of them cost.
    pub command: fn() -> Command,
    /// Runs it.
    pub run: fn(&ArgMatches, &mut Session) -> Result<crate::exit::Exit>,
    /// Runs it without the parser, if these words allow that.
    pub run_plainly: fn(&[OsString], &mut Session) -> Option<Result<crate::exit::Exit>>,
}

impl Entry {
    /// Its main name below a management command, if it is there.
    pub fn name_in(&self, management: &str) -> Option<&'static str> {
        self.below.filter(|(name, _)| *name == management).and_then(|(_, names)| names.first().copied())
    }

    /// All the ways to call it, as `--help` lists them.
    pub fn full_names(&self) -> Vec<String> {
        let below = self.below.iter().flat_map(|(m, names)| names.iter().map(move |name| format!("strata {m} {name}")));
        let top = (self.group != Group::Unlisted).then(|| format!("strata {}", self.name));
        below.chain(top).collect()
    }
}

/// Finds a verb by its name at the top level.
pub fn find(name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.name == name && (entry.group != Group::Unlisted || entry.below.is_none()))
}

/// Finds a verb by its name below a management command.
pub fn find_in(management: &str, name: &str) -> Option<&'static Entry> {
    ENTRIES.iter().find(|entry| entry.below.is_some_and(|(m, names)| m == management && names.contains(&name)))
}

/// The verb that words begin with, by itself or below a management command.
pub fn called(words: &[OsString]) -> Option<&'static Entry> {
    let [first, rest @ ..] = words else { return None };
    let second = rest.first().and_then(|word| word.to_str());
    let first = first.to_str()?;
    find(first).or_else(|| find_in(first, second?))
}

/// The management commands, as the main help lists them.
pub const MANAGEMENT: &[(&str, &str)] = &[
    ("builder", "Manage builds"),
    ("buildx", "The same as builder, for those who are used to it"),
    ("container", "Manage containers"),
    ("image", "Manage images"),
    ("manifest", "Manage image manifests and manifest lists"),
    ("network", "Manage networks"),
    ("runtime", "Run containers from OCI bundles, as runc does"),
    ("secret", "Manage secrets"),
    ("snapshot", "Snapshot a container's files, and manage snapshots"),
    ("system", "Manage strata"),
    ("volume", "Manage volumes"),
];

/// What a management command does when its first word is none of its verbs: `strata snapshot CONTAINER`.
pub fn fallback_in(management: &str) -> Option<&'static Entry> {
    (management == "snapshot").then(|| find_in(management, "create")).flatten()
}

/// Every verb; the common ones in the order of the main help.
pub static ENTRIES: &[Entry] = &[
    entry::<run::Args>("run", Group::Common, Some(("container", &["run"]))),
    entry::<exec::Args>("exec", Group::Common, Some(("container", &["exec"]))),
    entry::<ps::Args>("ps", Group::Common, Some(("container", &["ls", "list", "ps"]))),
    entry::<build::Args>("build", Group::Common, Some(("image", &["build"]))),
    entry::<pull::Args>("pull", Group::Common, Some(("image", &["pull"]))),
    entry::<push::Args>("push", Group::Common, Some(("image", &["push"]))),
    entry::<images::Args>("images", Group::Common, Some(("image", &["ls", "list"]))),
    entry::<login::Args>("login", Group::Common, None),
    entry::<logout::Args>("logout", Group::Common, None),
    entry::<version::Args>("version", Group::Common, None),
    entry::<info::Args>("info", Group::Common, Some(("system", &["info"]))),
    entry::<attach::Args>("attach", Group::Other, Some(("container", &["attach"]))),
    entry::<check::Args>("check", Group::Other, Some(("system", &["check"]))),
    entry::<commit::Args>("commit", Group::Other, Some(("container", &["commit"]))),
    entry::<cp::Args>("cp", Group::Other, Some(("container", &["cp"]))),
    entry::<create::Args>("create", Group::Other, Some(("container", &["create"]))),
    entry::<diff::Args>("diff", Group::Other, Some(("container", &["diff"]))),
    entry::<events::Args>("events", Group::Other, Some(("system", &["events"]))),
    entry::<export::Args>("export", Group::Other, Some(("container", &["export"]))),
    entry::<fork::Args>("fork", Group::Other, Some(("container", &["fork"]))),
    entry::<history::Args>("history", Group::Other, Some(("image", &["history"]))),
    entry::<import::Args>("import", Group::Other, Some(("image", &["import"]))),
    entry::<inspect::Args>("inspect", Group::Other, None),
    entry::<kill::Args>("kill", Group::Other, Some(("container", &["kill"]))),
    entry::<load::Args>("load", Group::Other, Some(("image", &["load"]))),
    entry::<logs::Args>("logs", Group::Other, Some(("container", &["logs"]))),
    entry::<pause::Args>("pause", Group::Other, Some(("container", &["pause"]))),
    entry::<port::Args>("port", Group::Other, Some(("container", &["port"]))),
    entry::<rename::Args>("rename", Group::Other, Some(("container", &["rename"]))),
    entry::<restart::Args>("restart", Group::Other, Some(("container", &["restart"]))),
    entry::<rm::Args>("rm", Group::Other, Some(("container", &["rm", "remove"]))),
    entry::<rmi::Args>("rmi", Group::Other, Some(("image", &["rm", "remove"]))),
    entry::<rollback::Args>("rollback", Group::Other, Some(("container", &["rollback"]))),
    entry::<save::Args>("save", Group::Other, Some(("image", &["save"]))),
    entry::<start::Args>("start", Group::Other, Some(("container", &["start"]))),
    entry::<stats::Args>("stats", Group::Other, Some(("container", &["stats"]))),
    entry::<stop::Args>("stop", Group::Other, Some(("container", &["stop"]))),
    entry::<tag::Args>("tag", Group::Other, Some(("image", &["tag"]))),
    entry::<top::Args>("top", Group::Other, Some(("container", &["top"]))),
    entry::<unpause::Args>("unpause", Group::Other, Some(("container", &["unpause"]))),
    entry::<update::Args>("update", Group::Other, Some(("container", &["update"]))),
    entry::<wait::Args>("wait", Group::Other, Some(("container", &["wait"]))),
    entry::<completion::Args>("completion", Group::Other, None),
    entry::<build::Args>("builder build", Group::Unlisted, Some(("builder", &["build"]))),
    entry::<build::Args>("buildx build", Group::Unlisted, Some(("buildx", &["build", "b"]))),
    entry::<builder_prune::Args>("builder prune", Group::Unlisted, Some(("builder", &["prune"]))),
    entry::<builder_prune::Args>("buildx prune", Group::Unlisted, Some(("buildx", &["prune"]))),
    entry::<container_inspect::Args>("container inspect", Group::Unlisted, Some(("container", &["inspect"]))),
    entry::<container_prune::Args>("container prune", Group::Unlisted, Some(("container", &["prune"]))),
    entry::<image_append::Args>("image append", Group::Unlisted, Some(("image", &["append"]))),
    entry::<image_diff::Args>("image diff", Group::Unlisted, Some(("image", &["diff"]))),
    entry::<image_inspect::Args>("image inspect", Group::Unlisted, Some(("image", &["inspect"]))),
    entry::<image_keep::Args>("image keep", Group::Unlisted, Some(("image", &["keep"]))),
    entry::<image_prune::Args>("image prune", Group::Unlisted, Some(("image", &["prune"]))),
    entry::<manifest_annotate::Args>("manifest annotate", Group::Unlisted, Some(("manifest", &["annotate"]))),
    entry::<manifest_create::Args>("manifest create", Group::Unlisted, Some(("manifest", &["create"]))),
    entry::<manifest_inspect::Args>("manifest inspect", Group::Unlisted, Some(("manifest", &["inspect"]))),
    entry::<manifest_push::Args>("manifest push", Group::Unlisted, Some(("manifest", &["push"]))),
    entry::<manifest_rm::Args>("manifest rm", Group::Unlisted, Some(("manifest", &["rm"]))),
    entry::<reap_container::Args>("reap-container", Group::Unlisted, None),
    entry::<runtime_create::Args>("runtime create", Group::Unlisted, Some(("runtime", &["create"]))),
    entry::<runtime_delete::Args>("runtime delete", Group::Unlisted, Some(("runtime", &["delete"]))),
    entry::<runtime_exec::Args>("runtime exec", Group::Unlisted, Some(("runtime", &["exec"]))),
    entry::<runtime_features::Args>("runtime features", Group::Unlisted, Some(("runtime", &["features"]))),
    entry::<runtime_kill::Args>("runtime kill", Group::Unlisted, Some(("runtime", &["kill"]))),
    entry::<runtime_list::Args>("runtime list", Group::Unlisted, Some(("runtime", &["list"]))),
    entry::<runtime_pause::Args>("runtime pause", Group::Unlisted, Some(("runtime", &["pause"]))),
    entry::<runtime_ps::Args>("runtime ps", Group::Unlisted, Some(("runtime", &["ps"]))),
    entry::<runtime_resume::Args>("runtime resume", Group::Unlisted, Some(("runtime", &["resume"]))),
    entry::<runtime_run::Args>("runtime run", Group::Unlisted, Some(("runtime", &["run"]))),
    entry::<runtime_spec::Args>("runtime spec", Group::Unlisted, Some(("runtime", &["spec"]))),
    entry::<runtime_start::Args>("runtime start", Group::Unlisted, Some(("runtime", &["start"]))),
    entry::<runtime_state::Args>("runtime state", Group::Unlisted, Some(("runtime", &["state"]))),
    entry::<runtime_update::Args>("runtime update", Group::Unlisted, Some(("runtime", &["update"]))),
    entry::<secret_create::Args>("secret create", Group::Unlisted, Some(("secret", &["create"]))),
    entry::<secret_inspect::Args>("secret inspect", Group::Unlisted, Some(("secret", &["inspect"]))),
    entry::<secret_ls::Args>("secret ls", Group::Unlisted, Some(("secret", &["ls", "list"]))),
    entry::<secret_rm::Args>("secret rm", Group::Unlisted, Some(("secret", &["rm", "remove"]))),
    entry::<snapshot::Args>("snapshot create", Group::Unlisted, Some(("snapshot", &["create"]))),
    entry::<snapshot_inspect::Args>("snapshot inspect", Group::Unlisted, Some(("snapshot", &["inspect"]))),
    entry::<snapshot_ls::Args>("snapshot ls", Group::Unlisted, Some(("snapshot", &["ls", "list"]))),
    entry::<snapshot_rm::Args>("snapshot rm", Group::Unlisted, Some(("snapshot", &["rm", "remove"]))),
    entry::<system_budget::Args>("system budget", Group::Unlisted, Some(("system", &["budget"]))),
    entry::<system_df::Args>("system df", Group::Unlisted, Some(("system", &["df"]))),
    entry::<system_gc::Args>("system gc", Group::Unlisted, Some(("system", &["gc"]))),
    entry::<system_migrate::Args>("system migrate", Group::Unlisted, Some(("system", &["migrate"]))),
    entry::<system_prune::Args>("system prune", Group::Unlisted, Some(("system", &["prune"]))),
    entry::<boot_unit::Args>("system boot-unit", Group::Unlisted, Some(("system", &["boot-unit"]))),
    entry::<complete::Args>("__complete", Group::Unlisted, None),
    entry::<network_connect::Args>("network connect", Group::Unlisted, Some(("network", &["connect"]))),
    entry::<network_create::Args>("network create", Group::Unlisted, Some(("network", &["create"]))),
    entry::<network_disconnect::Args>("network disconnect", Group::Unlisted, Some(("network", &["disconnect"]))),
    entry::<network_inspect::Args>("network inspect", Group::Unlisted, Some(("network", &["inspect"]))),
    entry::<network_ls::Args>("network ls", Group::Unlisted, Some(("network", &["ls", "list"]))),
    entry::<network_prune::Args>("network prune", Group::Unlisted, Some(("network", &["prune"]))),
    entry::<network_rm::Args>("network rm", Group::Unlisted, Some(("network", &["rm", "remove"]))),
    entry::<man::Args>("man", Group::Unlisted, None),
    entry::<volume_create::Args>("volume create", Group::Unlisted, Some(("volume", &["create"]))),
    entry::<volume_inspect::Args>("volume inspect", Group::Unlisted, Some(("volume", &["inspect"]))),
    entry::<volume_ls::Args>("volume ls", Group::Unlisted, Some(("volume", &["ls", "list"]))),
    entry::<volume_prune::Args>("volume prune", Group::Unlisted, Some(("volume", &["prune"]))),
    entry::<volume_rm::Args>("volume rm", Group::Unlisted, Some(("volume", &["rm", "remove"]))),
];

/// A verb's place in the table.
const fn entry<V: Verb>(
    name: &'static str,
    group: Group,
    below: Option<(&'static str, &'static [&'static str])>,
) -> Entry {
    Entry {
        name,
        group,
        below,
        about: V::ABOUT,
        usage: V::USAGE,
        examples: V::EXAMPLES,
        options_end_at_name: V::OPTIONS_END_AT_NAME,
        failure_code: V::FAILURE_CODE,
        starts: V::STARTS,
        command: command::<V>,
        run: run::<V>,
        run_plainly: run_plainly::<V>,
    }
}

fn command<V: Verb>() -> Command {
    adapt(V::augment_args(Command::new("strata")))
}

fn run<V: Verb>(matches: &ArgMatches, session: &mut Session) -> Result<crate::exit::Exit> {
    V::from_arg_matches(matches)?.run(session)
}

fn run_plainly<V: Verb>(words: &[OsString], session: &mut Session) -> Option<Result<crate::exit::Exit>> {
    Some(V::plain(words)?.run(session))
}

/// Makes clap behave as pflag, which Docker uses: `--flag=false`, the last of repeated options wins, an option takes the
/// next word whatever it looks like, `-h` is free for verbs.
pub fn adapt(command: Command) -> Command {
    let has_short_h = command.get_arguments().any(|arg| arg.get_short() == Some('h'));
    let help = Arg::new("help").long("help").action(ArgAction::Help).hide(true);
    let help = if has_short_h { help } else { help.short('h') };
    command
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .mut_args(|arg| match arg.get_action() {
            ArgAction::SetTrue => {
                let arg = arg.action(ArgAction::Set).num_args(0..=1).require_equals(true);
                let arg = arg.default_missing_value("true").value_parser(go_bool);
                if arg.get_default_values().is_empty() { arg.default_value("false") } else { arg }
            }
            ArgAction::Set | ArgAction::Append if !arg.is_positional() => arg.allow_hyphen_values(true),
            _ => arg,
        })
        .arg(help)
}

/// What Go's `strconv.ParseBool` takes, with its error.
fn go_bool(text: &str) -> Result<bool, String> {
    crate::opts::go_bool(text).ok_or_else(|| format!("strconv.ParseBool: parsing {text:?}: invalid syntax"))
}

//! The program `strata`: words in, words out; the only crate that prints.
//!
//! ```text
//! dispatch.rs   argv → the verb it names → its exit code; the only place where errors become words
//! globals.rs    options before the verb
//! argv.rs       where a command's own words begin, as Docker's parser sees it
//! usage.rs      clap's errors in Docker's words        help.rs   --help in Docker's shape
//! absent.rs     what people are used to call and what there is not
//! session.rs    environment, working directory, clock, terminal, output: nothing else reads them
//! exit.rs       exit codes and failures                hint.rs   advice for well-known failures    log.rs  what crates say
//! verb/         one verb per file                      opts/     one kind of option value per file
//! mask.rs       values that look like secrets are not shown   exposure.rs  warnings of those an image shows
//! format/       templates, tables, JSON, sizes, ages   filter.rs `--filter`     progress.rs  what pulls and pushes draw
//! ```
#![allow(rustdoc::invalid_html_tags, reason = "help texts are plain text: `<timestamp>` is meant as it stands")]

mod absent;
pub mod argv;
pub mod build;
pub mod confirm;
pub mod container;
pub mod dispatch;
pub mod exit;
pub mod exposure;
pub mod filter;
pub mod format;
pub mod globals;
pub mod help;
pub mod hint;
pub mod log;
pub mod mask;
pub mod operands;
pub mod opts;
pub mod progress;
pub mod session;
pub mod streams;
pub mod usage;
pub mod verb;

/// Runs the program with the arguments, environment and streams of this process; the code to end with.
pub fn main() -> u8 {
    if let Some(code) = strata_runtime::reexec::main() {
        return code;
    }
    let mut session = session::Session::of_process();
    let mut words = std::env::args_os();
    let name = words.next();
    // By this name it can be given to programs that call a runtime: they have no words for it.
    let is_runtime =
        name.is_some_and(|name| std::path::Path::new(&name).file_name() == Some("strata-runtime".as_ref()));
    let words = is_runtime.then(|| "runtime".into()).into_iter().chain(words).collect();
    dispatch::run(words, &mut session).code()
}

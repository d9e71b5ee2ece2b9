//! Start, watch, enter and stop processes in containers: native runtime and shim.
//!
//! ```text
//! <root>/containers/<id>/      Container::at's `dir`
//!   bundle/                    what another OCI runtime is given (config.json), and where it finds the root
//!   state.json                 what the shim knows (State), renamed into place
//!   log.json  log.json.1 …     output, in Docker's json-file format
//! <run dir>/c/<id>/shim.sock   where the shim listens
//! <run dir>/c/<id>/spec.json   what it was started with (Spec)
//! <run dir>/seccomp/<hash>     compiled system call filters
//! <cgroup hierarchy>/strata/<id>
//! ```
//!
//! One shim per container: this program executed anew by [`Container::start`], with one thread. It makes the container,
//! copies output into the log and to whoever is attached, and records the end. Programs that use this crate call
//! [`reexec::main`] before anything else.

mod bundle;
mod container;
mod emulator;
mod error;
pub mod events;
mod foreground;
mod inside;
pub mod logs;
pub mod oci;
mod recorded;
pub mod reexec;
mod seccomp;
mod session;
mod shim;
pub mod spec;
mod state;
pub mod sysctl;
pub mod user;
mod wait;
mod wire;

pub use container::{Container, Held, Started};
pub use emulator::Emulator;
pub use error::Error;
pub use inside::options::is_word_for_memory;
pub use reexec::{Ahead, New};
pub use session::{Attach, Foreground, Outcome, Session, Stream};
pub use shim::{started_ticks, tell_joined};
pub use spec::{ExecSpec, Spec};
pub use state::{Health, HealthResult, HealthStatus, State, Status};
pub use wait::Condition;

//! What the tests of the other crates share: fixtures, an image maker, private namespaces, other people's programs.
//!
//! Everything here may panic: a fixture that cannot be made fails the test that asked for it.
#![allow(clippy::unwrap_used, reason = "a fixture that cannot be made must fail the test")]

pub mod arm64;
pub mod disk;
pub mod host;
pub mod image;
mod leftovers;
pub mod machine;
pub mod mock_registry;
pub mod peers;
pub mod private;
pub mod registry;
pub mod tar;

pub use machine::Machine;

/// Ends the calling test with a sentence when the host lacks something, so that nothing is skipped silently.
///
/// `need!(host::root(), host::program("skopeo"))`: each argument is a `Result<(), String>` whose error says what is missing.
#[macro_export]
macro_rules! need {
    ($($probe:expr),+ $(,)?) => {
        $(if let Err(missing) = $probe {
            $crate::host::skipped(module_path!(), &missing);
            return;
        })+
    };
}

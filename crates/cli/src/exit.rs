//! Exit codes, and failures on their way to one.

use std::error::Error;
use std::fmt;

use strata_types::{below, sentence};

/// The result of a verb and of what it calls here.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

/// What the program ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit(u8);

impl Exit {
    /// All went well.
    pub const SUCCESS: Self = Self(0);
    /// Something failed.
    pub const FAILURE: Self = Self(1);
    /// A template for something whole does not parse.
    pub const TEMPLATE: Self = Self(64);
    /// strata itself failed, where another code could be the container's; also wrong options.
    pub const ENGINE: Self = Self(125);
    /// The container's program cannot be executed.
    pub const NOT_EXECUTABLE: Self = Self(126);
    /// The container's program is not there.
    pub const NOT_FOUND: Self = Self(127);
    /// Interrupted, as a shell shows a program that ended by SIGINT.
    pub const INTERRUPTED: Self = Self(130);
    /// Whoever read our output went away, as a shell shows a program that ended by SIGPIPE.
    pub const BROKEN_PIPE: Self = Self(141);

    /// Ends with this code: the container's own, as a rule.
    pub const fn with(code: u8) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn code(self) -> u8 {
        self.0
    }
}

/// Why a verb ended early: an error, perhaps advice, perhaps a particular exit code.
///
/// Any error converts with `?`. A verb that has told of its errors already returns [`Failure::told`].
#[derive(Debug)]
pub struct Failure {
    /// What to say; nothing when all was said already.
    pub error: Option<Box<dyn Error + Send + Sync>>,
    /// Lines of advice, without `hint: `.
    pub hints: Vec<String>,
    /// The exit code, when it is not the verb's usual one.
    pub exit: Option<Exit>,
}

impl Failure {
    /// Fails with a sentence: what we could not do, to what.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self::from(Sentence(sentence.into()))
    }

    /// Ends with a code and says nothing, because everything was said.
    pub const fn told(exit: Exit) -> Self {
        Self { error: None, hints: Vec::new(), exit: Some(exit) }
    }

    /// Adds a line of advice.
    #[must_use]
    pub fn hint(mut self, line: impl Into<String>) -> Self {
        self.hints.push(line.into());
        self
    }

    /// Says before the error in what it was in the way.
    #[must_use]
    pub fn within(mut self, what: impl Into<String>) -> Self {
        self.error = self.error.map(|error| Box::new(Within(what.into(), error)) as Box<dyn Error + Send + Sync>);
        self
    }

    /// Ends with this code instead of the verb's usual one.
    #[must_use]
    pub const fn exit(mut self, exit: Exit) -> Self {
        self.exit = Some(exit);
        self
    }

    /// The error and its causes, outermost first.
    pub fn causes(&self) -> impl Iterator<Item = &(dyn Error + 'static)> {
        let first = self.error.as_ref().map(|error| &**error as &(dyn Error + 'static));
        std::iter::successors(first, |error| below(*error))
    }

    /// The whole message: each level's sentence, joined by colons, none twice in a row, the kernel's words without numbers.
    pub fn message(&self) -> Option<String> {
        self.causes().next().map(sentence)
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { error: Some(Box::new(error)), hints: Vec::new(), exit: None }
    }
}

/// An error that is one sentence.
#[derive(Debug)]
struct Sentence(String);

impl fmt::Display for Sentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Sentence {}

/// An error, and in what it was in the way.
#[derive(Debug)]
struct Within(String, Box<dyn Error + Send + Sync>);

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Within {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open `x`")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_message_names_every_level_once() {
        let failure = Failure::from(Outer(std::io::Error::other("no such file")));
        assert_eq!(failure.message().unwrap(), "cannot open `x`: no such file");
        assert_eq!(failure.within("cannot do it").message().unwrap(), "cannot do it: cannot open `x`: no such file");
        assert_eq!(Failure::told(Exit::FAILURE).message(), None);
    }
}

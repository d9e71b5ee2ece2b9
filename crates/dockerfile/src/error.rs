//! Why a text is no Dockerfile.

use crate::expand::ExpandError;

/// A problem, and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("dockerfile parse error on line {line}: {problem}")]
pub struct Error {
    /// The line at which the instruction begins, from 1.
    pub line: usize,
    /// The line at which it ends.
    pub last_line: usize,
    /// What is wrong.
    pub problem: Problem,
    /// What was probably meant.
    pub hint: Option<String>,
}

impl Error {
    /// A problem at some lines, with the likely fix where one is known.
    pub fn new(line: usize, last_line: usize, problem: Problem) -> Self {
        let hint = problem.hint();
        Self { line, last_line, problem, hint }
    }
}

/// What is wrong with an instruction, in the words of Docker's builder.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// Nothing but blanks and comments.
    #[error("file with no instructions")]
    Empty,
    /// The file is beyond what anybody writes.
    #[error("the Dockerfile has more than {0} bytes")]
    TooLarge(usize),
    /// One line is.
    #[error("dockerfile line greater than max allowed size of {0}")]
    LineTooLong(usize),
    /// Too many stages.
    #[error("the Dockerfile has more than {0} stages")]
    TooManyStages(usize),
    /// The escape directive names another character.
    #[error("invalid escape token '{0}' does not match ` or \\")]
    EscapeToken(String),
    /// A directive twice.
    #[error("only one {0} parser directive can be used")]
    DirectiveTwice(String),
    /// A device that cannot be read.
    #[error("invalid device {text:?}: unexpected field {field:?}")]
    Device {
        /// What was written.
        text: String,
        /// What of it.
        field: String,
    },
    /// A heredoc whose end is missing.
    #[error("unterminated heredoc")]
    Unterminated(String),
    /// A word that cannot be read.
    #[error(transparent)]
    Expand(#[from] ExpandError),
    /// A list of other things than strings.
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    /// `ENV name`.
    #[error("{0} must have two arguments")]
    TwoArguments(&'static str),
    /// `ENV a=b c`.
    #[error("Syntax error - can't find = in {0:?}. Must be of the form: name=value")]
    NoEquals(String),
    /// No such instruction.
    #[error("unknown instruction: {0}")]
    UnknownInstruction(String),
    /// No such flag of this instruction.
    #[error("unknown flag: --{0}")]
    UnknownFlag(String, Option<String>),
    /// A flag twice.
    #[error("duplicate flag specified: --{0}")]
    FlagTwice(String),
    /// A flag that lacks its value.
    #[error("missing a value on flag: --{0}")]
    FlagValue(String),
    /// A flag that is yes or no.
    #[error("expecting boolean value for flag --{0}, not: {1}")]
    FlagBoolean(String, String),
    /// Arguments are missing.
    #[error("{0} requires at least one argument")]
    AtLeastOne(&'static str),
    /// Arguments are missing or too many.
    #[error("{0} requires exactly one argument")]
    ExactlyOne(&'static str),
    /// `COPY x`.
    #[error("{0} requires at least two arguments, but only one was provided. Destination could not be determined")]
    NoDestination(&'static str),
    /// `ENV =x`.
    #[error("{0} names can not be blank")]
    BlankName(&'static str),
    /// `COPY x <<EOF`.
    #[error("{0} cannot accept a heredoc as a destination")]
    HeredocDestination(&'static str),
    /// `FROM a b`.
    #[error("FROM requires either one or three arguments")]
    From,
    /// A stage's name.
    #[error("invalid name for build stage: {0:?}, name can't start with a number or contain symbols")]
    StageName(String),
    /// `ONBUILD ONBUILD`.
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnBuildChain,
    /// `ONBUILD FROM`.
    #[error("{0} isn't allowed as an ONBUILD trigger")]
    Trigger(String),
    /// `HEALTHCHECK NONE x`.
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthNone,
    /// `HEALTHCHECK CMD`.
    #[error("Missing command after HEALTHCHECK CMD")]
    HealthCommand,
    /// `HEALTHCHECK x`.
    #[error("Unknown type {0:?} in HEALTHCHECK (try CMD)")]
    HealthKind(String),
    /// A duration that is none.
    #[error("time: invalid duration {0:?}")]
    Duration(String),
    /// A duration that is too short.
    #[error("Interval {0:?} cannot be less than 1ms")]
    ShortDuration(&'static str),
    /// Retries that are no number.
    #[error("strconv.ParseInt: parsing {0:?}: invalid syntax")]
    Retries(String),
    /// Fewer retries than none.
    #[error("--retries cannot be negative ({0})")]
    NegativeRetries(i64),
    /// `VOLUME [""]`.
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    /// `SHELL bash -c`.
    #[error("SHELL requires the arguments to be in JSON form")]
    ShellForm,
    /// A mount of RUN.
    #[error("invalid mount {0:?}: {1}")]
    Mount(String, String),
    /// `RUN --network=x`.
    #[error("invalid network mode {0:?}")]
    Network(String),
    /// `RUN --security=x`.
    #[error("security {0:?} is not valid")]
    Security(String),
    /// An instruction before the first FROM.
    #[error("no build stage in current context")]
    NoStage,
    /// No FROM at all.
    #[error("no build stage in the Dockerfile")]
    NoFrom,
}

impl Problem {
    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownInstruction(word) => {
                format!("did you mean {}?", crate::suggest::nearest(word, crate::instruction::NAMES)?)
            }
            Self::UnknownFlag(_, Some(near)) => format!("did you mean --{near}?"),
            Self::Unterminated(name) => format!("end it by a line that is `{name}` and nothing else"),
            Self::NoEquals(word) => format!("values with blanks are quoted: name=\"a {word}\""),
            Self::ShellForm => "write it as a list: SHELL [\"/bin/bash\", \"-c\"]".to_owned(),
            Self::NoStage | Self::NoFrom => "a Dockerfile begins with FROM (only ARG may stand before it)".to_owned(),
            Self::From => "write FROM image, or FROM image AS name".to_owned(),
            Self::FlagValue(flag) => format!("write --{flag}=value"),
            Self::NotStrings => "quote every element with double quotes".to_owned(),
            Self::HealthKind(_) => "write HEALTHCHECK CMD command, or HEALTHCHECK NONE".to_owned(),
            _ => return None,
        })
    }
}

//! Values of options, one kind per file: from Docker's notation to parsed types, with Docker's words for what does not
//! parse. Nothing here looks at the disk, the environment or the clock; what depends on them is handed in.
//!
//! A parser has the form that clap's `value_parser` takes: `#[arg(long, value_parser = opts::size::bytes)]`.

pub mod block_device;
pub mod csv;
pub mod detach_keys;
pub mod device;
pub mod duration;
pub mod environment;
pub mod host;
pub mod label;
pub mod mount;
pub mod network;
pub mod number;
pub mod platform;
pub mod port;
pub mod secret;
pub mod signal;
pub mod size;
pub mod stream;
pub mod sysctl;
pub mod time;
pub mod ulimit;
pub mod volume;

/// A value does not parse; the sentence is Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(String);

impl Invalid {
    /// Refuses a value with this sentence.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self(sentence.into())
    }
}

/// Why a value is refused, where Docker does not always name the option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The option is named.
    #[error(transparent)]
    OfOption(#[from] Invalid),
    /// Docker reads the value after all options, and says what is wrong with it alone.
    #[error(transparent)]
    Alone(Invalid),
}

/// A parser of values that Docker reads after all options.
pub fn late<T>(parse: impl Fn(&str) -> Result<T> + Clone) -> impl Fn(&str) -> std::result::Result<T, Refusal> + Clone {
    move |text| parse(text).map_err(Refusal::Alone)
}

/// The result of a parser.
pub type Result<T> = std::result::Result<T, Invalid>;

/// What Go's `strconv.ParseBool` takes.
pub fn go_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some(true),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some(false),
        _ => None,
    }
}

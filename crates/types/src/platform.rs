//! Platforms: `OS[(VERSION)]/ARCHITECTURE[/VARIANT]`, normalised and ordered as containerd does.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an image runs on. The field names on the wire are those of the OCI image-spec.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Platform {
    /// The processor, in Go's words: `amd64`, `arm64`.
    #[serde(default)]
    pub architecture: String,
    /// The operating system, in Go's words: `linux`.
    #[serde(default)]
    pub os: String,
    /// The version of the operating system; used by Windows images.
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features the operating system must have; used by Windows images.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// The processor's variant: `v7`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

/// Why a string is not a platform; the words are containerd's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// An operating system that is empty or has characters it must not have.
    #[error(
        "{component:?} is an invalid OS component of {text:?}: OSAndVersion specifier component must match \
         {OS_PATTERN:?}: invalid argument"
    )]
    System {
        /// What it was to be.
        component: String,
        /// The whole.
        text: String,
    },
    /// Another component that is empty or has characters it must not have.
    #[error(
        "{component:?} is an invalid component of {text:?}: platform specifier component must match \
         {COMPONENT_PATTERN:?}: invalid argument"
    )]
    Component {
        /// What it was to be.
        component: String,
        /// The whole.
        text: String,
    },
    /// More components than there are.
    #[error("{0:?}: cannot parse platform specifier: invalid argument")]
    Format(String),
    /// A single word that is neither.
    #[error("{0:?}: unknown operating system or architecture: invalid argument")]
    Unknown(String),
}

/// What an operating system is written with.
const OS_PATTERN: &str = r"^([A-Za-z0-9_-]+)(?:\(([A-Za-z0-9_.-]*)\))?$";
/// What an architecture or a variant is written with.
const COMPONENT_PATTERN: &str = "^[A-Za-z0-9_.-]+$";

impl Platform {
    /// Makes a normalised platform.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let platform = Self {
            os: os.to_owned(),
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..Self::default()
        };
        platform.normalised()
    }

    /// The platform this program was built for, which is the one it runs on.
    pub fn native() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, "")
    }

    /// Parses what people type. A single word is an operating system or an architecture; the rest comes from `host`.
    ///
    /// # Errors
    /// When a component is malformed, or a single word is not known.
    pub fn parse(text: &str, host: &Self) -> Result<Self, PlatformError> {
        let mut parts: Vec<&str> = text.split('/').collect();
        let (os, version) = system(parts[0])
            .ok_or_else(|| PlatformError::System { component: parts[0].to_owned(), text: text.to_owned() })?;
        parts[0] = os;
        if let Some(part) = parts[1..].iter().find(|part| !is_component(part)) {
            return Err(PlatformError::Component { component: (*part).to_owned(), text: text.to_owned() });
        }
        let mut platform = match *parts.as_slice() {
            [word] => {
                let guess = Self::new(word, word, "");
                if KNOWN_OS.contains(&&*guess.os) {
                    Self { os: guess.os, ..host.normalised() }
                } else if KNOWN_ARCHITECTURE.contains(&&*guess.architecture) && version.is_empty() {
                    Self { os: host.normalised().os, ..guess }
                } else {
                    return Err(PlatformError::Unknown(text.to_owned()));
                }
            }
            [os, architecture] => Self::new(os, architecture, ""),
            [os, architecture, variant] => Self::new(os, architecture, variant),
            _ => return Err(PlatformError::Format(text.to_owned())),
        };
        version.clone_into(&mut platform.os_version);
        Ok(platform)
    }

    /// Whether it is Windows, whose layers nothing but Windows can mount.
    pub fn is_windows(&self) -> bool {
        self.os.eq_ignore_ascii_case("windows")
    }

    /// As it is written when the version of the operating system matters, too: `windows(10.0.20348.2113)/amd64`.
    pub fn with_version(&self) -> String {
        let plain = self.to_string();
        match plain.split_once('/') {
            Some((os, rest)) if !self.os_version.is_empty() => format!("{os}({})/{rest}", self.os_version),
            _ => plain,
        }
    }

    /// The same platform in canonical words: `x86_64` is `amd64`, `armhf` is `arm/v7`.
    #[must_use]
    pub fn normalised(&self) -> Self {
        let os = match self.os.to_ascii_lowercase().as_str() {
            "macos" => "darwin".to_owned(),
            other => other.to_owned(),
        };
        let (architecture, variant) = (self.architecture.to_ascii_lowercase(), self.variant.to_ascii_lowercase());
        let (architecture, variant) = match (&*architecture, &*variant) {
            ("i386" | "x86", _) => ("386", ""),
            ("x86_64" | "x86-64" | "amd64", "v1") => ("amd64", ""),
            ("x86_64" | "x86-64" | "amd64", other) => ("amd64", other),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0") => ("arm64", ""),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64", "v9"),
            ("aarch64" | "arm64", other) => ("arm64", other),
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64le", other) => ("ppc64le", other),
            ("loongarch64", other) => ("loong64", other),
            (other, variant) => (other, variant),
        };
        Self { os, architecture: architecture.to_owned(), variant: variant.to_owned(), ..self.clone() }
    }

    /// How well `candidate` serves this platform: 0 is best, `None` is not at all. The order is that of
    /// `platforms.Only`: the same, then lower variants, then the 32-bit relative. A version of the operating system, where one
    /// is asked for, has to be the candidate's or its beginning: `10.0.20348` is served by `10.0.20348.2113`.
    pub fn rank(&self, candidate: &Self) -> Option<usize> {
        let candidate = candidate.normalised();
        if !self.takes_version_of(&candidate) {
            return None;
        }
        self.served_by().iter().position(|wanted| {
            wanted.os == candidate.os
                && wanted.architecture == candidate.architecture
                && wanted.variant == candidate.variant
        })
    }

    /// Whether this is the `unknown/unknown` that attestations carry.
    pub fn is_unknown(&self) -> bool {
        self.os == "unknown" && self.architecture == "unknown"
    }

    /// Whether a candidate has the version of the operating system that is asked for, if one is.
    pub fn takes_version_of(&self, candidate: &Self) -> bool {
        numbers(&candidate.os_version).starts_with(&numbers(&self.os_version))
    }

    /// Orders what serves a platform equally well: if that asked for a version of the operating system, the newest is the
    /// least.
    pub(crate) fn age(&self, candidate: &Self) -> std::cmp::Reverse<Vec<u64>> {
        let asked = !self.os_version.is_empty();
        std::cmp::Reverse(if asked { numbers(&candidate.os_version) } else { Vec::new() })
    }

    /// All platforms whose programs run here, best first.
    fn served_by(&self) -> Vec<Self> {
        let own = self.normalised();
        let with = |architecture: &str, variant: &str| Self {
            architecture: architecture.to_owned(),
            variant: variant.to_owned(),
            ..own.clone()
        };
        let number = own.variant.strip_prefix('v').and_then(|digits| digits.parse::<u32>().ok());
        let mut served = vec![own.clone()];
        match &*own.architecture {
            "amd64" => {
                for lower in (2..number.unwrap_or(1)).rev() {
                    served.push(with("amd64", &format!("v{lower}")));
                }
                if number.is_some() {
                    served.push(with("amd64", ""));
                }
                served.push(with("386", ""));
            }
            "arm" => served.extend((5..number.unwrap_or(7)).rev().map(|lower| with("arm", &format!("v{lower}")))),
            "arm64" => {
                if !own.variant.is_empty() {
                    served.push(with("arm64", ""));
                }
                served.extend((5..=8).rev().map(|lower| with("arm", &format!("v{lower}"))));
            }
            _ => {}
        }
        served
    }
}

/// An operating system, and its version if it has one.
fn system(text: &str) -> Option<(&str, &str)> {
    let (os, version) = match text.split_once('(') {
        Some((os, rest)) => (os, rest.strip_suffix(')').filter(|version| is_version(version))?),
        None => (text, ""),
    };
    is_component(os).then_some((os, version))
}

fn is_component(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// A version is of numbers and dots.
fn is_version(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()))
}

/// A version's numbers; what is none counts as 0.
fn numbers(version: &str) -> Vec<u64> {
    version.split('.').filter(|_| !version.is_empty()).map(|part| part.parse().unwrap_or(0)).collect()
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

const KNOWN_OS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "illumos",
    "ios",
    "js",
    "linux",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "wasip1",
    "windows",
];

const KNOWN_ARCHITECTURE: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: &str, expected: &str) {
        let host = Platform::new("linux", "amd64", "");
        assert_eq!(Platform::parse(input, &host).unwrap().to_string(), expected, "{input}");
    }

    #[test]
    fn many_words_for_one_platform() {
        check("linux/x86_64", "linux/amd64");
        check("Linux/AMD64", "linux/amd64");
        check("linux/aarch64", "linux/arm64");
        check("linux/arm64/v8", "linux/arm64");
        check("linux/armhf", "linux/arm/v7");
        check("linux/arm/6", "linux/arm/v6");
        check("arm64", "linux/arm64");
        check("linux", "linux/amd64");
        check("windows", "windows/amd64");
        check("macos/arm64", "darwin/arm64");
    }

    #[test]
    fn a_version_of_windows_is_part_of_it() {
        let host = Platform::new("linux", "arm64", "v8");
        let check = |input: &str, expected: &str| {
            assert_eq!(Platform::parse(input, &host).unwrap().with_version(), expected, "{input}");
        };
        check("windows(10.0.20348.2113)/amd64", "windows(10.0.20348.2113)/amd64");
        check("Windows(10.0.17763)/x86_64", "windows(10.0.17763)/amd64");
        check("windows(10.0.17763)", "windows(10.0.17763)/arm64");
        check("windows/amd64", "windows/amd64");
        for bad in ["windows()/amd64", "windows(10.0/amd64", "windows(10..0)", "windows(10)x", "amd64(10.0)", "w/a(1)"]
        {
            assert!(Platform::parse(bad, &host).is_err(), "{bad} parsed");
        }
    }

    #[test]
    fn a_version_is_served_by_those_that_begin_with_it() {
        let windows =
            |version: &str| Platform { os_version: version.to_owned(), ..Platform::new("windows", "amd64", "") };
        let serves = |wanted: &str, offered: &str| windows(wanted).rank(&windows(offered)) == Some(0);
        assert!(serves("", "10.0.17763.1") && serves("10.0.17763.1", "10.0.17763.1"));
        assert!(serves("10.0.17763", "10.0.17763.1") && serves("10.0", "10.0.20348.5"));
        assert!(!serves("10.0.17763.1", "10.0.17763.10") && !serves("10.0.2", "10.0.20348.5"));
        assert!(!serves("10.0.17763", ""));
    }

    #[test]
    fn nonsense_is_refused_in_containerds_words() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Platform::parse(text, &Platform::native()).unwrap_err().to_string(), expected);
        };
        let os = r#"OSAndVersion specifier component must match "^([A-Za-z0-9_-]+)(?:\\(([A-Za-z0-9_.-]*)\\))?$""#;
        let component = r#"platform specifier component must match "^[A-Za-z0-9_.-]+$""#;
        check("", &format!(r#""" is an invalid OS component of "": {os}: invalid argument"#));
        check(
            "li nux/amd64",
            &format!(r#""li nux" is an invalid OS component of "li nux/amd64": {os}: invalid argument"#),
        );
        check("linux/", &format!(r#""" is an invalid component of "linux/": {component}: invalid argument"#));
        check("a/b/c/d", r#""a/b/c/d": cannot parse platform specifier: invalid argument"#);
        check("bogus", r#""bogus": unknown operating system or architecture: invalid argument"#);
    }

    #[test]
    fn the_nearest_variant_is_preferred() {
        let host = Platform::new("linux", "arm64", "v8");
        let rank = |architecture: &str, variant: &str| host.rank(&Platform::new("linux", architecture, variant));
        assert_eq!(rank("arm64", ""), Some(0));
        assert!(rank("arm", "v7") < rank("arm", "v6"));
        assert_eq!(rank("amd64", ""), None);
        let host = Platform::new("linux", "amd64", "");
        assert_eq!(host.rank(&Platform::new("linux", "amd64", "v2")), None);
        assert_eq!(host.rank(&Platform::new("linux", "386", "")), Some(1));
        assert_eq!(host.rank(&Platform::new("windows", "amd64", "")), None);
    }
}

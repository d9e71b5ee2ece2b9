//! The ports of `EXPOSE`.

/// Why a word of `EXPOSE` is no port; the words are Docker's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// There is a protocol and nothing before it.
    #[error("No port specified: {0}<empty>")]
    Missing(String),
    /// It is neither a number nor a range.
    #[error("Invalid containerPort: {0}")]
    Number(String),
    /// No such protocol.
    #[error("Invalid proto: {0}")]
    Protocol(String),
}

/// `80`, `80/udp`, `8000-8010/tcp`: each port with its protocol. A port of the host before it (`8080:80`) is passed over, as
/// an image does not choose it.
///
/// # Errors
/// When it is no port, or the protocol is none.
pub fn exposed_ports(word: &str) -> Result<Vec<String>, PortError> {
    let of_container = word.rsplit_once(':').map_or(word, |(_, port)| port);
    let (range, protocol) = of_container.split_once('/').unwrap_or((of_container, ""));
    if range.is_empty() {
        return Err(PortError::Missing(word.to_owned()));
    }
    let bad = |_| PortError::Number(range.to_owned());
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let (first, last): (u16, u16) = (first.parse().map_err(bad)?, last.parse().map_err(bad)?);
    if last < first {
        return Err(PortError::Number(range.to_owned()));
    }
    let protocol = match &*protocol.to_ascii_lowercase() {
        "" => "tcp".to_owned(),
        known @ ("tcp" | "udp" | "sctp") => known.to_owned(),
        _ => return Err(PortError::Protocol(protocol.to_owned())),
    };
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(word: &str, expected: Result<&[&str], &str>) {
        let ports = exposed_ports(word).map_err(|error| error.to_string());
        let expected = expected.map(|ports| ports.iter().map(|port| (*port).to_owned()).collect());
        assert_eq!(ports, expected.map_err(str::to_owned), "{word}");
    }

    #[test]
    fn ports_have_protocols_and_ranges() {
        check("80", Ok(&["80/tcp"]));
        check("80/", Ok(&["80/tcp"]));
        check("8000-8002/UDP", Ok(&["8000/udp", "8001/udp", "8002/udp"]));
        check("127.0.0.1:8080:80", Ok(&["80/tcp"]));
    }

    #[test]
    fn what_is_no_port_is_told_in_dockers_words() {
        check("x", Err("Invalid containerPort: x"));
        check("9-8", Err("Invalid containerPort: 9-8"));
        check("70000", Err("Invalid containerPort: 70000"));
        check("80/ip", Err("Invalid proto: ip"));
        check("/tcp", Err("No port specified: /tcp<empty>"));
    }
}

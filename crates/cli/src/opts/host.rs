//! `--add-host NAME:IP`, `--dns`, `--dns-search`.

use std::net::IpAddr;

use super::{Invalid, Result};

/// A line for `/etc/hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name.
    pub name: String,
    /// Its address; none for `host-gateway`, the address by which containers reach the host.
    pub address: Option<IpAddr>,
}

/// Parses the value of `--add-host`: `NAME:IP`, `NAME=IP`, `NAME:host-gateway`; an IPv6 address may stand in brackets.
pub fn parse(text: &str) -> Result<Host> {
    let bad = || Invalid(format!("bad format for add-host: {text:?}"));
    let (name, address) = text.split_once('=').or_else(|| text.split_once(':')).ok_or_else(bad)?;
    if name.is_empty() {
        return Err(bad());
    }
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let address = match bare {
        "host-gateway" => None,
        _ => {
            let invalid = |_| Invalid(format!("invalid IP address in add-host: {address:?}"));
            Some(bare.parse().map_err(invalid)?)
        }
    };
    Ok(Host { name: name.to_owned(), address })
}

/// Parses the value of `--dns`.
pub fn address(text: &str) -> Result<IpAddr> {
    text.trim().parse().map_err(|_| Invalid(format!("IP address is not correctly formatted: {text}")))
}

/// Parses the value of `--dns-search`: a domain, or `.` for none.
pub fn search_domain(text: &str) -> Result<String> {
    let label = |label: &str| {
        let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        !label.is_empty() && label.len() <= 63 && label.bytes().all(inner) && !label.starts_with('-')
    };
    let domain = text.trim();
    let trimmed = domain.strip_suffix('.').unwrap_or(domain);
    if domain == "." || (trimmed.len() < 256 && trimmed.split('.').all(label)) {
        return Ok(domain.to_owned());
    }
    Err(Invalid(format!("{domain} is not a valid domain")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_have_addresses() {
        let four: IpAddr = "1.2.3.4".parse().unwrap();
        let six: IpAddr = "::1".parse().unwrap();
        for text in ["a:1.2.3.4", "a=1.2.3.4"] {
            assert_eq!(parse(text).unwrap(), Host { name: "a".into(), address: Some(four) });
        }
        for text in ["a:::1", "a=[::1]", "a:[::1]"] {
            assert_eq!(parse(text).unwrap(), Host { name: "a".into(), address: Some(six) });
        }
        assert_eq!(parse("h:host-gateway").unwrap().address, None);
    }

    #[test]
    fn refusals_are_dockers_words() {
        assert_eq!(parse("x").unwrap_err().to_string(), r#"bad format for add-host: "x""#);
        assert_eq!(parse("x:1").unwrap_err().to_string(), r#"invalid IP address in add-host: "1""#);
        assert_eq!(address("x").unwrap_err().to_string(), "IP address is not correctly formatted: x");
        assert_eq!(search_domain("a b").unwrap_err().to_string(), "a b is not a valid domain");
        assert_eq!(search_domain("example.com").unwrap(), "example.com");
    }
}

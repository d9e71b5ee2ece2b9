//! The header `WWW-Authenticate` (RFC 9110 section 11.6.1; distribution, "Token Authentication").

/// How a registry wants to be shown who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// User name and password with every request.
    Basic,
    /// A token from somewhere.
    Bearer {
        /// Where tokens come from: a URL.
        realm: String,
        /// Whom the token is for.
        service: String,
        /// What it has to allow: `repository:library/debian:pull`, several separated by spaces.
        scope: String,
    },
}

impl Challenge {
    /// Chooses from all the headers of one answer; Bearer where there are both.
    pub(crate) fn choose<'a>(headers: impl Iterator<Item = &'a str>) -> Option<Self> {
        let mut found = None;
        for (scheme, parameters) in headers.flat_map(parse) {
            let value = |name: &str| {
                let matching = parameters.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                matching.map(|(_, value)| value.clone()).unwrap_or_default()
            };
            match &*scheme {
                "bearer" if !value("realm").is_empty() => {
                    return Some(Self::Bearer {
                        realm: value("realm"),
                        service: value("service"),
                        scope: value("scope"),
                    });
                }
                "basic" => found = Some(Self::Basic),
                _ => {}
            }
        }
        found
    }
}

type Parsed = (String, Vec<(String, String)>);

/// Reads `Scheme key="value", key=value, Scheme …`; what does not fit ends the reading.
fn parse(header: &str) -> Vec<Parsed> {
    let mut challenges: Vec<Parsed> = Vec::new();
    let mut rest = header.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_token(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            break;
        }
        if let Some(value) = after.trim_start().strip_prefix('=') {
            let (value, after) = parse_value(value.trim_start());
            let Some((_, parameters)) = challenges.last_mut() else { break };
            parameters.push((word.to_owned(), value));
            rest = after;
        } else {
            challenges.push((word.to_ascii_lowercase(), Vec::new()));
            rest = after;
        }
        rest = rest.trim_start_matches([' ', '\t', ',']);
    }
    challenges
}

fn parse_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        return text
            .split_at_checked(text.find([',', ' ']).unwrap_or(text.len()))
            .map_or_else(|| (String::new(), ""), |(value, rest)| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return (value, &quoted[index + 1..]),
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    (value, "")
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(header: &str, expected: Option<Challenge>) {
        assert_eq!(Challenge::choose([header].into_iter()), expected, "{header}");
    }

    fn bearer(realm: &str, service: &str, scope: &str) -> Option<Challenge> {
        let [realm, service, scope] = [realm, service, scope].map(str::to_owned);
        Some(Challenge::Bearer { realm, service, scope })
    }

    #[test]
    fn headers_of_real_registries() {
        check(
            r#"Bearer realm="https://auth.docker.io/token",service="registry.docker.io",scope="repository:a/b:pull,push""#,
            bearer("https://auth.docker.io/token", "registry.docker.io", "repository:a/b:pull,push"),
        );
        check(r#"Basic realm="x, y""#, Some(Challenge::Basic));
        check(r#"Basic realm="x", Bearer realm=https://t/, service="a\"b""#, bearer("https://t/", "a\"b", ""));
        check(r#"bearer REALM="r""#, bearer("r", "", ""));
    }

    #[test]
    fn nonsense_is_no_challenge() {
        for bad in
            ["", "=", "Negotiate", "Bearer", r#"Bearer service="x""#, "\"", "realm=\"x\"", "Bearer realm=\"", "é"]
        {
            check(bad, None);
        }
    }
}

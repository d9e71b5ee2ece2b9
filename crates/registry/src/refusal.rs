//! What a registry says when it refuses (distribution-spec, "Error Codes").

use serde::Deserialize;

use crate::Refusal;

/// The most bytes of an error's body that are read.
pub(crate) const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// The longest message that is passed on to a person.
const MESSAGE_CHARS_MAX: usize = 512;

#[derive(Default, Deserialize)]
#[serde(default)]
struct Body {
    errors: Vec<Entry>,
    details: Option<String>,
    message: Option<String>,
    error_description: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    code: String,
    message: Option<String>,
}

impl Refusal {
    /// Understands the body of an answer with an error status; what it does not understand becomes the status alone.
    pub(crate) fn parse(status: u16, body: &[u8]) -> Self {
        let body: Body = serde_json::from_slice(body).unwrap_or_default();
        let said = body.message.or(body.details).or(body.error_description).filter(|said| !said.is_empty());
        let (code, text) = match (body.errors.into_iter().next(), said) {
            (Some(entry), _) => {
                let words = clean(&entry.code).to_lowercase().replace('_', " ");
                let message = clean(entry.message.as_deref().unwrap_or_default());
                let text = if message.is_empty() { words } else { format!("{words}: {message}") };
                (entry.code, text)
            }
            (None, Some(said)) if status == 401 => (String::new(), format!("unauthorized: {}", clean(&said))),
            (None, Some(said)) => (String::new(), clean(&said)),
            (None, None) => (String::new(), format!("unexpected status {}", status_text(status))),
        };
        Self { status, code, text }
    }
}

fn status_text(status: u16) -> String {
    http::StatusCode::from_u16(status).map_or_else(|_| status.to_string(), |status| status.to_string())
}

/// Drops what could steer a terminal, and what is too long.
fn clean(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(status: u16, body: &str, expected: &str) {
        assert_eq!(Refusal::parse(status, body.as_bytes()).to_string(), expected);
    }

    #[test]
    fn refusals_are_told_as_docker_does() {
        let unknown = r#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"x":1}}]}"#;
        check(404, unknown, "manifest unknown: manifest unknown");
        check(401, r#"{"details":"incorrect username or password"}"#, "unauthorized: incorrect username or password");
        check(500, "<html>", "unexpected status 500 Internal Server Error");
        check(
            429,
            r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow \u001b[2Jdown"}]}"#,
            "toomanyrequests: slow [2Jdown",
        );
    }
}

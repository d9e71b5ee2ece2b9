//! `inspect`: whole things as JSON, or a template applied to each.

use serde::Serialize as _;
use serde_json::Value as Json;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::list;
use super::template::Value;
use crate::exit::{Exit, Failure, Result};

/// Shows things whole: an indented array without a format, a compact one for `json`, else a line for each.
pub fn inspect(format: Option<&str>, things: &[Json]) -> Result<String> {
    match format.unwrap_or_default() {
        "" => Ok(format!("{}\n", indented(&Json::Array(things.to_vec()))?)),
        "json" => Ok(format!("{}\n", Json::Array(things.to_vec()))),
        source => {
            let template = list::parse(source).map_err(|failure| failure.exit(Exit::TEMPLATE))?;
            let mut text = String::new();
            for thing in things {
                let line = template.render(&Value::new("", thing));
                text.push_str(&line.map_err(|error| Failure::new(format!("template parsing error: {error}")))?);
                text.push('\n');
            }
            Ok(text)
        }
    }
}

/// JSON with Docker's indentation of four spaces.
pub fn indented(value: &Json) -> Result<String> {
    let mut bytes = Vec::new();
    value.serialize(&mut Serializer::with_formatter(&mut bytes, PrettyFormatter::with_indent(b"    ")))?;
    Ok(String::from_utf8(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn inspect_prints_as_docker() {
        let things = [json!({"Id": "a", "L": [], "M": {"k": "<&>"}}), json!({"Id": "b"})];
        let whole = "[\n    {\n        \"Id\": \"a\",\n        \"L\": [],\n        \"M\": {\n            \"k\": \"<&>\"\n        }\n    },\n    {\n        \"Id\": \"b\"\n    }\n]\n";
        assert_eq!(inspect(None, &things).unwrap(), whole);
        assert_eq!(inspect(None, &[]).unwrap(), "[]\n");
        assert_eq!(inspect(Some("json"), &things[1..]).unwrap(), "[{\"Id\":\"b\"}]\n");
        assert_eq!(inspect(Some("{{.Id}}"), &things).unwrap(), "a\nb\n");
        assert!(inspect(Some("{{.Nope}}"), &things).is_err());
    }
}

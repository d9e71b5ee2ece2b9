//! `inspect`: whole things as JSON, or a template applied to each.

use serde::Serialize as _;
use serde_json::Value as Json;
use serde_json::ser::{PrettyFormatter, Serializer};

use super::list::parse;
use super::template::{Template, Value};
use crate::exit::{Exit, Failure, Result};

/// Things that are shown whole, one after the other: an indented array without a format, a compact one for `json`, else a
/// line for each.
#[derive(Debug)]
pub struct Inspection {
    how: How,
    things: Vec<Json>,
    text: String,
}

#[derive(Debug)]
enum How {
    Indented,
    Compact,
    Lines(Template),
}

impl Inspection {
    /// Begins; refuses a template that does not parse.
    pub fn new(format: Option<&str>) -> Result<Self> {
        let how = match format.unwrap_or_default() {
            "" => How::Indented,
            "json" => How::Compact,
            source => How::Lines(parse(source).map_err(|failure| failure.exit(Exit::TEMPLATE))?),
        };
        Ok(Self { how, things: Vec::new(), text: String::new() })
    }

    /// Adds a thing, if the template fits it.
    pub fn add(&mut self, thing: &Value) -> Result<()> {
        let How::Lines(template) = &self.how else {
            self.things.push(thing.to_json());
            return Ok(());
        };
        let line = template.render(thing);
        self.text.push_str(&line.map_err(|error| Failure::new(format!("template parsing error: {error}")))?);
        self.text.push('\n');
        Ok(())
    }

    /// What there is to print.
    pub fn finish(self) -> Result<String> {
        Ok(match self.how {
            How::Indented => format!("{}\n", indented(&Json::Array(self.things))?),
            How::Compact => format!("{}\n", Json::Array(self.things)),
            How::Lines(_) => self.text,
        })
    }
}

/// Shows things whole, all or none.
pub fn inspect(format: Option<&str>, things: &[Json]) -> Result<String> {
    let mut inspection = Inspection::new(format)?;
    things.iter().try_for_each(|thing| inspection.add(&Value::new("", thing)))?;
    inspection.finish()
}

/// Shows one thing as a template says; the errors have no words before Go's.
pub fn document(template: Result<Template, super::template::TemplateError>, thing: &Value) -> Result<String> {
    let wrong = |error| Failure::new(format!("template parsing error: {error}")).exit(Exit::TEMPLATE);
    Ok(format!("{}\n", template.map_err(wrong)?.render(thing)?))
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

    #[test]
    fn a_thing_that_a_template_does_not_fit_leaves_the_others() {
        let mut inspection = Inspection::new(Some("{{.Id}}{{.L}}")).unwrap();
        assert!(inspection.add(&Value::new("", &json!({"Id": "a"}))).is_err());
        inspection.add(&Value::new("", &json!({"Id": "b", "L": 1}))).unwrap();
        assert_eq!(inspection.finish().unwrap(), "b1\n");
    }

    #[test]
    fn a_document_is_of_a_type_and_its_template_has_a_name() {
        let thing = Value::typed("system.versionInfo", &json!({"Client": {"Version": "1"}}));
        let check = |source: &str, code: Option<Exit>, expected: &str| {
            let failure = document(Template::named("version", source), &thing).unwrap_err();
            assert_eq!((failure.message().as_deref(), failure.exit), (Some(expected), code));
        };
        let types = [
            (".Foo", 2, "system.versionInfo"),
            (".Client.Foo", 9, "system.clientVersion"),
            (".Client.Version.Foo", 9, "string"),
            (".client", 2, "system.versionInfo"),
        ];
        for (path, column, of) in types {
            let field = path.rsplit('.').next().unwrap();
            let expected = format!(
                "template: version:1:{column}: executing \"version\" at <{path}>: can't evaluate field {field} in type {of}"
            );
            check(&format!("{{{{{path}}}}}"), None, &expected);
        }
        let expected = "template parsing error: template: version:1: unclosed action";
        check("{{.Foo", Some(Exit::TEMPLATE), expected);
        assert_eq!(document(Template::parse("{{.Client.Version}}"), &thing).unwrap(), "1\n");
    }
}

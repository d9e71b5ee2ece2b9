//! Lists: `--format`, `-q` and the table that is printed without them.

use serde_json::{Map, Value as Json};

use super::tabs;
use super::template::{Template, TemplateError, Value};
use crate::exit::{Failure, Result};

/// What a verb can list: its columns and its table.
#[derive(Clone, Copy, Debug)]
pub struct List<'a> {
    /// Docker's type of a row, which it names when a row has not the field that is asked for.
    pub of: &'static str,
    /// Each field that a row has, with its heading in tables.
    pub columns: &'a [(&'a str, &'a str)],
    /// The table printed by default, as a template without `table `; tabs as tabs.
    pub table: &'a str,
    /// What `-q` prints.
    pub quiet: &'a str,
}

impl List<'_> {
    /// Lists rows: objects that have all the columns' fields, texts where Docker's are texts.
    ///
    /// Without a format, or with `table`, it is the default table, or what `quiet` says. `json` is one object a line,
    /// `table TEMPLATE` a table of one's own, anything else a template for each row.
    pub fn render(&self, format: Option<&str>, quiet: bool, rows: &[Json]) -> Result<String> {
        let format = format.unwrap_or_default().trim_matches(' ').replace("\\t", "\t").replace("\\n", "\n");
        match format.as_str() {
            "" | "table" if quiet => self.lines(self.quiet, rows),
            "" | "table" => self.table_of(self.table, rows),
            "json" => self.lines("{{json .}}", rows),
            other => match other.strip_prefix("table") {
                Some(template) => self.table_of(template.trim_matches(' '), rows),
                None => self.lines(other, rows),
            },
        }
    }

    /// Refuses a template that fits no row, whether there is one or not.
    pub fn check(&self, format: &str) -> Result<()> {
        let wrong = |error| Failure::new(format!("failed to parse template: {error}"));
        let template = Template::parse(format).map_err(wrong)?;
        // Wide enough for `slice`.
        let row = self.columns.iter().map(|(field, _)| ((*field).to_owned(), Json::from(" ".repeat(64)))).collect();
        let rendered = template.render(&Value::Typed(self.of, row));
        rendered.map(drop).map_err(|error| self.misfit("failed to execute template", &error))
    }

    fn lines(&self, template: &str, rows: &[Json]) -> Result<String> {
        let template = parse(template)?;
        let mut text = String::new();
        for row in rows {
            text.push_str(&self.row(&template, row)?);
            text.push('\n');
        }
        Ok(tabs::align(&text))
    }

    fn table_of(&self, source: &str, rows: &[Json]) -> Result<String> {
        let template = parse(source)?;
        let names: Map<String, Json> =
            self.columns.iter().map(|(field, heading)| ((*field).to_owned(), Json::from(*heading))).collect();
        let heading = template.render_header(&Value::Map(names));
        let mut text = heading.map_err(|error| self.misfit(MISFIT, &error))?;
        text.push('\n');
        for row in rows {
            text.push_str(&self.row(&template, row)?);
            text.push('\n');
        }
        Ok(tabs::align(&text))
    }

    fn row(&self, template: &Template, row: &Json) -> Result<String> {
        let mut fields: Vec<(String, Json)> =
            row.as_object().map(|row| row.iter().map(|(k, v)| (k.clone(), v.clone())).collect()).unwrap_or_default();
        // `{{json .}}` shows fields in the order of their names.
        fields.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        let value = Value::Typed(self.of, fields.into_iter().collect());
        template.render(&value).map_err(|error| self.misfit(MISFIT, &error))
    }

    fn misfit(&self, what: &str, error: &TemplateError) -> Failure {
        let mut fields: Vec<&str> = self.columns.iter().map(|(field, _)| *field).collect();
        fields.sort_unstable();
        let known: Vec<String> = fields.iter().map(|field| format!(".{field}")).collect();
        Failure::new(format!("{what}: {error}")).hint(format!("fields are {}", known.join(" ")))
    }
}

/// What Docker says of templates in lists, whether they do not parse or name what a row has not.
const MISFIT: &str = "template parsing error";

/// Parses a template, with Docker's words before Go's where it does not parse.
pub(super) fn parse(source: &str) -> Result<Template> {
    Template::parse(source).map_err(|error| Failure::new(format!("{MISFIT}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIST: List<'_> = List {
        of: "*formatter.ContainerContext",
        columns: &[("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Labels", "LABELS")],
        table: "{{.ID}}\t{{.Names}}",
        quiet: "{{.ID}}",
    };

    fn check(format: Option<&str>, quiet: bool, expected: &str) {
        let rows =
            [json!({"Names": "one", "ID": "abc", "Labels": "a=1"}), json!({"Names": "two", "ID": "d", "Labels": ""})];
        assert_eq!(LIST.render(format, quiet, &rows).unwrap(), expected, "{format:?}");
    }

    #[test]
    fn lists_have_dockers_formats() {
        check(None, false, "CONTAINER ID   NAMES\nabc            one\nd              two\n");
        check(Some("table"), false, "CONTAINER ID   NAMES\nabc            one\nd              two\n");
        check(None, true, "abc\nd\n");
        check(
            Some("json"),
            false,
            "{\"ID\":\"abc\",\"Labels\":\"a=1\",\"Names\":\"one\"}\n{\"ID\":\"d\",\"Labels\":\"\",\"Names\":\"two\"}\n",
        );
        check(Some(r"table {{.Names}}\t{{lower .ID}}"), false, "NAMES     CONTAINER ID\none       abc\ntwo       d\n");
        check(Some("{{.Names}}:{{.ID}}"), false, "one:abc\ntwo:d\n");
        check(Some(r"{{.Names}}\t{{.ID}}"), false, "one       abc\ntwo       d\n");
        check(Some(r#"{{.Label "a"}}"#), false, "1\n\n");
    }

    #[test]
    fn a_field_that_is_not_there_is_refused_and_the_others_named() {
        let failure = LIST.render(Some("{{.Foo}}"), false, &[json!({"ID": "a"})]).unwrap_err();
        let expected = "template parsing error: template: :1:2: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext";
        assert_eq!(failure.message().unwrap(), expected);
        assert_eq!(failure.hints, ["fields are .ID .Labels .Names"]);
        assert_eq!(LIST.render(Some("{{.Foo}}"), false, &[]).unwrap(), "");
        assert_eq!(LIST.render(Some("table {{.Foo}}"), false, &[]).unwrap(), "<no value>\n");
        let failure = LIST.check("{{slice .ID 0 4}} {{.Foo}}").unwrap_err();
        let expected = "failed to execute template: template: :1:20: executing \"\" at <.Foo>: can't evaluate field Foo in type *formatter.ContainerContext";
        assert_eq!(failure.message().unwrap(), expected);
        let failure = LIST.render(Some("{{foo}}"), false, &[]).unwrap_err();
        assert_eq!(failure.message().unwrap(), "template parsing error: template: :1: function \"foo\" not defined");
    }
}

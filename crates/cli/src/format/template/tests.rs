//! Compares templates with what Docker 26 made of them: `tests/golden/templates.json` holds the JSON of a container, and
//! for each template the output or the error of `docker inspect --format`.

use serde_json::Value as Json;

use super::*;

const GOLDEN: &str = include_str!("../../../tests/golden/templates.json");

#[test]
fn templates_print_what_docker_prints() {
    let golden: Json = serde_json::from_str(GOLDEN).unwrap();
    let data = Value::new("", &golden["data"]);
    let mut wrong = Vec::new();
    for case in golden["cases"].as_array().unwrap() {
        let source = case["template"].as_str().unwrap();
        let result = Template::parse(source).and_then(|template| template.render(&data));
        let same = match &result {
            Ok(text) => case["output"].as_str() == Some(text),
            Err(error) => case["error"].as_str() == Some(error.to_string().as_str()),
        };
        if !same {
            let expected = if case["output"].is_null() { &case["error"] } else { &case["output"] };
            wrong.push(format!("{source}\n  ours   {result:?}\n  docker {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn deep_nesting_is_refused() {
    for (open, close) in [("(", ")"), ("{{if 1}}", "{{end}}")] {
        let inner = format!("{}1{}", open.repeat(10_000), close.repeat(10_000));
        let source = if open == "(" { format!("{{{{{inner}}}}}") } else { inner };
        assert!(Template::parse(&source).unwrap_err().to_string().contains("nest too deep"));
    }
}

#[test]
fn labels_are_asked_by_name() {
    let row = Value::new("", &serde_json::json!({"Labels": "a=1,com.example.some-name=two"}));
    let render = |source: &str| Template::parse(source).unwrap().render(&row).unwrap();
    assert_eq!(render(r#"{{.Label "com.example.some-name"}}|{{.Label "x"}}|"#), "two||");
    let header = Template::parse(r#"{{.Label "com.example.some-name"}}"#).unwrap().render_header(&row).unwrap();
    assert_eq!(header, "some name");
}

#[test]
fn headers_pass_through_functions() {
    let names = Value::new("", &serde_json::json!({"Names": "NAMES"}));
    let header = Template::parse("{{lower .Names}} {{truncate .Names 2}} {{json .Names}}").unwrap();
    assert_eq!(header.render_header(&names).unwrap(), "NAMES NAMES NAMES");
}

#[test]
fn no_template_panics() {
    let data = Value::new("", &serde_json::json!({"A": [1, "é", null, {"B": 1.5}]}));
    let pieces = [
        "{{",
        "}}",
        "{{-",
        " -}}",
        "if",
        "range",
        "end",
        "else",
        "$x",
        ":=",
        "|",
        "(",
        ")",
        ".",
        ".A",
        "\"é",
        "'",
        "`",
        "printf",
        "\"%-5.3q\"",
        "slice",
        "1",
        "-",
        "é",
        "/*",
        "*/",
        " ",
        "index",
        "nil",
        "\n",
    ];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut source = String::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            source.push_str(pieces[usize::try_from(seed >> 33).unwrap() % pieces.len()]);
        }
        if let Ok(template) = Template::parse(&source) {
            drop(template.render(&data));
        }
    }
}

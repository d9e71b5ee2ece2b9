//! What a config says about how its image came about, in the words of BuildKit.

use strata_types::config::{Healthcheck, History};

/// Says that the words are BuildKit's: tools that print histories look for it.
const COMMENT: &str = "buildkit.dockerfile.v0";

/// A step that may have added a layer at a moment.
pub(crate) fn step(created_by: String, layer_created: Option<&str>) -> History {
    History {
        created: layer_created.map(str::to_owned),
        created_by,
        comment: COMMENT.to_owned(),
        empty_layer: layer_created.is_none(),
        ..History::default()
    }
}

/// Fills in when steps without a layer were done: with the layer before them, or with the first new one. Gives the time of
/// the last step.
pub(crate) fn complete(history: &mut [History]) -> Option<String> {
    let mut first_new = None;
    let mut is_open = false;
    for step in history.iter() {
        match &step.created {
            Some(created) => {
                first_new = Some(created.clone());
                if is_open {
                    break;
                }
            }
            None => is_open = true,
        }
    }
    let mut time = first_new;
    let mut is_open = false;
    for step in history.iter_mut() {
        match &step.created {
            Some(created) if is_open => time = Some(created.clone()),
            Some(_) => {}
            None => {
                is_open = true;
                step.created.clone_from(&time);
            }
        }
    }
    history.iter().rev().find_map(|step| step.created.clone())
}

/// A list as Go's `%q` prints it.
pub(crate) fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|word| quote(word)).collect();
    format!("[{}]", words.join(" "))
}

/// A health check as BuildKit prints it.
pub(crate) fn health(check: &Healthcheck) -> String {
    let time = |nanoseconds: i64| format!("\"{}\"", duration(nanoseconds));
    let retries = u8::try_from(check.retries).unwrap_or(u8::MAX);
    let retries = match retries {
        7 => "'\\a'".to_owned(),
        8 => "'\\b'".to_owned(),
        9 => "'\\t'".to_owned(),
        10 => "'\\n'".to_owned(),
        11 => "'\\v'".to_owned(),
        12 => "'\\f'".to_owned(),
        13 => "'\\r'".to_owned(),
        number if number < 32 => format!("'\\x{number:02x}'"),
        number => format!("'{}'", char::from(number)),
    };
    let times = [check.interval, check.timeout, check.start_period, check.start_interval].map(time).join(" ");
    format!("&{{{} {times} {retries}}}", quoted(&check.test))
}

/// A duration as Go prints it.
fn duration(nanoseconds: i64) -> String {
    let fraction = |value: i64, unit: i64| {
        let text = format!("{}.{:09}", value / unit, (value % unit) * (1_000_000_000 / unit));
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    match nanoseconds {
        0 => "0s".to_owned(),
        ns if ns < 1_000 => format!("{ns}ns"),
        ns if ns < 1_000_000 => format!("{}µs", fraction(ns, 1_000)),
        ns if ns < 1_000_000_000 => format!("{}ms", fraction(ns, 1_000_000)),
        ns => {
            let (hours, minutes) = (ns / 3_600_000_000_000, ns / 60_000_000_000 % 60);
            let seconds = fraction(ns % 60_000_000_000, 1_000_000_000);
            match (hours, minutes) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    }
}

fn quote(word: &str) -> String {
    let mut text = String::from("\"");
    for char in word.chars() {
        match char {
            '"' | '\\' => text.extend(['\\', char]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '\r' => text.push_str("\\r"),
            char if char.is_control() => text.push_str(&format!("\\x{:02x}", u32::from(char))),
            char => text.push(char),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_without_a_layer_have_the_time_of_one() {
        let step = |created: Option<&str>| History { created: created.map(str::to_owned), ..History::default() };
        let check = |before: &[Option<&str>], after: &[&str]| {
            let mut history: Vec<History> = before.iter().map(|created| step(*created)).collect();
            let last = complete(&mut history);
            let found: Vec<&str> = history.iter().map(|step| step.created.as_deref().unwrap_or("-")).collect();
            assert_eq!(found, after);
            assert_eq!(last.as_deref(), after.last().copied().filter(|created| *created != "-"));
        };
        check(&[Some("1"), Some("2"), None], &["1", "2", "2"]);
        check(&[Some("1"), None, Some("2"), None, Some("3"), None], &["1", "2", "2", "2", "3", "3"]);
        check(&[None, None], &["-", "-"]);
        check(&[None, Some("5")], &["5", "5"]);
    }

    #[test]
    fn words_and_checks_print_as_go_does() {
        assert_eq!(quoted(&["sh".to_owned(), "a \"b\"\\\n".to_owned()]), r#"["sh" "a \"b\"\\\n"]"#);
        let check = Healthcheck {
            test: vec!["CMD-SHELL".to_owned(), "x".to_owned()],
            interval: 90_000_000_000,
            timeout: 1_500_000_000,
            start_interval: 250_000_000,
            retries: 3,
            ..Healthcheck::default()
        };
        assert_eq!(health(&check), r#"&{["CMD-SHELL" "x"] "1m30s" "1.5s" "0s" "250ms" '\x03'}"#);
    }
}

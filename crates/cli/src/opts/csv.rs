//! Values with commas between their fields.

use super::{Invalid, Result};

/// Splits one CSV record as Go's `encoding/csv` does: a field that begins with a quote may hold commas.
pub fn fields(text: &str) -> Result<Vec<String>> {
    if text.is_empty() {
        return Err(Invalid::new("EOF"));
    }
    let parse_error = |at: usize, what: &str| Invalid(format!("parse error on line 1, column {}: {what}", at + 1));
    let mut fields = Vec::new();
    let mut rest = text;
    loop {
        let start = text.len() - rest.len();
        if let Some(quoted) = rest.strip_prefix('"') {
            let mut field = String::new();
            let mut tail = quoted;
            loop {
                let Some((part, after)) = tail.split_once('"') else {
                    return Err(parse_error(text.len(), "extraneous or missing \" in quoted-field"));
                };
                field.push_str(part);
                tail = after;
                match tail.strip_prefix('"') {
                    Some(after) => {
                        field.push('"');
                        tail = after;
                    }
                    None => break,
                }
            }
            fields.push(field);
            match tail.strip_prefix(',') {
                Some(after) => rest = after,
                None if tail.is_empty() => return Ok(fields),
                None => {
                    return Err(parse_error(text.len() - tail.len() - 1, "extraneous or missing \" in quoted-field"));
                }
            }
            continue;
        }
        let (field, after) = rest.split_once(',').map_or((rest, None), |(field, after)| (field, Some(after)));
        if let Some(quote) = field.find('"') {
            return Err(parse_error(start + quote, "bare \" in non-quoted-field"));
        }
        fields.push(field.to_owned());
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

//! Go's `fmt`: `%v %s %d %q %t %x %X %o %b %c %e %f %g %T`, with flags, width and precision.

use super::value::Value;

/// `print`: spaces between operands when neither is a string.
pub(super) fn print(arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut after_string = true;
    for (index, argument) in arguments.iter().enumerate() {
        let is_string = matches!(argument, Value::String(_));
        if index > 0 && !is_string && !after_string {
            text.push(' ');
        }
        text.push_str(&argument.formatted());
        after_string = is_string;
    }
    text
}

/// `println`: spaces between operands, a newline at the end.
pub(super) fn println(arguments: &[Value]) -> String {
    let words: Vec<String> = arguments.iter().map(Value::formatted).collect();
    format!("{}\n", words.join(" "))
}

/// `printf`.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut text = String::new();
    let mut arguments_left = arguments.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            text.push(c);
            continue;
        }
        let mut directive = Directive::default();
        while let Some(flag) = chars.next_if(|c| "+-# 0".contains(*c)) {
            directive.flag(flag);
        }
        directive.width = number(&mut chars, &mut arguments_left);
        if chars.next_if_eq(&'.').is_some() {
            directive.precision = Some(number(&mut chars, &mut arguments_left).unwrap_or(0));
        }
        match chars.next() {
            None => text.push_str("%!(NOVERB)"),
            Some('%') => text.push('%'),
            Some(verb) => match arguments_left.next() {
                None => text.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => text.push_str(&directive.format(verb, value)),
            },
        }
    }
    let extra: Vec<String> =
        arguments_left.map(|value| format!("{}={}", value.type_name(), value.formatted())).collect();
    if !extra.is_empty() {
        text.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    text
}

/// How wide or precise a directive may be: more is a slip of the finger.
const WIDTH_MAX: usize = 10_000;

fn number(
    chars: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &mut std::slice::Iter<'_, Value>,
) -> Option<usize> {
    if chars.next_if_eq(&'*').is_some() {
        let Value::Number(number) = arguments.next()? else { return None };
        return usize::try_from(number.as_u64()?).ok().map(|width| width.min(WIDTH_MAX));
    }
    let mut value = None;
    while let Some(digit) = chars.peek().and_then(|c| c.to_digit(10)) {
        chars.next();
        value = Some((value.unwrap_or(0) * 10 + digit as usize).min(WIDTH_MAX));
    }
    value
}

/// What stands between `%` and the verb.
#[derive(Default)]
struct Directive {
    plus: bool,
    left: bool,
    sharp: bool,
    space: bool,
    zero: bool,
    width: Option<usize>,
    precision: Option<usize>,
}

impl Directive {
    fn flag(&mut self, flag: char) {
        match flag {
            '+' => self.plus = true,
            '-' => self.left = true,
            '#' => self.sharp = true,
            ' ' => self.space = true,
            _ => self.zero = true,
        }
    }

    fn format(&self, verb: char, value: &Value) -> String {
        let wrong = || format!("%!{verb}({}={})", value.type_name(), value.formatted());
        let text = match (verb, value) {
            ('v', Value::Number(number)) if number.is_f64() => general(number.as_f64().unwrap_or(0.0)),
            ('v', Value::Number(number)) => self.signed(number.to_string()),
            ('v', Value::String(text)) if self.sharp => quoted(text),
            ('v', value) => value.formatted(),
            ('T', value) => value.type_name().to_owned(),
            ('t', Value::Bool(value)) => value.to_string(),
            ('s' | 'q', Value::List(items)) => {
                let items = items.iter().map(|item| self.bare().format(verb, &Value::new("", item)));
                format!("[{}]", items.collect::<Vec<_>>().join(" "))
            }
            ('s', Value::String(text)) => self.cut(text),
            ('q', Value::String(text)) => quoted(&self.cut(text)),
            ('x', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
            ('X', Value::String(text)) => text.bytes().map(|byte| format!("{byte:02X}")).collect(),
            ('s', Value::Map(_) | Value::Struct(_)) => value.formatted(),
            ('s', Value::None | Value::Null(_) | Value::Omitted(_)) => {
                return self.pad(String::from("%!s(<nil>)"), false);
            }
            (_, Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
                (Some(integer), _) if !number.is_f64() => match self.integer(verb, integer) {
                    Some(text) => text,
                    None => return wrong(),
                },
                (_, Some(float)) => match self.float(verb, float) {
                    Some(text) => text,
                    None => return wrong(),
                },
                _ => return wrong(),
            },
            _ => return wrong(),
        };
        self.pad(text, matches!(value, Value::Number(_)))
    }

    /// The same flags without width, for the elements of a list.
    fn bare(&self) -> Self {
        Self { plus: self.plus, sharp: self.sharp, precision: self.precision, ..Self::default() }
    }

    fn cut(&self, text: &str) -> String {
        self.precision.map_or_else(|| text.to_owned(), |most| text.chars().take(most).collect())
    }

    fn signed(&self, digits: String) -> String {
        match (digits.starts_with('-'), self.plus, self.space) {
            (false, true, _) => format!("+{digits}"),
            (false, false, true) => format!(" {digits}"),
            _ => digits,
        }
    }

    fn integer(&self, verb: char, value: i64) -> Option<String> {
        let sign = if value < 0 { "-" } else { "" };
        let size = value.unsigned_abs();
        let prefix = |prefix| if self.sharp { prefix } else { "" };
        let digits = match verb {
            'd' => size.to_string(),
            'x' => format!("{}{size:x}", prefix("0x")),
            'X' => format!("{}{size:X}", prefix("0X")),
            'o' => format!("{}{size:o}", prefix("0")),
            'b' => format!("{}{size:b}", prefix("0b")),
            'c' | 'q' => {
                let c = u32::try_from(value).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
                return Some(if verb == 'c' { c.to_string() } else { format!("'{c}'") });
            }
            'U' => return Some(format!("U+{size:04X}")),
            _ => return None,
        };
        let digits = self.precision.map_or_else(|| digits.clone(), |least| format!("{digits:0>least$}"));
        Some(self.signed(format!("{sign}{digits}")))
    }

    fn float(&self, verb: char, value: f64) -> Option<String> {
        let text = match verb {
            'f' | 'F' => format!("{value:.*}", self.precision.unwrap_or(6)),
            'e' => exponent(value, self.precision.unwrap_or(6)),
            'g' => match self.precision {
                Some(digits) => general_with(value, digits),
                None => general(value),
            },
            _ => return None,
        };
        Some(self.signed(text))
    }

    fn pad(&self, text: String, is_number: bool) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        if missing == 0 {
            return text;
        }
        if self.left {
            return format!("{text}{}", " ".repeat(missing));
        }
        if self.zero && is_number {
            let sign = usize::from(text.starts_with(['+', '-']));
            return format!("{}{}{}", &text[..sign], "0".repeat(missing), &text[sign..]);
        }
        format!("{}{text}", " ".repeat(missing))
    }
}

/// Go's `%v` of a float: the shortest digits, an exponent below 1e-4 and from 1e21 on.
pub(super) fn general(value: f64) -> String {
    let size = value.abs();
    if size != 0.0 && !(1e-4..1e21).contains(&size) {
        let text = format!("{value:e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        return format!("{digits}e{}", signed_power(power));
    }
    value.to_string()
}

/// Go's `%.Ng`: at most `digits` digits, no zeros at the end.
pub(crate) fn general_with(value: f64, digits: usize) -> String {
    let digits = digits.max(1);
    let text = format!("{value:.*e}", digits - 1);
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = power.parse().unwrap_or(0);
    let trim = |text: &str| match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        false => text.to_owned(),
    };
    let most = i32::try_from(digits).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= most {
        return format!("{}e{}", trim(mantissa), signed_power(power));
    }
    let decimals = usize::try_from(most - 1 - exponent).unwrap_or(0);
    trim(&format!("{value:.decimals$}"))
}

fn exponent(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$e}");
    let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{mantissa}e{}", signed_power(power))
}

/// An exponent with its sign and at least two digits.
fn signed_power(power: &str) -> String {
    match power.strip_prefix('-') {
        Some(digits) => format!("-{digits:0>2}"),
        None => format!("+{power:0>2}"),
    }
}

/// Go's `%q`.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if u32::from(c) < 0x20 || c == '\x7f' => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

//! From tokens to nodes.

use super::TemplateError;
use super::functions;
use super::lex::{self, Kind, Token};
use super::node::{Command, Node, Operand, OperandKind, Pipe, Span};

/// How deep parentheses and blocks may nest: templates come from people, the stack is finite.
const DEPTH_MAX: usize = 100;

/// Parses a whole template.
pub(super) fn parse(source: &str) -> Result<Vec<Node>> {
    let tokens = lex::tokens(source)?;
    let mut parser = Parser { source, tokens, next: 0, variables: vec![String::from("$")], depth: 0, loops: 0 };
    let (nodes, end) = parser.list()?;
    match end {
        None => Ok(nodes),
        Some(word) => parser.fail(format!("unexpected {{{{{word}}}}}")),
    }
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    next: usize,
    variables: Vec<String>,
    depth: usize,
    loops: usize,
}

type Result<T> = std::result::Result<T, TemplateError>;

impl Parser<'_> {
    fn fail<T>(&self, what: impl Into<String>) -> Result<T> {
        let at = self.tokens.get(self.next.saturating_sub(1)).map_or(self.source.len(), |token| token.start);
        Err(lex::error(self.source, at, what))
    }

    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.next).map(|token| &token.kind)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.next).cloned();
        self.next += 1;
        token
    }

    /// What the next token looks like, for errors.
    fn shown(&self, token: Option<&Token>) -> String {
        token.map_or_else(
            || String::from("EOF"),
            |token| match token.kind {
                Kind::Close => String::from("\"}}\""),
                Kind::Pipe | Kind::Comma | Kind::Assign | Kind::Declare => {
                    format!("{:?}", &self.source[token.start..token.end])
                }
                _ => format!("<{}>", &self.source[token.start..token.end]),
            },
        )
    }

    /// Parses nodes up to the end, or up to an `end` or `else`, which it names and whose word it has taken.
    fn list(&mut self) -> Result<(Vec<Node>, Option<String>)> {
        let mut nodes = Vec::new();
        while let Some(token) = self.take() {
            match token.kind {
                Kind::Text(text) if text.is_empty() => {}
                Kind::Text(text) => nodes.push(Node::Text(text)),
                _ => {
                    if let Some(Kind::Word(word)) = self.peek()
                        && matches!(word.as_str(), "end" | "else")
                    {
                        let word = word.clone();
                        self.next += 1;
                        return Ok((nodes, Some(word)));
                    }
                    nodes.push(self.action()?);
                }
            }
        }
        Ok((nodes, None))
    }

    fn action(&mut self) -> Result<Node> {
        let word = match self.peek() {
            Some(Kind::Word(word)) => word.clone(),
            _ => String::new(),
        };
        match word.as_str() {
            "if" | "with" | "range" => {
                self.next += 1;
                self.block(&word)
            }
            "break" | "continue" => {
                self.next += 1;
                if self.loops == 0 {
                    return self.fail(format!("{{{{{word}}}}} outside {{{{range}}}}"));
                }
                self.close(&word)?;
                Ok(if word == "break" { Node::Break } else { Node::Continue })
            }
            "define" | "template" | "block" => self.fail(format!("{{{{{word}}}}} is not supported")),
            _ => {
                let pipe = self.pipe("command", &Kind::Close)?;
                Ok(Node::Action(pipe))
            }
        }
    }

    /// `if`, `with` or `range`, whose word is taken, up to and with its `{{end}}`.
    fn block(&mut self, word: &str) -> Result<Node> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.fail("blocks nest too deep");
        }
        let known = self.variables.len();
        let pipe = self.pipe(word, &Kind::Close)?;
        let is_loop = usize::from(word == "range");
        self.loops += is_loop;
        let (then, end) = self.list()?;
        self.loops -= is_loop;
        let otherwise = match end.as_deref() {
            None => return self.fail("unexpected EOF"),
            Some("else") => self.otherwise(word)?,
            Some(_) => {
                self.close("end")?;
                Vec::new()
            }
        };
        self.variables.truncate(known);
        self.depth -= 1;
        Ok(match word {
            "if" => Node::If { pipe, then, otherwise },
            "with" => Node::With { pipe, then, otherwise },
            _ => Node::Range { pipe, body: then, otherwise },
        })
    }

    /// What follows `else`, up to and with the `{{end}}`: `else if` and `else with` are blocks without an end of their own.
    fn otherwise(&mut self, word: &str) -> Result<Vec<Node>> {
        if let Some(Kind::Word(next)) = self.peek()
            && next == word
            && word != "range"
        {
            self.next += 1;
            return Ok(vec![self.block(word)?]);
        }
        self.close("else")?;
        match self.list()? {
            (_, None) => self.fail("unexpected EOF"),
            (nodes, Some(end)) if end == "end" => {
                self.close("end")?;
                Ok(nodes)
            }
            _ => self.fail("expected end; found {{else}}"),
        }
    }

    fn close(&mut self, context: &str) -> Result<()> {
        match self.take() {
            Some(token) if token.kind == Kind::Close => Ok(()),
            token => {
                let shown = self.shown(token.as_ref());
                self.fail(format!("unexpected {shown} in {context}"))
            }
        }
    }

    /// A pipeline up to `end`, which it takes.
    fn pipe(&mut self, context: &str, end: &Kind) -> Result<Pipe> {
        let start = self.tokens.get(self.next).map_or(self.source.len(), |token| token.start);
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            let command = self.command(context)?;
            commands.push(command);
            let token = self.take();
            match token {
                Some(token) if token.kind == *end => {
                    let Span { end, .. } = commands[commands.len() - 1].span;
                    // Declared here, so that the pipeline itself does not see them.
                    if !assigns {
                        self.variables.extend(variables.iter().cloned());
                    }
                    return Ok(Pipe { variables, assigns, commands, span: Span { start, end, at: start } });
                }
                Some(token) if token.kind == Kind::Pipe => {}
                Some(token) if token.kind == Kind::ParenClose => return self.fail("unexpected right paren"),
                None => return self.fail("unclosed action"),
                Some(token) if token.kind == Kind::Close && *end == Kind::ParenClose => {
                    return self.fail("unclosed left paren");
                }
                token => {
                    let shown = self.shown(token.as_ref());
                    return self.fail(format!("unexpected {shown} in {context}"));
                }
            }
        }
    }

    /// `$a :=`, `$a =`, or in a range `$i, $x :=`.
    fn declarations(&mut self, context: &str) -> Result<(Vec<String>, bool)> {
        let kind = |at: usize| self.tokens.get(self.next + at).map(|token| &token.kind);
        let found = match (kind(0), kind(1), kind(2), kind(3)) {
            (Some(Kind::Variable(a)), Some(Kind::Declare | Kind::Assign), ..) => Some((vec![a.clone()], 1)),
            (
                Some(Kind::Variable(a)),
                Some(Kind::Comma),
                Some(Kind::Variable(b)),
                Some(Kind::Declare | Kind::Assign),
            ) if context == "range" => Some((vec![a.clone(), b.clone()], 3)),
            _ => None,
        };
        let Some((names, at)) = found else { return Ok((Vec::new(), false)) };
        let assigns = kind(at) == Some(&Kind::Assign);
        self.next += at + 1;
        if let Some(unknown) = names.iter().find(|name| assigns && !self.variables.contains(name)) {
            return self.fail(format!("undefined variable {unknown:?}"));
        }
        Ok((names, assigns))
    }

    fn command(&mut self, context: &str) -> Result<Command> {
        let start = self.tokens.get(self.next).map_or(self.source.len(), |token| token.start);
        let mut operands: Vec<Operand> = Vec::new();
        loop {
            match self.peek() {
                None | Some(Kind::Pipe | Kind::Close | Kind::ParenClose) => break,
                Some(Kind::Field(_) | Kind::Dot) if !operands.is_empty() && !self.tokens[self.next].spaced => {
                    let shown = self.shown(self.tokens.get(self.next));
                    return self.fail(format!("unexpected {shown} in operand"));
                }
                _ => operands.push(self.operand()?),
            }
        }
        let Some(last) = operands.last() else {
            return match self.peek() {
                None => self.fail("unclosed action"),
                Some(Kind::Pipe) => self.fail(format!("unexpected \"|\" in {context}")),
                Some(_) => self.fail(format!("missing value for {context}")),
            };
        };
        let end = last.span.end;
        let at = operands[0].span.at;
        Ok(Command { operands, span: Span { start, end, at } })
    }

    fn operand(&mut self) -> Result<Operand> {
        let Some(token) = self.take() else { return self.fail("unclosed action") };
        let (start, mut end, mut at) = (token.start, token.end, token.start);
        let kind = match token.kind {
            Kind::Dot => OperandKind::Dot,
            Kind::Field(name) => OperandKind::Field(vec![name]),
            Kind::Variable(name) if self.variables.contains(&name) => OperandKind::Variable(name, Vec::new()),
            Kind::Variable(name) => return self.fail(format!("undefined variable {name:?}")),
            Kind::String(text) => OperandKind::String(text),
            Kind::Char(c) => OperandKind::Number(u32::from(c).into()),
            Kind::Number(text) => match number(&text) {
                Some(number) => OperandKind::Number(number),
                None if text.parse::<f64>().is_ok() => return self.fail(format!("illegal number syntax: {text:?}")),
                None => return self.fail(format!("bad number syntax: {text:?}")),
            },
            Kind::ParenOpen => {
                self.depth += 1;
                if self.depth > DEPTH_MAX {
                    return self.fail("parentheses nest too deep");
                }
                let pipe = self.pipe("parenthesized pipeline", &Kind::ParenClose)?;
                self.depth -= 1;
                end = self.tokens[self.next - 1].end;
                OperandKind::Chain(Box::new(pipe), Vec::new())
            }
            Kind::Word(word) => match word.as_str() {
                "true" => OperandKind::Bool(true),
                "false" => OperandKind::Bool(false),
                "nil" => OperandKind::Nil,
                _ if functions::exists(&word) => OperandKind::Function(word),
                _ => return self.fail(format!("function {word:?} not defined")),
            },
            _ => {
                let shown = self.shown(self.tokens.get(self.next - 1));
                return self.fail(format!("unexpected {shown} in operand"));
            }
        };
        let mut kind = kind;
        let mut first = true;
        while let Some(Token { kind: Kind::Field(name), start: field_start, end: field_end, spaced: false }) =
            self.tokens.get(self.next)
        {
            match &mut kind {
                OperandKind::Field(path) | OperandKind::Variable(_, path) | OperandKind::Chain(_, path) => {
                    path.push(name.clone());
                }
                _ => {
                    return self.fail(format!("unexpected . after term {:?}", &self.source[start..end]));
                }
            }
            if first {
                at = *field_start;
                first = false;
            }
            end = *field_end;
            self.next += 1;
        }
        Ok(Operand { kind, span: Span { start, end, at } })
    }
}

/// Go's number literals, as far as JSON can hold them.
fn number(text: &str) -> Option<serde_json::Number> {
    let plain = text.replace('_', "");
    let (sign, digits) = match plain.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let radix = |prefix: &str, radix: u32| {
        let digits = digits.strip_prefix(prefix).or_else(|| digits.strip_prefix(&prefix.to_uppercase()))?;
        i64::from_str_radix(digits, radix).ok()
    };
    if let Some(value) = radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| radix("0b", 2)) {
        return Some((sign * value).into());
    }
    let is_integer = digits.bytes().all(|b| b.is_ascii_digit());
    if is_integer {
        let octal = digits.len() > 1 && digits.starts_with('0');
        let value = i64::from_str_radix(digits, if octal { 8 } else { 10 }).ok()?;
        return Some((sign * value).into());
    }
    let looks_like_float = digits.bytes().all(|b| b.is_ascii_digit() || b".eE+-".contains(&b));
    plain.parse().ok().filter(|_| looks_like_float).and_then(serde_json::Number::from_f64)
}

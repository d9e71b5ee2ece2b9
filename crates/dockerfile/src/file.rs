//! A Dockerfile: global arguments, then stages.

use crate::error::{Error, Problem};
use crate::flag::{Flags, Kind};
use crate::instruction::{Argument, Instruction, parse_instruction};
use crate::statement::{Directives, Statement, parse_statements};

/// The most stages. The largest files that people write have some dozens.
pub const STAGES_MAX: usize = 512;

/// A Dockerfile, read and understood; variables still stand in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Dockerfile {
    /// The directives at the top.
    pub directives: Directives,
    /// `ARG`s before the first FROM, with their lines.
    pub arguments: Vec<(usize, Argument)>,
    /// The stages, in order.
    pub stages: Vec<Stage>,
    /// All statements, for the checks.
    pub statements: Vec<Statement>,
    /// Lines with an empty line in the middle of an instruction.
    pub empty_continuations: Vec<usize>,
}

/// What begins with FROM.
#[derive(Clone, Debug, PartialEq)]
pub struct Stage {
    /// The image or the stage it begins with.
    pub base: String,
    /// Its name in small letters; empty if it has none.
    pub name: String,
    /// `--platform`.
    pub platform: String,
    /// Its instructions.
    pub steps: Vec<Step>,
    /// What the comment above it says.
    pub description: String,
    /// The first line of FROM.
    pub line: usize,
    /// Its last line.
    pub last_line: usize,
    /// FROM as written.
    pub original: String,
    /// The comments right above it.
    pub comments: Vec<String>,
}

/// An instruction and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it means.
    pub instruction: Instruction,
    /// Its line as joined, with its heredocs.
    pub original: String,
    /// Its first line.
    pub line: usize,
    /// Its last line.
    pub last_line: usize,
    /// The comments right above it.
    pub comments: Vec<String>,
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// When something in it is not the language, with the line.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parsed = parse_statements(text)?;
        let (mut arguments, mut stages) = (Vec::new(), Vec::<Stage>::new());
        for statement in &parsed.statements {
            if statement.is("FROM") {
                if stages.len() == STAGES_MAX {
                    return Err(statement.error(Problem::TooManyStages(STAGES_MAX)));
                }
                stages.push(stage(statement).map_err(|problem| statement.error(problem))?);
                continue;
            }
            let instruction = parse_instruction(statement)?;
            match (stages.last_mut(), instruction) {
                (None, Instruction::Arg(declared)) => {
                    arguments.extend(declared.into_iter().map(|argument| (statement.line, argument)));
                }
                (None, _) => return Err(statement.error(Problem::NoStage)),
                (Some(stage), instruction) => stage.steps.push(Step::new(instruction, statement)),
            }
        }
        if stages.is_empty() {
            let line = parsed.statements.last().map_or(1, |statement| statement.last_line);
            return Err(Error::new(line, line, Problem::NoFrom));
        }
        Ok(Self {
            directives: parsed.directives,
            arguments,
            stages,
            statements: parsed.statements,
            empty_continuations: parsed.empty_continuations,
        })
    }

    /// Reads an instruction by itself, such as a trigger of ONBUILD.
    ///
    /// # Errors
    /// When it is none.
    pub fn parse_trigger(text: &str) -> Result<Step, Error> {
        let parsed = parse_statements(text)?;
        let statement = &parsed.statements[0];
        Ok(Step::new(parse_instruction(statement)?, statement))
    }
}

impl Step {
    fn new(instruction: Instruction, statement: &Statement) -> Self {
        Self {
            instruction,
            original: statement.original.trim().to_owned(),
            line: statement.line,
            last_line: statement.last_line,
            comments: statement.comments.clone(),
        }
    }
}

fn stage(statement: &Statement) -> Result<Stage, Problem> {
    let (base, name) = match &statement.arguments[..] {
        [base] => (base, String::new()),
        [base, word, name] if word.eq_ignore_ascii_case("as") => {
            let lower = name.to_lowercase();
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
            if !lower.starts_with(|c: char| c.is_ascii_lowercase()) || !lower.chars().all(inner) {
                return Err(Problem::StageName(name.clone()));
            }
            (base, lower)
        }
        _ => return Err(Problem::From),
    };
    let flags = Flags::parse(&statement.flags, &[("platform", Kind::Text)])?;
    Ok(Stage {
        base: base.clone(),
        description: statement.description(&name),
        name,
        platform: flags.text("platform"),
        steps: Vec::new(),
        line: statement.line,
        last_line: statement.last_line,
        original: statement.original.trim().to_owned(),
        comments: statement.comments.clone(),
    })
}

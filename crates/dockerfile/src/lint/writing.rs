//! How keywords, names and comments are written.

use super::{Found, Place};
use crate::instruction::{Instruction, parse_instruction};
use crate::statement::Statement;

impl Found<'_> {
    /// All that is told of the whole file.
    pub(super) fn writing(&mut self) {
        let file = self.file;
        for line in &file.empty_continuations {
            let place = Place { lines: (*line, *line), comments: &[] };
            self.say(place, "NoEmptyContinuation", "Empty continuation line".to_owned());
        }
        self.keywords();
        self.casing();
    }

    /// What is seen while one statement after the other is read.
    pub(super) fn keywords(&mut self) {
        let file = self.file;
        for statement in &file.statements {
            let place = Place::of(statement);
            if statement.is("MAINTAINER") {
                let message = "Maintainer instruction is deprecated in favor of using label".to_owned();
                self.say(place, "MaintainerDeprecated", message);
            }
            if statement.is("ARG")
                && let Ok(Instruction::Arg(arguments)) = parse_instruction(statement)
            {
                let names: Vec<&str> = arguments.iter().map(|argument| argument.name.as_str()).collect();
                self.description(statement, "ARG", &names);
            }
            if statement.is("FROM") {
                self.from(statement);
            }
        }
    }

    fn from(&mut self, statement: &Statement) {
        let [_, as_word, name] = &statement.arguments[..] else { return };
        let (word, place, lower) = (&statement.keyword, Place::of(statement), name.to_lowercase());
        if *name != lower {
            self.say(place, "StageNameCasing", format!("Stage name '{name}' should be lowercase"));
        }
        let small = *word == word.to_lowercase();
        let fitting = if small { as_word.to_lowercase() } else { as_word.to_uppercase() };
        if (small || *word == word.to_uppercase()) && *as_word != fitting {
            let message = format!("'{as_word}' and '{word}' keywords' casing do not match");
            self.say(place, "FromAsCasing", message);
        }
        self.description(statement, "FROM", &[&lower]);
    }

    /// The comment right above begins with a name.
    fn description(&mut self, statement: &Statement, instruction: &str, names: &[&str]) {
        let Some(first) = statement.comments.last().and_then(|comment| comment.split(' ').next()) else { return };
        if names.contains(&first) {
            return;
        }
        let example = if names.len() > 1 { "<arg_key>" } else { names[0] };
        let message = format!("Comment for {instruction} should follow the format: `# {example} <description>`");
        self.say(Place::of(statement), "InvalidDefinitionDescription", message);
    }

    /// Keywords are written as most of them are; arguments above the first stage do not count.
    fn casing(&mut self) {
        let file = self.file;
        let first = file.stages.first().map_or(0, |stage| stage.line);
        let statements = || file.statements.iter().filter(|statement| statement.line >= first);
        let small = |word: &str| word == word.to_lowercase();
        let large = |word: &str| word == word.to_uppercase();
        let count = |is: &dyn Fn(&str) -> bool| statements().filter(|statement| is(&statement.keyword)).count();
        let majority_is_small = count(&small) > count(&large);
        let majority = if majority_is_small { "lowercase" } else { "uppercase" };
        for statement in statements() {
            let word = &statement.keyword;
            let is_right = if majority_is_small { small(word) } else { large(word) };
            if !is_right {
                let message = format!("Command '{word}' should match the case of the command majority ({majority})");
                self.say(Place::of(statement).plain(), "ConsistentInstructionCasing", message);
            }
        }
    }
}

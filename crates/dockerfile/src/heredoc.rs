//! `<<EOF` words: text that stands in the Dockerfile itself.

use crate::expand::{ExpandError, Expander};

/// A heredoc.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, which is also the name of the file that COPY makes of it.
    pub name: String,
    /// The descriptor before `<<`; 0 if none.
    pub descriptor: u32,
    /// Whether variables are replaced in it: the word was not quoted.
    pub expand: bool,
    /// `<<-`: tabs at the beginning of lines are dropped.
    pub chomp: bool,
    /// Its lines.
    pub content: String,
}

impl Heredoc {
    /// Reads a word; none if it is no heredoc.
    ///
    /// # Errors
    /// When its quotes do not close.
    pub fn parse(word: &str) -> Result<Option<Self>, ExpandError> {
        let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let Some(rest) = word[digits..].strip_prefix("<<") else { return Ok(None) };
        let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
        let rest = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        if rest.is_empty() || rest.contains('<') {
            return Ok(None);
        }
        let lexer = Expander { skip_unset: true, ..Expander::new('\\') };
        let plain = lexer.words(rest, &|_| None)?;
        let [name] = &plain[..] else { return Ok(None) };
        let raw = Expander { raw_quotes: true, ..lexer }.words(rest, &|_| None)?;
        let quotes = |word: &str| word.chars().filter(|c| matches!(c, '\'' | '"')).count();
        // A quote that vanished was syntax: then the text is taken as it is.
        let expand = raw.first().is_some_and(|raw| quotes(raw) == quotes(name));
        let descriptor = word[..digits].parse().unwrap_or(0);
        Ok(Some(Self { name: name.clone(), descriptor, expand, chomp, content: String::new() }))
    }

    /// The heredocs that a line opens, in order.
    pub(crate) fn of_line(line: &str) -> Result<Vec<Self>, ExpandError> {
        let lexer = Expander { raw_quotes: true, raw_escapes: true, skip_unset: true, ..Expander::new('\\') };
        // A line that cannot be read as words opens none; the shell will say what it thinks of it.
        let words = lexer.words(line, &|_| None).unwrap_or_default();
        words.iter().filter_map(|word| Self::parse(word).transpose()).collect()
    }

    /// Its text, without the tabs that `<<-` drops.
    pub fn text(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_heredocs_or_not() {
        for word in ["", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "<<EOF sh"] {
            assert_eq!(Heredoc::parse(word), Ok(None), "{word}");
        }
        for word in
            ["<<EOF", "<<'EOF'", r#"<<"EOF""#, "<<-EOF", "<<-'EOF'", r#"<<-"EOF""#, r#"<<EO"F""#, "<< EOF", "<<- EOF"]
        {
            assert_eq!(Heredoc::parse(word).unwrap().unwrap().name, "EOF", "{word}");
        }
        for word in ["<<'EOF", "<<\"EOF", "<<EOF'", "<<EOF\""] {
            assert!(Heredoc::parse(word).is_err(), "{word}");
        }
    }

    #[test]
    fn a_line_opens_its_heredocs_in_order() {
        let names = |line: &str| {
            Heredoc::of_line(line).unwrap().into_iter().map(|heredoc| heredoc.name).collect::<Vec<_>>().join(",")
        };
        for (line, expected) in [
            ("RUN <<EOF", "EOF"),
            ("RUN << -EOF", "-EOF"),
            ("RUN 4<<EOF", "EOF"),
            ("RUN <<EOF <<EOF2", "EOF,EOF2"),
            ("RUN '<<EOF'", ""),
            (r#"RUN "<<EOF""#, ""),
        ] {
            assert_eq!(names(line), expected, "{line}");
        }
    }

    #[test]
    fn tabs_are_dropped_when_asked_for() {
        let content = "\thello\n\tworld\n".to_owned();
        assert_eq!(Heredoc { chomp: true, content, ..Heredoc::default() }.text(), "hello\nworld\n");
    }
}

//! The lines of the Dockerfile around an error, as BuildKit shows them.

/// How many lines are shown before and after.
const AROUND: usize = 2;

/// The excerpt: file and line, then the lines with those of the error marked.
pub fn excerpt(name: &str, text: &str, (first, last): (usize, usize)) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let (first, last) = (first.max(1), last.max(first).min(lines.len().max(1)));
    let from = first.saturating_sub(AROUND).max(1);
    let to = (last + AROUND).min(lines.len());
    let rule = "--------------------\n";
    let mut shown = format!("{name}:{first}\n{rule}");
    for number in from..=to {
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        let line = format!("{number:>4} | {mark} {}", lines.get(number - 1).copied().unwrap_or_default());
        shown.push_str(line.trim_end());
        shown.push('\n');
    }
    shown.push_str(rule);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_error_are_marked() {
        let text = "FROM a\n\nRUN b \\\n  c\nRUN d\nRUN e\nRUN f\n";
        let expected = "Dockerfile:3\n--------------------\n   1 |     FROM a\n   2 |\n   3 | >>> RUN b \\\n   4 | >>>   c\n   5 |     \
                        RUN d\n   6 |     RUN e\n--------------------\n";
        assert_eq!(excerpt("Dockerfile", text, (3, 4)), expected);
        assert!(excerpt("D", "", (1, 1)).starts_with("D:1\n"));
    }
}

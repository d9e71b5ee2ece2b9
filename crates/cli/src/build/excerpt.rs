//! The lines of the Dockerfile around an error, as BuildKit shows them.

/// How many turns the excerpt grows by a line at both ends; where one end is reached the other takes more.
const TURNS: usize = 2;

/// The excerpt: file and line, then the lines with those of the error marked. Nothing if they are not in the text.
pub fn excerpt(name: &str, text: &str, (first, last): (usize, usize)) -> String {
    let lines: Vec<&str> = text.split('\n').collect();
    let last = last.max(first).min(lines.len());
    if first == 0 || first > lines.len() {
        return String::new();
    }
    // A single line has more around it.
    let room = if first == last { 2 * TURNS } else { TURNS };
    let (mut from, mut to, mut taken) = (first, last, 0);
    while taken < room {
        if from > 1 {
            (from, taken) = (from - 1, taken + 1);
        }
        if to < lines.len() {
            (to, taken) = (to + 1, taken + 1);
        }
        taken += 1;
    }
    let rule = "--------------------\n";
    let row = |number: usize| {
        let mark = if (first..=last).contains(&number) { ">>>" } else { "   " };
        format!(" {number:>3} | {mark} {}\n", lines[number - 1])
    };
    let rows: String = (from..=to).map(row).collect();
    format!("{name}:{first}\n{rule}{rows}{rule}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_an_error_are_marked() {
        let text = "FROM a\n\nRUN b \\\n  c\nRUN d\nRUN e  \nRUN f\n";
        let check = |lines: (usize, usize), rows: &[&str]| {
            let head = format!("Dockerfile:{}", lines.0);
            let rule = ["--------------------"];
            let expected = [&[&*head], &rule[..], rows, &rule[..], &[""]].concat().join("\n");
            assert_eq!(excerpt("Dockerfile", text, lines), expected);
        };
        // What errdefs.Source.Print of BuildKit prints.
        check((3, 4), &["   2 |     ", "   3 | >>> RUN b \\", "   4 | >>>   c", "   5 |     RUN d"]);
        check((1, 1), &["   1 | >>> FROM a", "   2 |     ", "   3 |     RUN b \\"]);
        let last = ["   5 |     RUN d", "   6 |     RUN e  ", "   7 | >>> RUN f", "   8 |     "];
        check((7, 7), &last);
        check((7, 9), &["   6 |     RUN e  ", "   7 | >>> RUN f", "   8 | >>> "]);
        assert_eq!(excerpt("D", "", (1, 1)), "D:1\n--------------------\n   1 | >>> \n--------------------\n");
        assert_eq!(excerpt("D", "", (2, 2)), "");
    }
}

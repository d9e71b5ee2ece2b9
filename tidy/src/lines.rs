//! How long a file and a function may be.

/// Past this a module does more than one thing.
const FILE_LINES_MAX: usize = 600;
/// Past this a function does not fit a screen.
const FUNCTION_LINES_MAX: usize = 70;

#[test]
fn files_are_short_enough_to_read() {
    let long: Vec<String> = crate::tree::rust_files()
        .iter()
        .map(|(name, text)| (name, text.lines().count()))
        .filter(|(_, lines)| *lines > FILE_LINES_MAX)
        .map(|(name, lines)| format!("{name}: {lines} lines"))
        .collect();
    assert_eq!(long, Vec::<String>::new(), "files over {FILE_LINES_MAX} lines");
}

#[test]
fn functions_fit_a_screen() {
    let mut long = Vec::new();
    for (name, text) in crate::tree::rust_files() {
        let lines: Vec<&str> = text.lines().collect();
        for (start, line) in lines.iter().enumerate() {
            let Some(length) = function_length(&lines[start..], line) else { continue };
            if length > FUNCTION_LINES_MAX {
                long.push(format!("{name}:{}: {length} lines", start + 1));
            }
        }
    }
    assert_eq!(long, Vec::<String>::new(), "functions over {FUNCTION_LINES_MAX} lines");
}

/// The lines of the function that starts here; the formatter puts its closing brace at the indentation of its first line.
fn function_length(lines: &[&str], first: &str) -> Option<usize> {
    let code = first.trim_start();
    let indentation = first.len() - code.len();
    let words: Vec<&str> = code.split_whitespace().take(5).collect();
    let is_function = words.contains(&"fn") && !code.starts_with("//") && !code.starts_with('"');
    if !is_function || first.trim_end().ends_with([';', ',']) {
        return None;
    }
    let closing = format!("{}}}", " ".repeat(indentation));
    lines.iter().position(|line| *line == closing).map(|end| end + 1)
}

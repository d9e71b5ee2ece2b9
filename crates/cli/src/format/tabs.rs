//! Elastic tab stops as Go's `text/tabwriter` sets them for Docker: columns at least 10 wide, 3 spaces between.

/// The narrowest a column may be, padding and all.
const WIDTH_MIN: usize = 10;
/// The spaces between columns.
const PADDING: usize = 3;

/// How wide columns are.
#[derive(Clone, Copy, Debug)]
struct Stops {
    width_min: usize,
    padding: usize,
}

/// Replaces tabs by spaces, so that cells above each other begin in the same column. Each run of lines that has a cell in
/// a column aligns on its own; the last cell of a line belongs to no column.
pub fn align(text: &str) -> String {
    align_by(text, Stops { width_min: WIDTH_MIN, padding: PADDING })
}

/// The same with columns of at least some width.
pub fn align_widely(text: &str, width_min: usize) -> String {
    align_by(text, Stops { width_min, padding: PADDING })
}

/// The same with columns as narrow as they can be, and this many spaces between them.
pub fn align_closely(text: &str, padding: usize) -> String {
    align_by(text, Stops { width_min: 0, padding })
}

fn align_by(text: &str, stops: Stops) -> String {
    let lines: Vec<Vec<&str>> = text.split('\n').map(|line| line.split('\t').collect()).collect();
    let mut out = String::with_capacity(text.len() * 2);
    block(&lines, stops, &mut Vec::new(), &mut out);
    // The text ends where it ended: each line wrote its newline.
    out.pop();
    out
}

/// Writes lines whose first `widths.len()` columns are known.
fn block(lines: &[Vec<&str>], stops: Stops, widths: &mut Vec<usize>, out: &mut String) {
    let column = widths.len();
    let has_cell = |line: &Vec<&str>| column + 1 < line.len();
    let mut rest = lines;
    while !rest.is_empty() {
        let plain = rest.iter().position(has_cell).unwrap_or(rest.len());
        write_lines(&rest[..plain], widths, out);
        rest = &rest[plain..];
        let run = rest.iter().position(|line| !has_cell(line)).unwrap_or(rest.len());
        if run > 0 {
            let widest = rest[..run].iter().map(|line| line[column].chars().count() + stops.padding).max();
            widths.push(widest.unwrap_or(0).max(stops.width_min));
            block(&rest[..run], stops, widths, out);
            widths.pop();
        }
        rest = &rest[run..];
    }
}

fn write_lines(lines: &[Vec<&str>], widths: &[usize], out: &mut String) {
    for line in lines {
        for (index, cell) in line.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(index) {
                let missing = width.saturating_sub(cell.chars().count());
                out.extend(std::iter::repeat_n(' ', missing));
            }
        }
        out.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_as_dockers() {
        let text = "CONTAINER ID\tIMAGE\tCOMMAND\tNAMES\nabc\ta-long-image-name\t\"sh\"\tx\n";
        let expected =
            "CONTAINER ID   IMAGE               COMMAND   NAMES\nabc            a-long-image-name   \"sh\"      x\n";
        assert_eq!(align(text), expected);
    }

    #[test]
    fn runs_of_lines_align_on_their_own() {
        assert_eq!(align("a\tb\nplain\nlonger-than-ten\tc\n"), "a         b\nplain\nlonger-than-ten   c\n");
        assert_eq!(align("a\tb\tc\nd\te"), "a         b         c\nd         e");
        assert_eq!(align(""), "");
        assert_eq!(align("é\tx"), "é         x");
        assert_eq!(align_widely("PID\tCMD\n1\tsh\n", 20), "PID                 CMD\n1                   sh\n");
        assert_eq!(align_closely("a\tb\nlonger\tc\n", 1), "a      b\nlonger c\n");
    }
}

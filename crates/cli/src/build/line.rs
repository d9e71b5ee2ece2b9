//! What a program wrote, as one line of a terminal.

/// Letters that take two columns: East Asian ones that are wide, and pictures (Unicode's `EastAsianWidth.txt`, in blocks).
const WIDE: &[(u32, u32)] = &[
    (0x1100, 0x115F),
    (0x2E80, 0x303E),
    (0x3041, 0xA4CF),
    (0xAC00, 0xD7A3),
    (0xF900, 0xFAFF),
    (0xFE30, 0xFE6F),
    (0xFF00, 0xFF60),
    (0xFFE0, 0xFFE6),
    (0x1F300, 0x1F64F),
    (0x1F680, 0x1F6FF),
    (0x1F900, 0x1F9FF),
    (0x20000, 0x3FFFD),
];
/// Those that take none: they change the letter before them.
const NARROW: &[(u32, u32)] = &[(0x0300, 0x036F), (0x200B, 0x200F), (0x20D0, 0x20FF), (0xFE00, 0xFE0F)];

/// The line without what a terminal obeys: colours, movements, titles (ECMA-48). What a bar has drawn over is not shown.
pub fn plain(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\r').rsplit('\r').next().unwrap_or_default();
    let mut plain = String::with_capacity(text.len());
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '\x1b' => match letters.next() {
                Some('[') => _ = letters.find(|letter| ('\x40'..='\x7e').contains(letter)),
                // To a bell or `ESC \`.
                Some(']') => {
                    let mut before = ' ';
                    _ = letters.find(|letter| {
                        let ends = *letter == '\x07' || (before == '\x1b' && *letter == '\\');
                        before = *letter;
                        ends
                    });
                }
                _ => {}
            },
            letter if letter.is_control() => plain.push(' '),
            letter => plain.push(letter),
        }
    }
    plain
}

/// How many columns it takes.
pub fn columns(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// At most so many columns of it, the last `…` if something was cut.
pub fn fit(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut taken = 1;
    let fits = |letter: &char| {
        taken += columns_of(*letter);
        taken <= room
    };
    text.chars().take_while(fits).chain((room > 0).then_some('…')).collect()
}

fn columns_of(letter: char) -> usize {
    let within = |ranges: &[(u32, u32)]| ranges.iter().any(|(low, high)| (*low..=*high).contains(&u32::from(letter)));
    match letter {
        ' '..='~' => 1,
        _ if within(WIDE) => 2,
        _ if within(NARROW) => 0,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_left_out() {
        let check = |written: &str, expected: &str| assert_eq!(plain(written.as_bytes()), expected, "{written:?}");
        check("plain", "plain");
        check("10%\r50%\r100%\r", "100%");
        check("\x1b[1;31merror\x1b[0m: x", "error: x");
        check("\x1b]0;title\x07shell", "shell");
        check("\x1b]8;;http://h\x1b\\link\x1b]8;;\x1b\\", "link");
        check("a\tb\x08", "a b ");
        check("cut \x1b[31", "cut ");
        check("\x1b", "");
    }

    #[test]
    fn wide_letters_take_two_columns() {
        assert_eq!((columns("abc"), columns("日本"), columns("e\u{301}🚀")), (3, 4, 3));
        assert_eq!((fit("abcdef", 6), fit("abcdef", 4)), ("abcdef".to_owned(), "abc…".to_owned()));
        assert_eq!((fit("日本語", 5), fit("日本語", 4)), ("日本…".to_owned(), "日…".to_owned()));
        assert_eq!((fit("ab", 1), fit("ab", 0)), ("…".to_owned(), String::new()));
    }
}

//! What was probably meant.

/// The candidate nearest to a word, if one is near enough to be a slip of the fingers.
pub fn nearest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let bound = 1 + word.len() / 4;
    candidates
        .iter()
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), *candidate))
        .filter(|(distance, _)| (1..=bound).contains(distance))
        .min()
        .map(|(_, candidate)| candidate)
}

/// How many letters have to be put in, taken out or changed (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    // Words are short; a longer one is no slip.
    const LONG: usize = 64;
    if a.len() > LONG || b.len() > LONG {
        return usize::MAX;
    }
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_found_and_other_words_are_not() {
        let names = &["COPY", "RUN", "ENTRYPOINT", "ENV"];
        assert_eq!(nearest("COYP", names), Some("COPY"));
        assert_eq!(nearest("CPY", names), Some("COPY"));
        assert_eq!(nearest("entripoint", names), Some("ENTRYPOINT"));
        assert_eq!(nearest("RUN", names), None, "it is right");
        assert_eq!(nearest("SOMETHING", names), None);
    }
}

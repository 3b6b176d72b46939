//! "Did you mean …": the nearest known name to a mistyped one.

/// The candidate with the fewest edits to `given`, if they are close enough to be a slip of the fingers: at most a
/// third of the longer one's characters.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (edits(given, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance * 3 <= given.chars().count().max(candidate.chars().count())
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Optimal string alignment distance, ASCII case folded: insertions, deletions, substitutions, swapped neighbours.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_ascii_lowercase().chars().collect();
    let b: Vec<char> = b.to_ascii_lowercase().chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut left_a = None;
    for (row, ca) in a.iter().enumerate() {
        let mut current = vec![row + 1];
        let mut left_b = None;
        for (column, cb) in b.iter().enumerate() {
            let cost = usize::from(ca != cb);
            let at =
                |cells: &[usize], index: usize| cells.get(index).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&last, column + 1) + 1)
                .min(at(&current, column) + 1)
                .min(at(&last, column) + cost);
            if column > 0 && left_a == Some(cb) && left_b == Some(ca) {
                best = best.min(at(&before_last, column - 1) + 1);
            }
            current.push(best);
            left_b = Some(cb);
        }
        left_a = Some(ca);
        before_last = last;
        last = current;
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let known = ["members", "displayName", "description"];
        assert_eq!(nearest("memebrs", known), Some("members"));
        assert_eq!(nearest("DisplayNmae", known), Some("displayName"));
        assert_eq!(nearest("colour", known), None);
        assert_eq!(nearest("", known), None);
    }
}

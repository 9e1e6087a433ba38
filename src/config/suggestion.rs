//! The nearest of the words that are known to one that is not.

/// How alike two words must be to be taken for each other, from 0 to 1.
const LIKENESS_MIN: f64 = 0.75;

/// The known word that is most like `word`, where one is like enough. Of equals, the first.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let mut best: Option<(f64, &str)> = None;
    for candidate in known {
        let plain = candidate.to_ascii_lowercase();
        // Jaro-Winkler is kind to words that begin alike, the other to letters that changed places.
        let likeness = strsim::jaro_winkler(&word, &plain)
            .min(strsim::normalized_damerau_levenshtein(&word, &plain) + 0.25);
        if likeness >= LIKENESS_MIN && best.is_none_or(|(so_far, _)| likeness > so_far) {
            best = Some((likeness, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_hand_are_recognised_and_other_words_are_not() {
        let known = ["command", "environment", "restart", "autostart", "processes", "queue", "max", "min"];
        for (word, expected) in [
            ("comand", Some("command")),
            ("enviroment", Some("environment")),
            ("Restart", Some("restart")),
            ("auto_start", Some("autostart")),
            ("process", Some("processes")),
            ("qeueu", Some("queue")),
            ("maxx", Some("max")),
            ("colour", None),
            ("schedule", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), expected, "{word}");
        }
    }
}

//! Log text for a page: what a terminal would take as an order is left out.

/// `text` without escape sequences and control characters; a tab stays, a carriage return within the line becomes a space.
///
/// Sequences are recognised as ECMA-48 has them: `ESC [ ... letter` (CSI), `ESC ] ... BEL` or `ESC ] ... ESC \` (OSC, and
/// likewise DCS, SOS, PM, APC), and `ESC` with intermediate bytes and one more. One that breaks off swallows
/// no more than the rest of its line.
pub(super) fn plain(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut state = State::Text;
    for c in text.trim_end_matches('\r').chars() {
        state = match (state, c) {
            (State::Text, '\u{1b}') => State::Escape,
            (State::Text, '\u{9b}') => State::Csi,
            (State::Text, '\u{90}' | '\u{98}' | '\u{9d}' | '\u{9e}' | '\u{9f}') => State::String,
            (State::Text, '\t') => keep(&mut result, '\t'),
            (State::Text, '\r') => keep(&mut result, ' '),
            (State::Text, c) if is_hidden(c) => State::Text,
            (State::Text, c) => keep(&mut result, c),
            (State::Escape | State::StringEscape, '[') => State::Csi,
            (State::Escape | State::StringEscape, ']' | 'P' | 'X' | '^' | '_') => State::String,
            (State::Escape | State::StringEscape, ' '..='/') => State::Escape,
            (State::Escape | State::StringEscape, '\u{1b}') => State::Escape,
            (State::Escape | State::StringEscape, '0'..='~') => State::Text,
            (State::Escape | State::StringEscape, c) if is_hidden(c) => State::Text,
            (State::Escape | State::StringEscape, c) => keep(&mut result, c),
            (State::Csi, ' '..='?') => State::Csi,
            (State::Csi, '@'..='~') => State::Text,
            (State::Csi, '\u{1b}') => State::Escape,
            (State::Csi, c) if is_hidden(c) => State::Text,
            (State::Csi, c) => keep(&mut result, c),
            (State::String, '\u{7}' | '\u{9c}') => State::Text,
            (State::String, '\u{1b}') => State::StringEscape,
            (State::String, _) => State::String,
        };
    }
    result
}

#[derive(Clone, Copy)]
enum State {
    Text,
    Escape,
    Csi,
    String,
    /// An escape within a string: its end, or the beginning of another sequence.
    StringEscape,
}

fn keep(result: &mut String, c: char) -> State {
    result.push(c);
    State::Text
}

/// Control characters, and those that change the direction of the text around them.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_titles_and_links_are_left_out_and_their_text_stays() {
        let cases = [
            ("\u{1b}[1;31merror\u{1b}[0m done", "error done"),
            ("\u{1b}]0;a title\u{7}text", "text"),
            ("\u{1b}]8;;http://x\u{1b}\\link\u{1b}]8;;\u{1b}\\", "link"),
            ("\u{1b}(Btext\u{1b}c", "text"),
            ("\u{9b}31mred", "red"),
            ("50 %\r60 %\r", "50 % 60 %"),
            ("a\tb\u{8}\u{0}c", "a\tbc"),
            ("\u{202e}txt.exe", "txt.exe"),
            ("größe 漢字 🐇", "größe 漢字 🐇"),
        ];
        for (text, expected) in cases {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_sequence_that_breaks_off_swallows_no_text_that_follows_it() {
        assert_eq!(plain("text\u{1b}"), "text");
        assert_eq!(plain("text\u{1b}[3"), "text");
        assert_eq!(plain("\u{1b}[3\u{1b}[0mtext"), "text");
        assert_eq!(plain("\u{1b}[3größe"), "röße");
    }

    #[test]
    fn markup_is_left_for_the_template_to_escape() {
        assert_eq!(plain("<b>&"), "<b>&");
    }

    proptest! {
        #[test]
        fn nothing_that_steers_a_terminal_is_ever_left(text in "(\\PC|[\u{0}-\u{1f}\u{7f}-\u{9f}\\[\\]\\\\P]){0,40}") {
            let result = plain(&text);
            prop_assert!(result.chars().all(|c| c == '\t' || !c.is_control()), "{result:?}");
        }
    }
}

//! What the system says of a failure, as people read it.

use std::fmt::Display;

/// The text of an error without the number that the standard library adds: `No such file or directory`, not
/// `No such file or directory (os error 2)`. Wherever it stands in the text.
pub fn plain(error: impl Display) -> String {
    const NUMBER: &str = " (os error ";
    let text = error.to_string();
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once(NUMBER) {
        plain.push_str(before);
        match after.split_once(')') {
            Some((number, after)) if number.bytes().all(|byte| byte.is_ascii_digit()) => rest = after,
            Some(_) | None => {
                plain.push_str(NUMBER);
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn the_number_is_left_out_wherever_it_stands() {
        let error = io::Error::from_raw_os_error(2);
        assert_eq!(plain(&error), "No such file or directory");
        assert_eq!(
            plain(format!("a: {error}; b: {error}")),
            "a: No such file or directory; b: No such file or directory"
        );
        for text in ["", "broken", "odd (os error x)", "cut (os error 2"] {
            assert_eq!(plain(text), text);
        }
    }
}

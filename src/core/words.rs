//! Numbers of things in sentences.

/// `1 line`, `3 lines`; for words that take an s.
pub fn count(number: usize, thing: &str) -> String {
    counted(number as u64, thing, &format!("{thing}s"))
}

/// `1 process`, `3 processes`.
pub fn processes(number: u32) -> String {
    counted(u64::from(number), "process", "processes")
}

/// `1 message`, `2,000 messages`.
pub fn counted(count: u64, one: &str, several: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{} {several}", grouped(count)) }
}

/// A number with a comma between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_told_as_one() {
        assert_eq!([0, 1, 2_000].map(processes), ["0 processes", "1 process", "2,000 processes"]);
        assert_eq!([0, 1, 2].map(|number| count(number, "line")), ["0 lines", "1 line", "2 lines"]);
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}

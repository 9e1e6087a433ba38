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

/// Bytes in the largest unit that shows them exactly enough: `8 GiB`, `310 MiB`, `1 KiB`; rounded up.
pub fn size(bytes: u64) -> String {
    let (unit, name) = match bytes {
        _ if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => (1 << 30, "GiB"),
        _ if bytes >= 1 << 20 => (1 << 20, "MiB"),
        _ => (1 << 10, "KiB"),
    };
    format!("{} {name}", grouped(bytes.div_ceil(unit)))
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
    fn sizes_are_told_in_units_that_show_them() {
        let told = [8 << 30, 310 << 20, (310 << 20) + 1, 4 << 10, 1, 1_500 << 20].map(size);
        assert_eq!(told, ["8 GiB", "310 MiB", "311 MiB", "4 KiB", "1 KiB", "1,500 MiB"]);
    }

    #[test]
    fn thousands_are_grouped() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}

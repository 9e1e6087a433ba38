//! Text of SVG: words that cannot end an element, numbers without needless digits, lines of few points.

/// `text` as XML takes it; what XML cannot hold at all becomes a blank.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => safe.push(' '),
            c if c.is_control() => safe.push(' '),
            c => safe.push(c),
        }
    }
    safe
}

/// A coordinate to a tenth of a pixel.
pub(super) fn at(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// Words at a place; `class` names look and anchor.
pub(super) fn text(class: &str, x: f64, y: f64, words: &str) -> String {
    format!("<text class=\"{class}\" x=\"{}\" y=\"{}\">{}</text>\n", at(x), at(y), escaped(words))
}

/// A straight line.
pub(super) fn line(class: &str, from: (f64, f64), to: (f64, f64)) -> String {
    format!("<path class=\"{class}\" d=\"M{} {}L{} {}\"/>\n", at(from.0), at(from.1), at(to.0), at(to.1))
}

/// Of each of `buckets` equal stretches the least and the most, in the order in which they came, as index and value.
/// No peak is lost, and what does not change takes two points only.
pub(super) fn extremes(values: &[f64], buckets: usize) -> Vec<(f64, f64)> {
    let width = values.len().div_ceil(buckets.max(1)).max(1);
    let mut points: Vec<(f64, f64)> = Vec::new();
    let mut push = |index: usize, value: f64| {
        let point = (index as f64, value);
        if let [.., (_, before), last] = points.as_mut_slice()
            && *before == value
            && last.1 == value
        {
            *last = point;
        } else {
            points.push(point);
        }
    };
    for (bucket, chunk) in values.chunks(width).enumerate() {
        let (mut least, mut most) = (0, 0);
        for (index, value) in chunk.iter().enumerate() {
            if *value < chunk[least] {
                least = index;
            }
            if *value > chunk[most] {
                most = index;
            }
        }
        let (first, second) = (least.min(most), least.max(most));
        push(bucket * width + first, chunk[first]);
        if second > first {
            push(bucket * width + second, chunk[second]);
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peak_is_lost_and_what_does_not_change_is_short() {
        let mut values = vec![0.0; 86_400];
        values[50_000] = 7.0;
        let points = extremes(&values, 300);
        assert!(points.contains(&(50_000.0, 7.0)) && points.len() <= 6, "{points:?}");
        let few = [3.0, 1.0, 2.0];
        assert_eq!(extremes(&few, 300), [(0.0, 3.0), (1.0, 1.0), (2.0, 2.0)]);
        assert_eq!(extremes(&[1.0, 5.0, 0.0, 2.0], 2), [(0.0, 1.0), (1.0, 5.0), (2.0, 0.0), (3.0, 2.0)]);
        assert_eq!(extremes(&[], 3), []);
    }

    #[test]
    fn words_stay_words_and_numbers_short() {
        assert_eq!(escaped("a<b>&\"c\"\u{1b}"), "a&lt;b&gt;&amp;&quot;c&quot; ");
        assert_eq!([1.0, 1.26].map(at), ["1", "1.3"]);
    }
}

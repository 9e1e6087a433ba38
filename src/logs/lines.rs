//! Bytes cut into lines of bounded length. Values only.

use super::dress::Dress;

/// The longest line that is kept whole, in bytes without its newline; a longer one is cut into pieces of this size.
pub(super) const LINE_BYTES_MAX: usize = 16 * 1024;

/// One line, or one piece of a line that is longer than [`LINE_BYTES_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    /// The text without its newline.
    pub(super) text: &'a [u8],
    /// How many bytes it takes with its newline.
    pub(super) bytes: usize,
    /// Whether the line goes on in the next piece.
    pub(super) cut: bool,
}

/// The first line of `bytes`, or its first piece; `None` while the line may still be growing.
pub(super) fn next_piece(bytes: &[u8]) -> Option<Piece<'_>> {
    let window = &bytes[..bytes.len().min(LINE_BYTES_MAX + 1)];
    if let Some(end) = window.iter().position(|byte| *byte == b'\n') {
        return Some(Piece { text: &bytes[..end], bytes: end + 1, cut: false });
    }
    if bytes.len() <= LINE_BYTES_MAX {
        return None;
    }
    let end = character_boundary(bytes, LINE_BYTES_MAX);
    Some(Piece { text: &bytes[..end], bytes: end, cut: true })
}

/// What was taken from the front of a pipe's content, and how it is to be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Gathered {
    /// Whole lines as they are to be written, each with a newline at the end.
    pub(super) text: Vec<u8>,
    /// How many bytes of the pipe's content this is.
    pub(super) consumed: usize,
}

/// Takes whole lines from the front of `bytes` until the text has reached `text_bytes_max`: at least one, if there is
/// a whole one.
pub(super) fn gather(bytes: &[u8], dress: &Dress, text_bytes_max: usize) -> Gathered {
    let mut gathered = Gathered::default();
    while let Some(piece) = next_piece(&bytes[gathered.consumed..]) {
        gathered.push(dress, piece);
        if gathered.text.len() >= text_bytes_max {
            break;
        }
    }
    gathered
}

/// Takes all of `bytes` as one line: for what will never get its newline.
pub(super) fn gather_unfinished(bytes: &[u8], dress: &Dress) -> Gathered {
    let mut gathered = Gathered::default();
    if !bytes.is_empty() {
        gathered.push(dress, Piece { text: bytes, bytes: bytes.len(), cut: true });
    }
    gathered
}

impl Gathered {
    fn push(&mut self, dress: &Dress, piece: Piece<'_>) {
        dress.put(piece.text, &mut self.text);
        self.consumed += piece.bytes;
    }
}

/// The last position up to `end` where a UTF-8 character begins, or `end` itself where the bytes are not UTF-8.
fn character_boundary(bytes: &[u8], end: usize) -> usize {
    let continues = |position: &usize| bytes.get(*position).is_some_and(|byte| byte & 0xC0 == 0x80);
    (end.saturating_sub(3)..=end).rev().find(|position| !continues(position)).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_longest_length_is_whole_and_a_longer_one_is_cut() {
        let mut bytes = vec![b'x'; LINE_BYTES_MAX];
        assert_eq!(next_piece(&bytes), None, "a newline may still follow");
        bytes.push(b'\n');
        let piece = next_piece(&bytes).unwrap();
        assert_eq!((piece.text.len(), piece.bytes, piece.cut), (LINE_BYTES_MAX, LINE_BYTES_MAX + 1, false));
        bytes.insert(0, b'x');
        let piece = next_piece(&bytes).unwrap();
        assert_eq!((piece.text.len(), piece.bytes, piece.cut), (LINE_BYTES_MAX, LINE_BYTES_MAX, true));
    }

    #[test]
    fn a_cut_never_goes_through_a_character() {
        let text = format!("x{}", "ä".repeat(LINE_BYTES_MAX));
        let piece = next_piece(text.as_bytes()).unwrap();
        assert!(piece.cut && std::str::from_utf8(piece.text).is_ok());
        assert_eq!(piece.bytes, LINE_BYTES_MAX - 1);
        let nonsense = vec![0x80; LINE_BYTES_MAX + 1];
        assert_eq!(
            next_piece(&nonsense).unwrap().bytes,
            LINE_BYTES_MAX,
            "what is no character is cut anywhere"
        );
    }

    #[test]
    fn every_line_gets_the_prefix_and_a_part_of_a_line_is_left() {
        let dress = Dress::Prefix(b"p | ".to_vec());
        let gathered = gather(b"one\n\ntwo\nthr", &dress, usize::MAX);
        assert_eq!(gathered.text, b"p | one\np | \np | two\n");
        assert_eq!(gathered.consumed, 9);
        assert_eq!(gather_unfinished(b"thr", &dress).text, b"p | thr\n");
        assert_eq!(gather_unfinished(b"", &dress), Gathered::default());
    }

    #[test]
    fn gathering_ends_with_the_line_that_reaches_the_bound() {
        let dress = Dress::Prefix(Vec::new());
        let gathered = gather(b"one\ntwo\nthree\n", &dress, 5);
        assert_eq!((gathered.text.as_slice(), gathered.consumed), (b"one\ntwo\n".as_slice(), 8));
        assert_eq!(gather(b"one\ntwo\n", &dress, 0).consumed, 4, "one line is always taken");
    }
}

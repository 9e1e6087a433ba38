//! The change token: what a page of ours knows and a page of another web site cannot know.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};

use subtle::ConstantTimeEq;

/// 256 random bits that a browser must send along with a change.
///
/// Whoever makes one stores it, so that a page that was opened before the controller was replaced goes on working.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl Token {
    /// A new token from the kernel's random numbers.
    ///
    /// # Errors
    /// When `/dev/urandom` cannot be read.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; 32];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// The token that was stored.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// What to store: readable by Leveret's user only.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// As the page carries it: 64 hexadecimal digits.
    pub(super) fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether `text` is this token, in a time that does not tell how much of it is right.
    pub(super) fn is(&self, text: &str) -> bool {
        self.to_hex().as_bytes().ct_eq(text.as_bytes()).into()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[token]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_recognised_after_it_was_stored_and_is_never_printed() {
        let token = Token::generate().unwrap();
        let again = Token::from_bytes(*token.as_bytes());
        assert!(again.is(&token.to_hex()));
        assert_eq!(format!("{token:?}"), "[token]");
    }

    #[test]
    fn anything_else_is_not_the_token() {
        let token = Token::generate().unwrap();
        let hex = token.to_hex();
        assert!(!Token::generate().unwrap().is(&hex));
        for text in ["", &hex[1..], &format!("{hex}0"), &hex.to_uppercase().replace(char::is_numeric, "0")] {
            assert!(!token.is(text), "{text}");
        }
    }
}

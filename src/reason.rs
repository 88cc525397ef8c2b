//! Why somebody requests a rebuild, or protects a WorkSpace.

use crate::format::InvalidFormat;

/// Why somebody requests or prevents a rebuild: 1 to 256 characters, none of which changes how the
/// others are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    const MAX_CHARACTERS: usize = 256;
}

impl TryFrom<String> for Reason {
    type Error = InvalidFormat;

    fn try_from(text: String) -> Result<Self, InvalidFormat> {
        let max = Self::MAX_CHARACTERS;
        if !(1..=max).contains(&text.chars().count()) {
            Err(InvalidFormat(format!("must be 1 to {max} characters")))
        } else if text.chars().any(changes_others) {
            let message = "must not have control or bidirectional formatting characters";
            Err(InvalidFormat(message.to_owned()))
        } else {
            Ok(Self(text))
        }
    }
}

/// Control characters, and the bidirectional formatting characters of Unicode (UAX #9), with which a
/// text can look like another one.
fn changes_others(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_counted_in_characters() {
        for (length, is_valid) in [(0, false), (1, true), (256, true), (257, false)] {
            assert_eq!(Reason::try_from("\u{fc}".repeat(length)).is_ok(), is_valid, "{length}");
        }
    }

    #[test]
    fn a_reason_shows_what_it_says() {
        for text in ["ticket 4711", "ü 日本 שלום مرحبا", "a\u{200d}b", "👩‍💻"] {
            assert!(Reason::try_from(text.to_owned()).is_ok(), "{text}");
        }
        let bidirectional = "\u{61c}\u{200e}\u{200f}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\
            \u{2066}\u{2067}\u{2068}\u{2069}";
        for character in "\0\t\n\r\u{1b}\u{7f}\u{80}\u{9f}".chars().chain(bidirectional.chars()) {
            assert!(Reason::try_from(format!("a{character}b")).is_err(), "{character:?}");
        }
    }
}

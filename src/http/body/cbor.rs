//! CBOR bodies (RFC 8949).

use std::collections::BTreeMap;

use ciborium::Value;
use ciborium::de::from_reader_with_recursion_limit;

use super::{Encoded, InvalidBody};

/// How deep values may be nested.
const DEPTH: usize = 128;
/// The additional information of an indefinite length. With major type 7 it is the break.
const INDEFINITE: u8 = 31;
const BREAK: u8 = 0xff;

/// What follows the first value of these bytes, if they begin with a well-formed one (RFC 8949,
/// appendix C) that is not nested deeper than this.
fn skip(bytes: &[u8], depth: usize) -> Option<&[u8]> {
    let inner = depth.checked_sub(1)?;
    let (first, rest) = bytes.split_first()?;
    let (major, info) = (first >> 5, first & 0x1f);
    let (argument, mut rest) = match info {
        0..24 => (info.into(), rest),
        24..28 => {
            let (argument, rest) = rest.split_at_checked(1 << (info - 24))?;
            (argument.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)), rest)
        }
        _ => (0, rest),
    };
    match (major, info) {
        (_, 28..INDEFINITE) | (0 | 1 | 6 | 7, INDEFINITE) => None,
        // The pieces of a string are of its kind and have lengths.
        (2 | 3, INDEFINITE) => loop {
            match rest.split_first()? {
                (&BREAK, rest) => break Some(rest),
                (piece, _) if piece >> 5 == major && piece & 0x1f != INDEFINITE => {
                    rest = skip(rest, inner)?;
                }
                _ => break None,
            }
        },
        (4 | 5, INDEFINITE) => loop {
            if let (&BREAK, rest) = rest.split_first()? {
                break Some(rest);
            }
            for _ in 0..major - 3 {
                rest = skip(rest, inner)?;
            }
        },
        (2 | 3, _) => rest.get(usize::try_from(argument).ok()?..),
        (4 | 5, _) => {
            // Each value has at least one byte, so a wrong count ends with the bytes.
            for _ in 0..argument.checked_mul((major - 3).into())? {
                rest = skip(rest, inner)?;
            }
            Some(rest)
        }
        (6, _) => skip(rest, inner),
        // A simple value below 32 has one byte.
        (7, 24) if argument < 32 => None,
        _ => Some(rest),
    }
}

impl Encoded for Value {
    fn parse(body: &[u8]) -> Result<Option<BTreeMap<String, Self>>, InvalidBody> {
        // ciborium also decodes some bytes that are not CBOR, such as an indefinite string within
        // another. Two decoders might then see two different requests.
        let is_well_formed = skip(body, DEPTH).is_some_and(<[u8]>::is_empty);
        let value = if is_well_formed {
            from_reader_with_recursion_limit::<Self, _>(body, DEPTH).ok()
        } else {
            None
        };
        let value = value.ok_or_else(|| InvalidBody("the body is not valid CBOR".to_owned()))?;
        Ok(value.into_object())
    }

    fn is_null(&self) -> bool {
        Self::is_null(self)
    }

    fn into_object(self) -> Option<BTreeMap<String, Self>> {
        let mut members = BTreeMap::new();
        for (name, value) in self.into_map().ok()? {
            let is_new = members.insert(name.into_text().ok()?, value).is_none();
            if !is_new {
                return None;
            }
        }
        Some(members)
    }

    fn into_array(self) -> Option<Vec<Self>> {
        Self::into_array(self).ok()
    }

    fn into_string(self) -> Option<String> {
        self.into_text().ok()
    }

    fn into_integer(self) -> Option<i64> {
        Self::into_integer(self).ok()?.try_into().ok()
    }

    fn into_bool(self) -> Option<bool> {
        Self::into_bool(self).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Examples of RFC 8949, appendix F.

    /// The end comes too early: in a head, a string, an array, a map, after a tag.
    const TOO_SHORT: &str = "18, 19, 1a, 1b, 19 01, 1a 01 02, 1b 01 02 03 04 05 06 07, 38, 58, 78, 98, 9a 01 ff 00, \
        b8, d8, f8, f9 00, fa 00 00, fb 00 00 00, 41, 61, 5a ff ff ff ff 00, 5b ff ff ff ff ff \
        ff ff ff 01 02 03, 7a ff ff ff ff 00, 7b 7f ff ff ff ff ff ff ff 01 02 03, 81, 81 81 81 \
        81 81 81 81 81 81, 82 00, a1, a2 01 02, a1 00, a2 00 00 00, c0, 5f 41 00, 7f 61 00, 9f, \
        9f 01 02, bf, bf 01 02 01 02, 81 9f, 9f 80 00, 9f 9f 9f 9f 9f ff ff ff ff, 9b ff ff ff \
        ff ff ff ff ff, bb ff ff ff ff ff ff ff ff, 9f 81 9f 81 9f 9f ff ff ff";
    /// Additional information without a meaning, and two bytes for a simple value that has one.
    const RESERVED: &str =
        "1c, 1d, 1e, 3c, 5c, 7c, 9c, bc, dc, fc, fd, fe, f8 00, f8 01, f8 18, f8 1f";
    /// Pieces of an indefinite string that are another type, or indefinite themselves.
    const BAD_PIECES: &str = "5f 00 ff, 5f 21 ff, 5f 61 00 ff, 5f 80 ff, 5f a0 ff, 5f c0 00 ff, 5f e0 ff, 7f 41 00 ff, \
        5f 5f 41 00 ff ff, 7f 7f 61 00 ff ff";
    /// A break where none may be.
    const BAD_BREAKS: &str = "ff, 81 ff, 82 00 ff, a1 ff, a1 ff 00, a1 00 ff, a2 00 00 ff, 9f 81 ff, 9f 82 9f 81 9f 9f \
        ff ff ff ff, bf 00 ff, bf 00 00 00 ff, 1f, 3f, df";
    /// Well-formed values.
    const WELL_FORMED: &str = "00, 1b ff ff ff ff ff ff ff ff, f6, f7, f0, f8 20, f8 ff, f9 7e 00, 40, 5f ff, 7f 60 ff, 80, 9f \
        ff, bf 00 00 ff, c1 1a 51 4b 67 b0, 9f 82 9f 81 9f 9f ff ff ff 00 ff";

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |digits| u8::from_str_radix(digits, 16).expect("a byte");
        hex.split(' ').map(byte).collect()
    }

    fn is_well_formed(hex: &str) -> bool {
        skip(&bytes(hex), DEPTH).is_some_and(<[u8]>::is_empty)
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for examples in [TOO_SHORT, RESERVED, BAD_PIECES, BAD_BREAKS] {
            for hex in examples.split(", ") {
                assert!(!is_well_formed(hex), "{hex}");
            }
        }
        for hex in WELL_FORMED.split(", ") {
            assert!(is_well_formed(hex), "{hex}");
        }
        let long = [vec![0x59, 1, 0], vec![0; 256]].concat();
        assert!(skip(&long, DEPTH).is_some_and(<[u8]>::is_empty));
    }

    #[test]
    fn values_are_nested_128_deep_at_most() {
        let nested = |depth| [vec![0x81; depth - 1], vec![0x80]].concat();
        let within = |depth| [b"\xa1\x61x".to_vec(), nested(depth - 1)].concat();
        assert!(Value::parse(&within(DEPTH)).is_ok());
        assert!(Value::parse(&within(DEPTH + 1)).is_err());
        let tagged = [b"\xa1\x61x".to_vec(), vec![0xc6; 16_000], vec![0]].concat();
        assert!(Value::parse(&tagged).is_err());
    }
}

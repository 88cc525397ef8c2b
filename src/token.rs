//! Tokens of paged listings. A token says where the next page starts.
//!
//! It is opaque to clients and bound to its listing: another listing refuses it. It is not a secret. A
//! client that forges one gets at most another page of what it may list anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The bytes of a token that bind it to its listing.
const TAG: usize = 8;

/// The token of the page of `listing` that starts after `last`.
#[must_use]
pub fn encode(listing: &str, last: &str) -> String {
    let bytes = [&tag(listing, last)[..], last.as_bytes()].concat();
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Where the page of this token starts; `None` if it is not a token of `listing`.
#[must_use]
pub fn decode(listing: &str, token: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (start, last) = bytes.split_at_checked(TAG)?;
    let last = std::str::from_utf8(last).ok()?;
    (start == tag(listing, last)).then(|| last.to_owned())
}

fn tag(listing: &str, last: &str) -> [u8; TAG] {
    let mut hash = Sha256::new();
    hash.update(listing);
    hash.update([0]);
    hash.update(last);
    let hash: [u8; 32] = hash.finalize().into();
    std::array::from_fn(|index| hash[index])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_token_belongs_to_its_listing(
            listing in "\\PC{0,20}", other in "\\PC{0,20}", last in "\\PC{0,70}", forged in "\\PC{0,90}",
        ) {
            let token = encode(&listing, &last);
            prop_assert_eq!(decode(&listing, &token), Some(last.clone()));
            prop_assert_eq!(decode(&other, &token).is_some(), listing == other);
            prop_assert_eq!(decode(&listing, &forged), None);
            let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            prop_assert!(token.bytes().all(url_safe), "{}", token);
            prop_assert!(last.len() < 5 || !token.contains(&last), "{}", token);
        }
    }
}

//! Tokens of paged listings. A token says where the next page starts.
//!
//! It is opaque to clients and bound to its listing: another listing refuses it. It is not a secret. A
//! client that forges one gets at most another page of what it may list anyway.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

/// The bytes of a token that bind it to its listing.
const TAG: usize = 8;

/// A listing with its filters, as a text that no other listing has.
#[derive(Debug)]
pub struct Listing(String);

/// The token is not one that its listing gave out.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidToken;

impl Listing {
    /// The listing of this name, filtered by these values. Tokens are valid across deployments, so the
    /// texts never change.
    #[must_use]
    pub fn new(name: &str, filters: &[&str]) -> Self {
        // Its length keeps a filter apart from the next one.
        let filters = filters.iter().map(|filter| format!(" {}:{filter}", filter.len()));
        Self(filters.fold(name.to_owned(), |text, filter| text + &filter))
    }

    /// The token of the page that starts after `last`.
    #[must_use]
    pub fn token(&self, last: &str) -> String {
        let bytes = [&self.tag(last)[..], last.as_bytes()].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Where the page of this token starts, as `parse` reads it; without a token, at the beginning.
    ///
    /// # Errors
    /// It is not a token of this listing, or `parse` cannot read it.
    pub fn place<T>(
        &self,
        token: Option<&str>,
        parse: impl FnOnce(String) -> Option<T>,
    ) -> Result<Option<T>, InvalidToken> {
        let place = token.map(|token| self.decode(token).and_then(parse).ok_or(InvalidToken));
        place.transpose()
    }

    fn decode(&self, token: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (start, last) = bytes.split_at_checked(TAG)?;
        let last = std::str::from_utf8(last).ok()?;
        (start == self.tag(last)).then(|| last.to_owned())
    }

    fn tag(&self, last: &str) -> [u8; TAG] {
        let mut hash = Sha256::new();
        hash.update(&self.0);
        hash.update([0]);
        hash.update(last);
        let hash: [u8; 32] = hash.finalize().into();
        std::array::from_fn(|index| hash[index])
    }
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
            let (this, that) = (Listing::new("x", &[&listing]), Listing::new("x", &[&other]));
            let token = this.token(&last);
            let place = |listing: &Listing, token: &str| listing.place(Some(token), Some);
            prop_assert_eq!(place(&this, &token), Ok(Some(last.clone())));
            prop_assert_eq!(place(&that, &token).is_ok(), listing == other);
            prop_assert_eq!(place(&this, &forged), Err(InvalidToken));
            prop_assert_eq!(this.place(None, Some), Ok(None));
            let split = Listing::new("x", &[&listing, &other]);
            prop_assert!(place(&split, &token).is_err());
            let url_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
            prop_assert!(token.bytes().all(url_safe), "{}", token);
            prop_assert!(last.len() < 5 || !token.contains(&last), "{}", token);
        }
    }
}

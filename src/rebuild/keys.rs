//! Idempotency keys: what makes a repeated request recognisable, also long after its rebuild.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_with::{MapSkipError, serde_as};
use sha2::{Digest as _, Sha256};
use time::Duration;

use super::{FleetMode, Rebuild, RebuildId};
use crate::format::InvalidFormat;
use crate::timestamp::Timestamp;

/// How long a key is remembered after its rebuild ended.
const REMEMBERED_FOR: Duration = Duration::hours(24);
/// How many ended rebuilds of a WorkSpace are remembered.
const MOST_REMEMBERED: usize = 100;

/// Two requests for one WorkSpace that carry the same key are the same request.
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Display, Serialize, Deserialize)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    const MAX_LENGTH: usize = 255;
    /// Client keys contain no space, so the prefixes keep the origins apart.
    const SDK_INVOCATION: &str = "sdk: ";
    const API_REQUEST: &str = "request: ";
    const SIMULATED: &str = "simulated: ";

    /// A key chosen by a client: 1 to 255 visible ASCII characters, bare or as a quoted string
    /// (RFC 8941). The quoted form is the same key as the bare one.
    ///
    /// # Errors
    /// [`InvalidFormat`] for any other text.
    pub fn from_client(text: &str) -> Result<Self, InvalidFormat> {
        let max = Self::MAX_LENGTH;
        let key = match text.strip_prefix('"') {
            None => Some(text.to_owned()),
            Some(quoted) => unquote(quoted),
        };
        let is_valid = |key: &String| {
            (1..=max).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
        };
        key.filter(is_valid).map(Self).ok_or_else(|| {
            let form = "bare or as one quoted string";
            InvalidFormat(format!("must be 1 to {max} visible ASCII characters, {form}"))
        })
    }

    /// The key of an SDK call; all attempts of the call share it.
    ///
    /// # Errors
    /// [`InvalidFormat`] if the invocation id would not be valid as a client's key.
    pub fn from_sdk_invocation(id: &str) -> Result<Self, InvalidFormat> {
        Self::from_client(id).map(|key| Self(format!("{}{key}", Self::SDK_INVOCATION)))
    }

    /// The key of a request whose client sent none: the API's id of the request, so that a
    /// duplicated event is recognised.
    #[must_use]
    pub fn from_api_request(id: &str) -> Self {
        Self(format!("{}{id}", Self::API_REQUEST))
    }

    /// This key in a fleet of this mode: a simulated rebuild is no earlier request for a real one.
    #[must_use]
    pub fn of_fleet(self, mode: FleetMode) -> Self {
        match mode {
            FleetMode::Simulated => Self(format!("{}{self}", Self::SIMULATED)),
            FleetMode::AmazonWorkSpaces => self,
        }
    }

    /// The name of this key among remembered ones: short, whatever its length.
    #[must_use]
    pub fn hash(&self) -> String {
        URL_SAFE_NO_PAD.encode(&Sha256::digest(&self.0)[..16])
    }

    /// Nobody repeats an API request's own id once another rebuild was accepted.
    fn is_remembered(&self) -> bool {
        let key = self.0.strip_prefix(Self::SIMULATED).unwrap_or(&self.0);
        !key.starts_with(Self::API_REQUEST)
    }
}

impl From<RebuildId> for IdempotencyKey {
    fn from(id: RebuildId) -> Self {
        Self::from_api_request(&String::from(id))
    }
}

/// The content of a quoted string whose first quote was taken off; `None` if it is not closed at the
/// end, or escapes anything but a quote or a backslash.
fn unquote(quoted: &str) -> Option<String> {
    let mut content = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return characters.next().is_none().then_some(content),
            '\\' => {
                let escaped = characters.next().filter(|escaped| matches!(escaped, '"' | '\\'));
                content.push(escaped?);
            }
            other => content.push(other),
        }
    }
}

/// What a request asks for, beside the WorkSpace. A key stands for one set of parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters<'a> {
    /// See [`Rebuild::reason`].
    pub reason: Option<&'a str>,
    /// See [`Rebuild::maximum_snapshot_age_hours`].
    pub maximum_snapshot_age_hours: Option<u16>,
    /// See [`Rebuild::wait_for_disconnect`].
    pub wait_for_disconnect: Option<bool>,
}

impl Parameters<'_> {
    /// Equal for equal parameters; for others, different but for a chance of 1 in 2^48.
    fn fingerprint(self) -> String {
        let mut hash = Sha256::new();
        hash.update(self.maximum_snapshot_age_hours.unwrap_or_default().to_be_bytes());
        hash.update([self.wait_for_disconnect.map_or(0, |waits| 1 + u8::from(waits))]);
        hash.update(self.reason.unwrap_or_default());
        URL_SAFE_NO_PAD.encode(&hash.finalize()[..6])
    }
}

/// The keys of a WorkSpace's ended rebuilds, by their hash. Reading skips what is unreadable.
#[serde_as]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Keys(#[serde_as(as = "MapSkipError<_, _>")] BTreeMap<String, Remembered>);

/// The rebuild of a remembered key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Remembered {
    /// Its id, which also has the time when it was accepted.
    pub id: RebuildId,
    ended_at: Timestamp,
    fingerprint: String,
}

impl Remembered {
    /// Whether the rebuild was requested with these parameters.
    #[must_use]
    pub fn has(&self, parameters: Parameters<'_>) -> bool {
        self.fingerprint == parameters.fingerprint()
    }
}

impl Keys {
    /// The rebuild that was requested with this key.
    #[must_use]
    pub fn find(&self, key: &IdempotencyKey) -> Option<&Remembered> {
        self.0.get(&key.hash())
    }

    /// These keys and that of a rebuild that has ended, without those that may be forgotten at `now`.
    #[must_use]
    pub fn with(mut self, ended: &Rebuild, now: Timestamp) -> Self {
        self.0.retain(|_, remembered| now.since(remembered.ended_at) < REMEMBERED_FOR);
        if ended.idempotency_key.is_remembered() {
            let remembered = Remembered {
                id: ended.id,
                ended_at: ended.ending().map_or(now, |ending| ending.at),
                fingerprint: ended.parameters().fingerprint(),
            };
            self.0.insert(ended.idempotency_key.hash(), remembered);
        }
        while self.0.len() > MOST_REMEMBERED {
            let oldest = self.0.iter().min_by_key(|(_, remembered)| remembered.id);
            let Some(oldest) = oldest.map(|(hash, _)| hash.clone()) else { break };
            self.0.remove(&oldest);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::rebuild::{Conclusion, Ending, Phase};

    #[test]
    fn a_key_is_visible_ascii() {
        for key in ["k", "!~", &"k".repeat(255), "a\"b", "a\\b"] {
            assert_eq!(IdempotencyKey::from_client(key).map(|key| key.to_string()), Ok(key.into()));
        }
        for key in ["", " ", "a b", "ü", "a\n", "\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::from_client(key).is_err(), "{key:?}");
            assert!(IdempotencyKey::from_sdk_invocation(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_quoted_key_is_its_content() {
        for (quoted, key) in [(r#""k""#, "k"), (r#""a\"b""#, "a\"b"), (r#""a\\b""#, "a\\b")] {
            assert_eq!(
                IdempotencyKey::from_client(quoted).map(|key| key.to_string()),
                Ok(key.into())
            );
        }
        let long = format!("\"{}\"", "k".repeat(256));
        for key in
            ["\"", "\"\"", "\"k", "\"k\\\"", "\"k\";a=1", "\"k\" ", r#""\k""#, "\"a b\"", &long]
        {
            assert!(IdempotencyKey::from_client(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn a_client_cannot_choose_the_key_of_another_origin() {
        let sdk = IdempotencyKey::from_sdk_invocation("4711").expect("a key");
        for key in [sdk, IdempotencyKey::from_api_request("4711")] {
            for text in [key.to_string(), format!("\"{key}\"")] {
                assert!(IdempotencyKey::from_client(&text).is_err(), "{text}");
            }
            assert_ne!(key.hash(), IdempotencyKey::from_client("4711").expect("a key").hash());
        }
    }

    fn ended(key: &str, at: OffsetDateTime) -> Rebuild {
        let idempotency_key = IdempotencyKey::from_client(key).expect("a key");
        let phase = Phase::Ended(Ending {
            at: at.into(),
            conclusion: Conclusion::Succeeded,
            ip_address: None,
        });
        Rebuild { idempotency_key, phase, ..Rebuild::new(at) }
    }

    #[test]
    fn a_key_is_remembered_for_a_day_after_its_rebuild_ended() {
        let begin = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let (day, second) = (Duration::DAY, Duration::SECOND);
        let (first, other) = (ended("first", begin), ended("other", begin + second));
        let keys = Keys::default().with(&first, begin.into());
        let keys = keys.with(&other, (begin + day - second).into());
        assert_eq!(keys.find(&first.idempotency_key).map(|found| found.id), Some(first.id));
        let keys = keys.with(&ended("last", begin + day), (begin + day).into());
        assert_eq!(keys.find(&first.idempotency_key), None);
        assert!(keys.find(&other.idempotency_key).is_some());
    }

    #[test]
    fn the_newest_hundred_are_remembered() {
        let begin = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let rebuilds: Vec<_> = (0..101)
            .map(|number| ended(&format!("k{number}"), begin + Duration::seconds(number)))
            .collect();
        let now = begin + Duration::HOUR;
        let keys =
            rebuilds.iter().fold(Keys::default(), |keys, rebuild| keys.with(rebuild, now.into()));
        let is_found = |rebuild: &Rebuild| keys.find(&rebuild.idempotency_key).is_some();
        assert!(!is_found(&rebuilds[0]));
        assert!(rebuilds[1..].iter().all(is_found));
    }

    #[test]
    fn the_id_of_an_api_request_is_not_remembered() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let real = Rebuild::new(now);
        let simulated = real.idempotency_key.clone().of_fleet(FleetMode::Simulated);
        let simulated = Rebuild { idempotency_key: simulated, ..real.clone() };
        for rebuild in [real, simulated] {
            let keys = Keys::default().with(&rebuild, now.into());
            assert_eq!(keys, Keys::default());
        }
    }

    #[test]
    fn other_parameters_have_another_fingerprint() {
        let mut fingerprints = vec![];
        for reason in [None, Some("a"), Some("b")] {
            for maximum_snapshot_age_hours in [None, Some(1), Some(256)] {
                for wait_for_disconnect in [None, Some(false), Some(true)] {
                    let parameters =
                        Parameters { reason, maximum_snapshot_age_hours, wait_for_disconnect };
                    fingerprints.push(parameters.fingerprint());
                }
            }
        }
        let count = fingerprints.len();
        fingerprints.sort();
        fingerprints.dedup();
        assert_eq!(fingerprints.len(), count);
    }
}

//! The domain: WorkSpaces, their states, and rebuilds. Pure: no HTTP, no DynamoDB, no clock.
//!
//! A value of one of these types is the proof that it is well-formed; nothing checks it again.

use serde::{Deserialize, Serialize};
use serde_with::skip_serializing_none;
use strum::{Display, EnumString, VariantArray};
use time::format_description::well_known::Rfc3339;
use time::{Duration, OffsetDateTime, UtcOffset};
use uuid::{NoContext, Uuid};

/// The id of a WorkSpace: `^ws-[0-9a-z]{8,63}$` (API model, shape `WorkspaceId`).
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, derive_more::Display, Serialize, Deserialize,
)]
#[serde(try_from = "String")]
pub struct WorkspaceId(String);

/// A text is not of the form that its type asks for.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Malformed(pub &'static str);

impl WorkspaceId {
    /// The pattern, as the API model has it.
    pub const PATTERN: &str = "^ws-[0-9a-z]{8,63}$";

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for WorkspaceId {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        let tail = text.strip_prefix("ws-").unwrap_or_default().as_bytes();
        let well_formed = (8..=63).contains(&tail.len())
            && tail.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'));
        well_formed.then_some(Self(text)).ok_or(Malformed("must match ^ws-[0-9a-z]{8,63}$"))
    }
}

/// The state of a WorkSpace (API model, shape `WorkspaceState`).
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Display,
    EnumString,
    VariantArray,
    Serialize,
    Deserialize,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are the API model's")]
pub enum State {
    Pending,
    Available,
    Impaired,
    Unhealthy,
    Rebooting,
    Starting,
    Rebuilding,
    Restoring,
    Maintenance,
    AdminMaintenance,
    Terminating,
    Terminated,
    Suspended,
    Updating,
    Stopping,
    Stopped,
    Error,
}

impl State {
    /// The states from which AWS allows a rebuild (API reference of `RebuildWorkspaces`).
    pub const REBUILDABLE: [Self; 5] =
        [Self::Available, Self::Error, Self::Unhealthy, Self::Stopped, Self::Rebooting];

    /// Whether a rebuild may start from this state.
    #[must_use]
    pub fn is_rebuildable(self) -> bool {
        Self::REBUILDABLE.contains(&self)
    }
}

/// A point in time in UTC, in whole seconds; as text RFC 3339 with `Z`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Timestamp(OffsetDateTime);

impl Timestamp {
    /// The time that has passed since `earlier`.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        self.0 - earlier.0
    }

    /// Seconds since the Unix epoch.
    #[must_use]
    pub fn epoch_seconds(self) -> i64 {
        self.0.unix_timestamp()
    }
}

impl From<OffsetDateTime> for Timestamp {
    fn from(time: OffsetDateTime) -> Self {
        Self(time.to_offset(UtcOffset::UTC).truncate_to_second())
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self::from(self.0 + duration)
    }
}

impl std::fmt::Display for Timestamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.format(&Rfc3339).map_err(|_| std::fmt::Error)?)
    }
}

impl From<Timestamp> for String {
    fn from(time: Timestamp) -> Self {
        time.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = time::error::Parse;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        OffsetDateTime::parse(&text, &Rfc3339).map(Self::from)
    }
}

/// The id of a rebuild: a UUID version 7 (RFC 9562), so ordered by time; all of its other 74 bits
/// are random, so it can't be guessed from another one.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, derive_more::Display, Serialize, Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct RebuildId(Uuid);

impl RebuildId {
    /// A new id for a rebuild that is asked for at `now`.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        let seconds = u64::try_from(now.unix_timestamp()).unwrap_or_default();
        Self(Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, now.nanosecond())))
    }
}

impl TryFrom<String> for RebuildId {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        // In one spelling only, so that a rebuild has one URL.
        let id = Uuid::try_parse(&text).ok().map(Self);
        id.filter(|id| id.to_string() == text).ok_or(Malformed("is not the id of a rebuild"))
    }
}

impl From<RebuildId> for String {
    fn from(id: RebuildId) -> Self {
        id.0.to_string()
    }
}

/// What makes two requests for one WorkSpace the same request.
#[derive(Clone, Debug, PartialEq, Eq, derive_more::Display, Serialize, Deserialize)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key that a client chose: 1 to 255 visible ASCII characters.
    ///
    /// # Errors
    /// [`Malformed`] if it is not of that form.
    pub fn from_client(text: &str) -> Result<Self, Malformed> {
        let well_formed =
            (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        well_formed
            .then(|| Self(text.to_owned()))
            .ok_or(Malformed("must be 1 to 255 visible ASCII characters"))
    }

    /// The key of an SDK's call, the same for each of its attempts. The space after the prefix
    /// keeps it apart from every key that a client can choose.
    ///
    /// # Errors
    /// [`Malformed`] if the invocation id is not of a key's form.
    pub fn from_sdk_invocation(id: &str) -> Result<Self, Malformed> {
        Self::from_client(id).map(|key| Self(format!("sdk: {key}")))
    }
}

impl From<RebuildId> for IdempotencyKey {
    fn from(id: RebuildId) -> Self {
        Self(id.into())
    }
}

/// Why a rebuild is asked for: 1 to 256 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(String);

impl TryFrom<String> for Reason {
    type Error = Malformed;

    fn try_from(text: String) -> Result<Self, Malformed> {
        (1..=256)
            .contains(&text.chars().count())
            .then_some(Self(text))
            .ok_or(Malformed("must be 1 to 256 characters"))
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

/// How far a rebuild has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, Serialize, Deserialize)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Accepted, not yet known to be under way in the fleet.
    Requested,
    /// The fleet is rebuilding the WorkSpace.
    Started,
    /// Ended: the WorkSpace was rebuilt.
    Succeeded,
    /// Ended: it was not, or it is not known; the rebuild's error says which.
    Failed,
}

impl Status {
    /// Whether the rebuild has yet to end.
    #[must_use]
    pub fn is_open(self) -> bool {
        match self {
            Self::Requested | Self::Started => true,
            Self::Succeeded | Self::Failed => false,
        }
    }
}

/// The record of one rebuild: who asked for it, when and why, and what became of it.
#[skip_serializing_none]
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Rebuild {
    /// Its id.
    #[serde(alias = "RebuildId")]
    pub id: RebuildId,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// How far it has come.
    pub status: Status,
    /// The client's key or, without one, the rebuild's own id.
    pub idempotency_key: IdempotencyKey,
    /// The IAM ARN of the caller, where the API knows it.
    pub requested_by: Option<String>,
    /// The caller's address.
    pub source_ip: Option<String>,
    /// The API's id of the request that was accepted.
    pub request_id: Option<String>,
    /// The caller's reason.
    pub reason: Option<String>,
    /// The state of the WorkSpace before the rebuild.
    pub previous_state: Option<State>,
    /// When it was first about to be handed over to the fleet.
    pub hand_over_at: Option<Timestamp>,
    /// Which of the passes that were about to hand it over was the last to say so.
    pub hand_over_id: Option<Uuid>,
    /// When it was known to be under way.
    pub started_at: Option<Timestamp>,
    /// When the fleet was first seen rebuilding the WorkSpace.
    pub seen_rebuilding_at: Option<Timestamp>,
    /// When its end was seen.
    pub ended_at: Option<Timestamp>,
    /// Why it failed: a stable code.
    pub error_code: Option<String>,
    /// Why it failed, for people.
    pub error_message: Option<String>,
}

impl Rebuild {
    /// A rebuild that is asked for at `now`, with a new id, and that id as its key.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        let id = RebuildId::new(now);
        Self {
            id,
            created_at: now.into(),
            status: Status::Requested,
            idempotency_key: id.into(),
            requested_by: None,
            source_ip: None,
            request_id: None,
            reason: None,
            previous_state: None,
            hand_over_at: None,
            hand_over_id: None,
            started_at: None,
            seen_rebuilding_at: None,
            ended_at: None,
            error_code: None,
            error_message: None,
        }
    }
}

/// A WorkSpace as the table has it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Workspace {
    /// Its id.
    pub workspace_id: WorkspaceId,
    /// Its state.
    pub state: State,
    /// Its current or last rebuild.
    pub rebuild: Option<Rebuild>,
    /// Present while that rebuild is open.
    pub open_rebuild: Option<Status>,
    /// When the table drops it, in epoch seconds: it has left the fleet.
    pub expires_at: Option<i64>,
    /// Everything else that is known of it.
    #[serde(flatten)]
    pub description: Description,
}

impl Workspace {
    /// Whether a request to rebuild it would be accepted now.
    #[must_use]
    pub fn is_rebuildable(&self) -> bool {
        self.state.is_rebuildable() && self.open_rebuild.is_none()
    }
}

/// What describes a WorkSpace (API model, shape `Workspace`, without what changes in a rebuild).
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the API model's")]
pub struct Description {
    pub directory_id: Option<String>,
    pub user_name: Option<String>,
    pub ip_address: Option<String>,
    pub bundle_id: Option<String>,
    pub subnet_id: Option<String>,
    pub error_message: Option<String>,
    pub error_code: Option<String>,
    pub computer_name: Option<String>,
    pub volume_encryption_key: Option<String>,
    pub user_volume_encryption_enabled: Option<bool>,
    pub root_volume_encryption_enabled: Option<bool>,
    pub workspace_name: Option<String>,
    pub workspace_properties: Option<Properties>,
}

/// How a WorkSpace runs (API model, shape `WorkspaceProperties`).
#[skip_serializing_none]
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names are the API model's")]
pub struct Properties {
    pub running_mode: Option<String>,
    pub running_mode_auto_stop_timeout_in_minutes: Option<i32>,
    pub root_volume_size_gib: Option<i32>,
    pub user_volume_size_gib: Option<i32>,
    pub compute_type_name: Option<String>,
    pub protocols: Option<Vec<String>>,
    pub operating_system_name: Option<String>,
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    fn at(time: &str) -> OffsetDateTime {
        OffsetDateTime::parse(time, &Rfc3339).expect("a time")
    }

    #[test]
    fn a_workspace_id_is_of_the_models_pattern() {
        let (shortest, longest) =
            (format!("ws-{}", "0".repeat(8)), format!("ws-{}", "z".repeat(63)));
        for id in [&*shortest, &longest, "ws-0a1b2c3d4"] {
            assert_eq!(
                WorkspaceId::try_from(id.to_owned()).map(|id| id.to_string()),
                Ok(id.into())
            );
        }
        let (short, long) = (&shortest[..10], longest.clone() + "z");
        for id in [
            short,
            &long,
            "",
            "ws-",
            "wsb-0a1b2c3d4",
            "ws-0A1B2C3D4",
            "ws-0a1b2c3d\n",
            " ws-0a1b2c3d4",
        ] {
            assert!(WorkspaceId::try_from(id.to_owned()).is_err(), "{id:?}");
        }
    }

    #[test]
    fn five_of_the_models_states_allow_a_rebuild() {
        assert_eq!(State::VARIANTS.len(), 17);
        let rebuildable = State::VARIANTS.iter().filter(|state| state.is_rebuildable());
        let names: Vec<_> = rebuildable.map(ToString::to_string).collect();
        assert_eq!(names, ["AVAILABLE", "UNHEALTHY", "REBOOTING", "STOPPED", "ERROR"]);
        assert_eq!(State::AdminMaintenance.to_string(), "ADMIN_MAINTENANCE");
    }

    #[test]
    fn a_timestamp_is_in_utc_and_whole_seconds() {
        let time = Timestamp::from(at("2025-01-01T01:59:59.999+02:00"));
        assert_eq!(time.to_string(), "2024-12-31T23:59:59Z");
        assert_eq!(time.epoch_seconds(), 1_735_689_599);
        assert_eq!(Timestamp::try_from("2025-01-01T01:59:59.999+02:00".to_owned()), Ok(time));
        assert!(Timestamp::try_from("yesterday".to_owned()).is_err());
        assert_eq!((time + Duration::hours(1)).since(time), Duration::hours(1));
    }

    #[test]
    fn rebuild_ids_are_ordered_by_time_and_differ_within_an_instant() {
        let early = at("2025-01-01T00:00:00.001Z");
        let late = at("2025-01-01T00:00:00.002Z");
        let (first, second, third) =
            (RebuildId::new(early), RebuildId::new(late), RebuildId::new(late));
        assert!(first < second && first < third && second != third);
        // The text is what DynamoDB orders by.
        assert!(first.to_string() < second.to_string());
        assert_eq!(RebuildId::try_from(first.to_string()), Ok(first));
        let other_spelling = first.to_string().to_uppercase();
        for text in ["x".to_owned(), other_spelling, format!("urn:uuid:{first}")] {
            assert!(RebuildId::try_from(text.clone()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_key_is_visible_ascii() {
        for key in ["k", "!~", &"k".repeat(255)] {
            assert_eq!(IdempotencyKey::from_client(key).map(|key| key.to_string()), Ok(key.into()));
        }
        for key in ["", " ", "a b", "ü", "a\n", "\u{7f}", &"k".repeat(256)] {
            assert!(IdempotencyKey::from_client(key).is_err(), "{key:?}");
            assert!(IdempotencyKey::from_sdk_invocation(key).is_err(), "{key:?}");
        }
    }

    #[test]
    fn no_clients_key_is_an_invocations() {
        let key = IdempotencyKey::from_sdk_invocation("4711").map(|key| key.to_string());
        let key = key.expect("a key");
        assert!(key.starts_with("sdk:"), "{key}");
        assert!(IdempotencyKey::from_client(&key).is_err());
    }

    #[test]
    fn a_reason_is_counted_in_characters() {
        for (length, is_fine) in [(0, false), (1, true), (256, true), (257, false)] {
            assert_eq!(Reason::try_from("\u{fc}".repeat(length)).is_ok(), is_fine, "{length}");
        }
    }
}

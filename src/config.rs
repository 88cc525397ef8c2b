//! Environment → configurations, nothing else.
//!
//! Credentials and region come straight from the variables that Lambda sets. The SDK's provider
//! chain would find the same values later and more slowly.

use std::collections::HashSet;
use std::fmt::Display;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use lambda_http::http::Uri;
use strum::VariantNames as _;

use crate::rebuild::FleetMode;
use crate::transport::{AwsConfig, public_roots, read_bundle};

/// What the API function and the reconciler read from their environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// The tables.
    pub tables: Tables,
    /// The fleet that rebuilds are accepted for and handed over to.
    pub fleet_mode: FleetMode,
    /// See [`Limits::rebuilds_per_day`].
    pub rebuilds_per_day: Option<u32>,
    /// What its clients need.
    pub aws: AwsConfig,
    /// Endpoint of DynamoDB, if not AWS's own.
    pub(crate) endpoint: Option<String>,
}

/// The names of the tables.
#[derive(Debug, Clone)]
pub struct Tables {
    /// One item per WorkSpace.
    pub workspaces: String,
    /// One item per ended rebuild.
    pub rebuilds: String,
    /// What all hand-overs depend on.
    pub control: String,
}

/// What the reconciler and the preview function read beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetConfig {
    /// How long a rebuild takes in the simulated fleet.
    pub rebuild_time: Duration,
    /// The keys of the tags that sync reads.
    pub tag_keys: HashSet<String>,
    /// Endpoint of the WorkSpaces API, if not AWS's own.
    pub endpoint: Option<String>,
    /// Endpoint of KMS, if not AWS's own.
    pub kms_endpoint: Option<String>,
    /// How many calls to the WorkSpaces API the account may make in a second.
    pub calls_per_second: NonZeroU16,
    /// What the deployer allows.
    pub limits: Limits,
}

/// What the deployer allows the reconciler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many rebuilds may run at the same time. With 0, none is handed over, and running ones
    /// are still followed.
    pub max_concurrent: usize,
    /// How many rebuilds may be handed over in any 24 hours; `None` for any number.
    pub rebuilds_per_day: Option<u32>,
    /// How long an accepted rebuild may wait to be handed over.
    pub hand_over_deadline: time::Duration,
    /// The greatest age of the user volume's newest snapshot, in hours, for a rebuild whose request
    /// does not say; `None` for any age.
    pub maximum_snapshot_age_hours: Option<u16>,
    /// Whether a rebuild whose request does not say waits while the user is connected.
    pub wait_for_disconnect: bool,
    /// How long the record of a rebuild is kept after its end; `None` for ever.
    pub record_lifetime: Option<time::Duration>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_concurrent: 100,
            rebuilds_per_day: Some(500),
            hand_over_deadline: time::Duration::DAY,
            maximum_snapshot_age_hours: None,
            wait_for_disconnect: false,
            record_lifetime: None,
        }
    }
}

/// What the function that announces ended rebuilds reads.
#[derive(Debug, Clone)]
pub struct AnnounceConfig {
    /// Name of the event bus.
    pub event_bus: String,
    /// What its client needs.
    pub aws: AwsConfig,
    /// Endpoint of EventBridge, if not AWS's own.
    pub(crate) endpoint: Option<String>,
}

/// A variable that is missing or unusable. The message is one line without the value, which may be
/// a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A required variable is not set, or empty.
    #[error("the environment variable {0} is not set")]
    Missing(&'static str),
    /// A variable is set, but cannot be used.
    #[error("the environment variable {name} cannot be used: {reason}")]
    Unusable {
        /// The variable.
        name: &'static str,
        /// What is wrong with its value.
        reason: String,
    },
}

/// A variable of the process's environment: what the functions look up.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// Looks variables up. An empty one counts as not set: an empty template parameter means "none".
struct Environment<L>(L);

impl<L: Fn(&str) -> Option<String>> Environment<L> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    fn required(&self, name: &'static str) -> Result<String, ConfigError> {
        self.optional(name).ok_or(ConfigError::Missing(name))
    }

    /// The first of `names` that is set, made into a `T`.
    fn first<T>(
        &self,
        names: &[&'static str],
        parse: impl Fn(String) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let set = names.iter().find_map(|name| Some((*name, self.optional(name)?)));
        set.map(|(name, value)| {
            parse(value).map_err(|reason| ConfigError::Unusable { name, reason })
        })
        .transpose()
    }

    fn rebuilds_per_day(&self) -> Result<Option<u32>, ConfigError> {
        let count = self.first(&["MAX_REBUILDS_PER_DAY"], number)?;
        // 0 is any number.
        Ok(count.map_or(Limits::default().rebuilds_per_day, |count| {
            Some(count).filter(|count| *count > 0)
        }))
    }
}

impl AwsConfig {
    fn from_lookup(
        env: &Environment<impl Fn(&str) -> Option<String>>,
    ) -> Result<Self, ConfigError> {
        let credentials = Credentials::new(
            env.required("AWS_ACCESS_KEY_ID")?,
            env.required("AWS_SECRET_ACCESS_KEY")?,
            env.optional("AWS_SESSION_TOKEN"),
            None,
            "environment",
        );
        Ok(Self {
            region: Region::new(env.required("AWS_REGION")?),
            credentials: SharedCredentialsProvider::new(credentials),
            roots: env
                .first(&["AWS_CA_BUNDLE", "SSL_CERT_FILE"], |path| read_bundle(&path))?
                .unwrap_or_else(public_roots)
                .into(),
        })
    }
}

impl Config {
    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// Names the variable that is missing or unusable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(lookup);
        let fleet_mode = env.first(&["FLEET_MODE"], |mode| {
            mode.parse()
                .map_err(|_| format!("it has to be one of {}", FleetMode::VARIANTS.join(", ")))
        })?;
        Ok(Self {
            tables: Tables {
                workspaces: env.required("WORKSPACES_TABLE")?,
                rebuilds: env.required("REBUILDS_TABLE")?,
                control: env.required("CONTROL_TABLE")?,
            },
            fleet_mode: fleet_mode.unwrap_or_default(),
            rebuilds_per_day: env.rebuilds_per_day()?,
            aws: AwsConfig::from_lookup(&env)?,
            endpoint: env.first(&["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"], http_url)?,
        })
    }
}

impl FleetConfig {
    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// Names the variable that is unusable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(lookup);
        let seconds: u32 = env.first(&["FLEET_REBUILD_SECONDS"], number)?.unwrap_or(1200);
        let hours: Option<u32> = env.first(&["HAND_OVER_DEADLINE_HOURS"], number)?;
        let default = Limits::default();
        let age: Option<u16> = env.first(&["MAXIMUM_SNAPSHOT_AGE_HOURS"], number)?;
        // AWS's default (admin guide, "ThrottlingException").
        let default_rate = const { NonZeroU16::new(2).unwrap() };
        let days: Option<u16> = env.first(&["RECORD_LIFETIME_DAYS"], number)?;
        let limits = Limits {
            max_concurrent: env
                .first(&["MAX_CONCURRENT_REBUILDS"], number)?
                .unwrap_or(default.max_concurrent),
            rebuilds_per_day: env.rebuilds_per_day()?,
            hand_over_deadline: hours
                .map_or(default.hand_over_deadline, |hours| time::Duration::hours(hours.into())),
            // 0 is any age.
            maximum_snapshot_age_hours: age.filter(|hours| *hours > 0),
            wait_for_disconnect: env
                .first(&["WAIT_FOR_DISCONNECT"], |text| {
                    text.parse().map_err(|_| "it must be true or false".to_owned())
                })?
                .unwrap_or(default.wait_for_disconnect),
            record_lifetime: days
                .filter(|days| *days > 0)
                .map(|days| time::Duration::days(days.into())),
        };
        Ok(Self {
            rebuild_time: Duration::from_secs(seconds.into()),
            tag_keys: tag_keys(&env.optional("TAG_KEYS").unwrap_or_default()),
            endpoint: env.first(&["FLEET_ENDPOINT_URL"], http_url)?,
            kms_endpoint: env.first(&["AWS_ENDPOINT_URL_KMS", "AWS_ENDPOINT_URL"], http_url)?,
            calls_per_second: env
                .first(&["WORKSPACES_CALLS_PER_SECOND"], number)?
                .unwrap_or(default_rate),
            limits,
        })
    }
}

impl AnnounceConfig {
    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// Names the variable that is missing or unusable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(lookup);
        Ok(Self {
            event_bus: env.required("EVENT_BUS_NAME")?,
            aws: AwsConfig::from_lookup(&env)?,
            endpoint: env.first(&["AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL"], http_url)?,
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `Environment::first` calls it")]
fn number<T: FromStr<Err: Display>>(text: String) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

/// The keys in a list that is separated by commas.
fn tag_keys(list: &str) -> HashSet<String> {
    list.split(',').map(str::trim).filter(|key| !key.is_empty()).map(str::to_owned).collect()
}

fn http_url(value: String) -> Result<String, String> {
    let uri: Uri = value.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(value),
        _ => Err("it has to be an http:// or https:// URL".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_tags_are_separated_by_commas() {
        for (list, keys) in [("", &[][..]), ("team", &["team"]), ("a, b:c,,a", &["a", "b:c"])] {
            let read =
                FleetConfig::from_lookup(|name| (name == "TAG_KEYS").then(|| list.to_owned()));
            let expected = keys.iter().map(|key| (*key).to_owned()).collect();
            assert_eq!(read.expect("a configuration").tag_keys, expected, "{list}");
        }
    }
}

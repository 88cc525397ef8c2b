//! Environment → configurations, nothing else.
//!
//! Credentials and region come straight from the variables that Lambda sets. The SDK's provider
//! chain would find the same values later and more slowly.

use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_dynamodb::config::{Credentials, Region, SharedCredentialsProvider};
use lambda_http::http::Uri;
use rustls::RootCertStore;
use strum::VariantNames as _;

use crate::aws_http::{public_roots, read_bundle};
use crate::rebuild::FleetMode;
use crate::reconcile::Limits;

/// What every client of AWS needs.
#[derive(Debug, Clone)]
pub struct AwsConfig {
    pub(crate) region: Region,
    pub(crate) credentials: SharedCredentialsProvider,
    pub(crate) roots: Arc<RootCertStore>,
}

/// What the API function and the reconciler read from their environment.
#[derive(Debug, Clone)]
pub struct Config {
    /// Name of the table with one item per WorkSpace.
    pub workspaces_table: String,
    /// Name of the table with one item per ended rebuild.
    pub rebuilds_table: String,
    /// The fleet that rebuilds are accepted for and handed over to.
    pub fleet_mode: FleetMode,
    /// What its clients need.
    pub aws: AwsConfig,
    /// Endpoint of DynamoDB, if not AWS's own.
    pub(crate) endpoint: Option<String>,
}

/// What only the reconciler reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FleetConfig {
    /// How long a rebuild takes in the simulated fleet.
    pub rebuild_time: Duration,
    /// Endpoint of the WorkSpaces API, if not AWS's own.
    pub endpoint: Option<String>,
    /// How long an accepted rebuild may wait to be handed over.
    pub deadline: time::Duration,
    /// How much the reconciler may do.
    pub limits: Limits,
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
}

impl AwsConfig {
    fn from_env(env: &Environment<impl Fn(&str) -> Option<String>>) -> Result<Self, ConfigError> {
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
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable that is missing or unusable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

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
            workspaces_table: env.required("WORKSPACES_TABLE")?,
            rebuilds_table: env.required("REBUILDS_TABLE")?,
            fleet_mode: fleet_mode.unwrap_or_default(),
            aws: AwsConfig::from_env(&env)?,
            endpoint: env.first(&["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"], http_url)?,
        })
    }
}

impl FleetConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable that is unusable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// Names the variable that is unusable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(lookup);
        let seconds: u32 = env.first(&["FLEET_REBUILD_SECONDS"], number)?.unwrap_or(1200);
        let hours: u32 = env.first(&["HAND_OVER_DEADLINE_HOURS"], number)?.unwrap_or(24);
        let default = Limits::default();
        let age: Option<u16> = env.first(&["MAXIMUM_SNAPSHOT_AGE_HOURS"], number)?;
        let days: Option<u16> = env.first(&["RECORD_LIFETIME_DAYS"], number)?;
        let limits = Limits {
            max_concurrent: env
                .first(&["MAX_CONCURRENT_REBUILDS"], number)?
                .unwrap_or(default.max_concurrent),
            // 0 is any age.
            maximum_snapshot_age_hours: age.filter(|hours| *hours > 0),
            record_lifetime: days
                .filter(|days| *days > 0)
                .map(|days| time::Duration::days(days.into())),
        };
        Ok(Self {
            rebuild_time: Duration::from_secs(seconds.into()),
            endpoint: env.first(&["FLEET_ENDPOINT_URL"], http_url)?,
            deadline: time::Duration::hours(hours.into()),
            limits,
        })
    }
}

impl AnnounceConfig {
    /// Reads the process's environment.
    ///
    /// # Errors
    /// Names the variable that is missing or unusable.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_lookup(|name| std::env::var(name).ok())
    }

    /// Reads variables through `lookup`.
    ///
    /// # Errors
    /// Names the variable that is missing or unusable.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(lookup);
        Ok(Self {
            event_bus: env.required("EVENT_BUS_NAME")?,
            aws: AwsConfig::from_env(&env)?,
            endpoint: env.first(&["AWS_ENDPOINT_URL_EVENTBRIDGE", "AWS_ENDPOINT_URL"], http_url)?,
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "as `Environment::first` calls it")]
fn number<T: FromStr<Err: Display>>(text: String) -> Result<T, String> {
    text.parse().map_err(|error: T::Err| error.to_string())
}

fn http_url(value: String) -> Result<String, String> {
    let uri: Uri = value.parse().map_err(|error| format!("{error}"))?;
    match uri.scheme_str() {
        Some("http" | "https") => Ok(value),
        _ => Err("it has to be an http:// or https:// URL".into()),
    }
}

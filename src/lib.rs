//! `RebuildWorkspaces`: the guarded front door to rebuilding Amazon WorkSpaces.
//!
//! How a request passes through the modules:
//!
//! - [`http`]: an API Gateway event goes to one of three faces, which decodes it, calls the service
//!   and encodes the result;
//! - [`service`]: one method per operation, free of HTTP and of the AWS SDK;
//! - [`store`]: DynamoDB, with the one conditional write that accepts a rebuild;
//! - [`workspace`], [`rebuild`], [`ids`], [`state`], [`reason`], [`timestamp`], [`format`](mod@format),
//!   [`token`]: the domain, pure; [`error`]: what can go wrong; [`representation`]: a rebuild as
//!   clients see it; [`progress`]: how far sync has come.
//!
//! [`reconcile`] brings accepted rebuilds to their end in a [`fleet`], real or simulated.
//! [`announce`] tells EventBridge how they ended.
//!
//! [`config`] reads the environment, [`transport`] is what the AWS clients share, [`telemetry`] the
//! log. No module depends on itself, not even by way of others: `scripts/check layers`.
//!
//! Three thin binaries: `rebuild` answers the API, `reconcile` runs on a schedule, `announce` reads
//! the stream of the table of rebuilds.

pub mod announce;
pub mod calls;
pub mod config;
pub mod control;
pub mod error;
pub mod fleet;
pub mod format;
pub mod http;
pub mod ids;
pub mod preview;
pub mod progress;
pub mod reason;
pub mod rebuild;
pub mod reconcile;
pub mod representation;
pub mod service;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod timestamp;
pub mod token;
pub mod transport;
pub mod workspace;

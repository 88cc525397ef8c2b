//! `RebuildWorkspaces`: the guarded front door to rebuilding Amazon WorkSpaces.
//!
//! The way of a request, in the order of the modules:
//!
//! - [`http`]: an API Gateway event picks a face, [`http::envelope`] or [`http::aws_json`], which
//!   decodes it into a command and encodes what comes of it;
//! - [`service`]: the use cases, free of HTTP and of DynamoDB;
//! - [`store`]: DynamoDB, with the one conditional write that accepts a rebuild;
//! - [`workspace`]: the domain, pure; [`error`]: what can go wrong;
//! - [`reconcile`]: brings accepted rebuilds to their end, in a [`fleet`], real or simulated;
//! - [`config`]: the environment, and the clients that follow from it.
//!
//! Two thin binaries: `rebuild` answers the API, `reconcile` runs on a schedule.

pub mod config;
pub mod error;
pub mod fleet;
pub mod http;
pub mod reconcile;
pub mod service;
pub mod store;
pub mod workspace;

//! What the fuzz targets share: the function over a DynamoDB in this process, requests as text, and
//! what every answer must be.
//!
//! A target panics if the function panics or breaks its contract.

#![forbid(unsafe_code)]

pub mod aws;
pub mod cbor;
pub mod contract;
pub mod face;
pub mod request;
pub mod system;

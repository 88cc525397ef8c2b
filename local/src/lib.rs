//! The parts of the local run: an embedded DynamoDB and a stand-in for API Gateway. The tests use
//! them too.

pub mod dynamodb;
pub mod gateway;
mod snapshots;

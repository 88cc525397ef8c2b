//! The parts of the local run: an embedded DynamoDB, stand-ins for API Gateway and EventBridge, and
//! Lambda's reading of a stream. The tests use them too.

pub mod data_file;
pub mod docs;
pub mod dynamodb;
pub mod eventbridge;
mod fleet;
pub mod gateway;
pub mod stream;

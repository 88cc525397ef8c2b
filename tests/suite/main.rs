//! The contract, held against the real thing: the function behind real HTTP, a real DynamoDB API
//! on a port, real clients. One binary, so that it links once.

mod aws_clients;
mod aws_json;
mod contract;
mod events;
mod faults;
mod growth;
mod lambda;
mod local_run;
mod properties;
mod race;
mod reconcile;
mod system;
mod template;
mod trust;
mod wire;

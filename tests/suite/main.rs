//! Integration tests: the function behind real HTTP, against a real DynamoDB API and with real
//! clients. One binary, so that it links once.

mod announce;
mod aws_cbor;
mod aws_clients;
mod aws_json;
mod contract;
mod crash;
mod ended_rebuilds;
mod events;
mod faults;
mod fleet_api;
mod growth;
mod guard;
mod histories;
mod lambda;
mod local_run;
mod open_rebuilds;
mod openapi;
mod pause;
mod preview;
mod properties;
mod race;
mod random_faults;
mod reconcile;
mod smithy;
mod system;
mod template;
mod trust;
mod unreadable;
mod wire;

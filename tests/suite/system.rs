//! The whole system for a test: an embedded DynamoDB and the API, each on a free port.

use std::net::SocketAddr;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;
use rebuild_workspaces::config::Config;
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::Store;
use tokio::net::TcpListener;

use crate::{dynamodb, gateway};

/// A running system, seeded with one WorkSpace in each state, which ends with the test's runtime.
pub struct System {
    /// The API's address, `http://127.0.0.1:<port>`.
    pub api: String,
    /// DynamoDB's.
    pub dynamodb: String,
    /// The store that the API uses.
    pub store: Store,
    /// A client to look at items, and to put them, past the store.
    pub client: Client,
}

impl System {
    /// Starts it.
    pub async fn start() -> Self {
        let (database, _) = dynamodb::open(None).expect("the tables of the template");
        dynamodb::seed(&database).expect("the seed");
        let (listener, dynamodb) = listen().await;
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        Self::over(dynamodb).await
    }

    /// Starts the API over a DynamoDB, or over what stands in front of it.
    pub async fn over(dynamodb: String) -> Self {
        let client = config(&dynamodb).dynamodb();
        let store = Store::new(client.clone(), "workspaces".into(), "rebuilds".into());
        let (listener, api) = listen().await;
        let service = Service::new(store.clone());
        tokio::spawn(gateway::serve(listener, service, std::future::pending()));
        Self { api, dynamodb, store, client }
    }

    /// The item of a WorkSpace.
    pub async fn item(&self, id: &str) -> std::collections::HashMap<String, AttributeValue> {
        let request = self.client.get_item().table_name("workspaces");
        let request = request.key("WorkspaceId", AttributeValue::S(id.into()));
        let output = request.consistent_read(true).send().await.expect("an answer");
        output.item.expect("the WorkSpace")
    }
}

/// A listener on a free port, and its URL.
pub async fn listen() -> (TcpListener, String) {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::bind(any).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    (listener, url)
}

/// The functions' configuration with this DynamoDB.
pub fn config(dynamodb: &str) -> Config {
    let lookup = |name: &str| {
        let value = match name {
            "WORKSPACES_TABLE" => "workspaces",
            "REBUILDS_TABLE" => "rebuilds",
            "AWS_REGION" => "us-east-1",
            "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "test",
            "AWS_ENDPOINT_URL_DYNAMODB" => dynamodb,
            _ => return None,
        };
        Some(value.to_owned())
    };
    Config::from_lookup(lookup).expect("all that it needs")
}

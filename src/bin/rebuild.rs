//! The API function: answers API Gateway, one DynamoDB request per rebuild request.

use std::convert::Infallible;

use lambda_http::{Error, Request, service_fn};
use rebuild_workspaces::config::{Config, init_logging, warm_up};
use rebuild_workspaces::http::handle;
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    init_logging();
    let config =
        Config::from_env().inspect_err(|error| tracing::error!(%error, "the start failed"))?;
    let client = config.dynamodb();
    warm_up(&client, &config.workspaces_table).await;
    let store = Store::new(client, config.workspaces_table, config.rebuilds_table);
    let service = &Service::new(store);
    lambda_http::run(service_fn(move |request: Request| async move {
        Ok::<_, Infallible>(handle(service, request).await)
    }))
    .await
}

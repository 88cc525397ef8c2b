//! The API function: answers API Gateway, one DynamoDB request per rebuild request.

use lambda_runtime::{Error, service_fn};
use rebuild_workspaces::config::{Config, init_logging, offline, warm_up};
use rebuild_workspaces::http::{invoke, rehearse};
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::Store;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    init_logging();
    let config =
        Config::from_env().inspect_err(|error| tracing::error!(%error, "the start failed"))?;
    let client = config.dynamodb();
    warm_up(&client, &config.workspaces_table).await;
    let offline = aws_sdk_dynamodb::Client::from_conf(config.dynamodb_config(offline()));
    let rehearsal =
        Store::new(offline, config.workspaces_table.clone(), config.rebuilds_table.clone());
    let store = Store::new(client, config.workspaces_table, config.rebuilds_table);
    let service = &Service::new(store);
    rehearse(&Service::new(rehearsal)).await;
    lambda_runtime::run(service_fn(move |event| invoke(service, event))).await
}

//! The API function: answers API Gateway, with one DynamoDB request per rebuild request.

use lambda_runtime::{Error, service_fn};
use rebuild_workspaces::config::Config;
use rebuild_workspaces::http::invoke;
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::Store;
use rebuild_workspaces::{aws_http, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config =
        Config::from_env().inspect_err(|error| tracing::error!(%error, "the start failed"))?;
    let store = Store::connect(&config, aws_http::client(&config.aws));
    store.warm_up().await;
    let service = &Service::new(store, config.fleet_mode);
    lambda_runtime::run(service_fn(move |event| invoke(service, event))).await
}

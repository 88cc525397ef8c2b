//! The API function: answers API Gateway, with one DynamoDB request per rebuild request.

use lambda_runtime::{Error, service_fn};
use rebuild_workspaces::config::{Config, variable};
use rebuild_workspaces::http::invoke;
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::Store;
use rebuild_workspaces::{telemetry, transport};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = Config::from_lookup(variable)
        .inspect_err(|error| tracing::error!(%error, "startup failed"))?;
    let store = Store::connect(&config, transport::http_client(&config.aws));
    store.warm_up().await;
    let service = &Service::new(store, config.fleet_mode, config.rebuilds_per_day);
    lambda_runtime::run(service_fn(move |event| invoke(service, event))).await
}

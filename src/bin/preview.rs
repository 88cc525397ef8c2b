//! The preview function: answers API Gateway's route of previews, with a few questions to the fleet.

use lambda_runtime::{Error, service_fn};
use rebuild_workspaces::calls::Rate;
use rebuild_workspaces::config::{Config, FleetConfig, variable};
use rebuild_workspaces::fleet::Fleet;
use rebuild_workspaces::fleet::amazon::Amazon;
use rebuild_workspaces::fleet::simulated::Simulated;
use rebuild_workspaces::http::invoke_preview;
use rebuild_workspaces::preview::Previewer;
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::store::Store;
use rebuild_workspaces::{telemetry, transport};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let read =
        || Ok::<_, Error>((Config::from_lookup(variable)?, FleetConfig::from_lookup(variable)?));
    let (config, fleet) = read().inspect_err(|error| tracing::error!(%error, "startup failed"))?;
    let http = transport::http_client(&config.aws);
    let store = Store::connect(&config, http.clone());
    store.warm_up().await;
    match config.fleet_mode {
        FleetMode::Simulated => {
            run(Previewer::new(store, Simulated { rebuild_time: fleet.rebuild_time }, &fleet)).await
        }
        FleetMode::AmazonWorkSpaces => {
            run(Previewer::new(
                store,
                Amazon::connect(&config, &fleet, Rate::previews(fleet.calls_per_second), http),
                &fleet,
            ))
            .await
        }
    }
}

async fn run(previewer: Previewer<impl Fleet + Sync>) -> Result<(), Error> {
    let previewer = &previewer;
    lambda_runtime::run(service_fn(move |event| invoke_preview(previewer, event))).await
}

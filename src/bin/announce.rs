//! Announces ended rebuilds on EventBridge: reads the stream of the table of rebuilds.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use rebuild_workspaces::announce::{Announcer, Batch};
use rebuild_workspaces::config::{AnnounceConfig, variable};
use rebuild_workspaces::{telemetry, transport};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = AnnounceConfig::from_lookup(variable)
        .inspect_err(|error| tracing::error!(%error, "startup failed"))?;
    let announcer = &Announcer::connect(&config, transport::http_client(&config.aws));
    lambda_runtime::run(service_fn(move |batch: LambdaEvent<Batch>| async move {
        Ok::<_, Error>(announcer.announce(batch.payload).await)
    }))
    .await
}

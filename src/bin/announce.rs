//! Announces ended rebuilds on EventBridge: reads the stream of the table of rebuilds.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use rebuild_workspaces::announce::{Announcer, Batch};
use rebuild_workspaces::config::AnnounceConfig;
use rebuild_workspaces::{aws_http, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let config = AnnounceConfig::from_env()
        .inspect_err(|error| tracing::error!(%error, "the start failed"))?;
    let announcer = &Announcer::connect(&config, aws_http::client(&config.aws));
    lambda_runtime::run(service_fn(move |batch: LambdaEvent<Batch>| async move {
        Ok::<_, Error>(announcer.announce(batch.payload).await)
    }))
    .await
}

//! The set-up from the guide of the SDK: `aws-config`, the default client, one call per request.

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use benches::update_item;
use lambda_http::{Error, Request, run, service_fn, tracing};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    tracing::init_default_subscriber();
    let client = Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let client = &client;
    run(service_fn(async move |_: Request| {
        update_item(client).send().await?;
        Ok::<_, Error>("accepted")
    }))
    .await
}

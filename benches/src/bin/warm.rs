//! Makes many requests in one process over one connection, to count their instructions.
//! `warm function 100` takes 100 events from JSON to the JSON of the response,
//! `warm lambda_http 100` does so with a function that does nothing, `warm call 100` makes only the
//! DynamoDB call of the function, and `warm sdk 100` makes it with the default client of the SDK.

use std::convert::Infallible;

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use benches::{event, update_item};
use lambda_http::request::LambdaRequest;
use lambda_http::{Adapter, Context, Error, LambdaEvent, Service as _, service_fn};
use rebuild_workspaces::config::Config;
use rebuild_workspaces::http::invoke;
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::{aws_http, telemetry};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let mut arguments = std::env::args().skip(1);
    let what = arguments.next().ok_or("what?")?;
    let times: u32 = arguments.next().ok_or("how many?")?.parse()?;
    telemetry::init();
    let config = Config::from_env()?;
    let client = match what.as_str() {
        "sdk" => Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await),
        _ => Client::from_conf(client_config(&config, aws_http::client(&config.aws)).build()),
    };
    let store =
        Store::new(client.config().to_builder(), config.workspaces_table, config.rebuilds_table);
    store.warm_up().await;
    let service = Service::new(store, config.fleet_mode);
    let event = event()?;
    for _ in 0..times {
        let answer = match what.as_str() {
            "function" => {
                let event = LambdaEvent::new(serde_json::from_str(&event)?, Context::default());
                serde_json::to_string(&invoke(&service, event).await?)?
            }
            "lambda_http" => {
                let event: LambdaEvent<LambdaRequest> =
                    LambdaEvent::new(serde_json::from_str(&event)?, Context::default());
                let nothing = service_fn(async |_| Ok::<_, Infallible>("202"));
                serde_json::to_string(&Adapter::from(nothing).call(event).await?)?
            }
            _ => {
                update_item(&client).send().await?;
                "202".into()
            }
        };
        assert!(answer.contains("202"), "not accepted: {answer}");
    }
    Ok(())
}

//! One pass of the reconciler over 10,000 open rebuilds in the simulated fleet: its time, and its
//! requests to DynamoDB. The embedded database shares the machine.

use std::error::Error;
use std::time::Instant;

use aws_sdk_dynamodb::Client;
use benches::{Requests, add_workspaces, config};
use rebuild_workspaces::config::Limits;
use rebuild_workspaces::fleet::simulated::Simulated;
use rebuild_workspaces::ids::{Target, WorkspaceId};
use rebuild_workspaces::rebuild::Rebuild;
use rebuild_workspaces::reconcile::{Reconciler, Timing};
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::transport;
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;

const OPEN: usize = 10_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let database = local::dynamodb::in_memory().map_err(|error| error.to_string())?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    let config = config(&url)?;
    let requests = Requests::default();
    let client = client_config(&config, transport::http_client(&config.aws));
    let counted = client.clone().interceptor(requests.clone());
    let store = Store::new(counted, config.tables);
    let begin = OffsetDateTime::now_utc();
    fill(&Client::from_conf(client.build()), &store, begin).await?;

    println!(
        "| a pass over {OPEN} open rebuilds | seconds | requests to DynamoDB |\n|---|---|---|"
    );
    for (name, minutes) in [
        ("hands all over", 0),
        ("sees all in REBUILDING", 1),
        ("nothing to do", 2),
        ("ends all", 30),
    ] {
        let _ = requests.take();
        let clock = || begin + Duration::minutes(minutes);
        let fleet = Simulated { rebuild_time: std::time::Duration::from_mins(20) };
        let timing = Timing::of_simulated();
        let limits = Limits { max_concurrent: OPEN, rebuilds_per_day: None, ..Limits::default() };
        let reconciler = Reconciler { store: store.clone(), fleet, clock, timing, limits };
        let start = Instant::now();
        let pass = reconciler.follow().await?;
        let seconds = start.elapsed().as_secs_f64();
        if pass.failures > 0 || pass.open != OPEN || !pass.is_complete {
            return Err(format!("{name}: {pass:?}").into());
        }
        let requests = requests.take();
        let requests: Vec<_> =
            requests.iter().map(|(name, count)| format!("{count} {name}")).collect();
        println!("| {name} | {seconds:.1} | {} |", requests.join(", "));
    }
    Ok(())
}

/// Fills the table with accepted rebuilds.
async fn fill(client: &Client, store: &Store, begin: OffsetDateTime) -> Result<(), Box<dyn Error>> {
    let ids: Vec<_> = (0..OPEN).map(|number| format!("ws-{number:08}")).collect();
    add_workspaces(client, &ids).await?;
    for id in ids {
        let id = WorkspaceId::try_from(id).map_err(|error| error.to_string())?;
        store.accept(&Target::from(id), &Rebuild::new(begin)).await?;
    }
    Ok(())
}

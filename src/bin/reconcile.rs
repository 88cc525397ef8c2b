//! The reconciler: two functions on two schedules, `{"schedule":"follow"}` and `{"schedule":"sync"}`.

use lambda_runtime::{Error, LambdaEvent, service_fn};
use rebuild_workspaces::calls::Rate;
use rebuild_workspaces::config::{Config, FleetConfig, Limits, variable};
use rebuild_workspaces::fleet::Fleet;
use rebuild_workspaces::fleet::amazon::Amazon;
use rebuild_workspaces::fleet::simulated::Simulated;
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::reconcile::{Followed, Reconciler, Synced, Timing};
use rebuild_workspaces::store::Store;
use rebuild_workspaces::{telemetry, transport};
use serde::Deserialize;
use time::OffsetDateTime;
use tracing::info;

/// The payload of a schedule.
#[derive(Deserialize)]
#[serde(tag = "schedule", rename_all = "lowercase")]
enum Tick {
    Follow,
    Sync,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let read =
        || Ok::<_, Error>((Config::from_lookup(variable)?, FleetConfig::from_lookup(variable)?));
    let (config, fleet) = read().inspect_err(|error| tracing::error!(%error, "startup failed"))?;
    let http = transport::http_client(&config.aws);
    let store = Store::connect(&config, http.clone());
    let limits = fleet.limits;
    match config.fleet_mode {
        FleetMode::Simulated => {
            let fleet = Simulated { rebuild_time: fleet.rebuild_time };
            run(store, fleet, Timing::of_simulated(), limits).await
        }
        FleetMode::AmazonWorkSpaces => {
            let fleet =
                Amazon::connect(&config, &fleet, Rate::following(fleet.calls_per_second), http);
            run(store, fleet, Timing::of_amazon(), limits).await
        }
    }
}

/// Each tick is one pass. A pass that left something undone fails, which raises an alarm.
async fn run(store: Store, fleet: impl Fleet, timing: Timing, limits: Limits) -> Result<(), Error> {
    let clock: Clock = OffsetDateTime::now_utc;
    let reconciler = &Reconciler { store, fleet, clock, timing, limits };
    lambda_runtime::run(service_fn(move |tick: LambdaEvent<Tick>| async move {
        match tick.payload {
            Tick::Follow => follow(reconciler).await,
            Tick::Sync => sync(reconciler).await,
        }
    }))
    .await
}

type Clock = fn() -> OffsetDateTime;

async fn follow(reconciler: &Reconciler<impl Fleet, Clock>) -> Result<(), Error> {
    let pass = reconciler.follow().await?;
    let Followed { open, oldest_open_seconds, handed_over, free, observed, ended, .. } = pass;
    let Followed { is_paused, unchecked_keys, failures, is_complete, .. } = pass;
    info!(
        schedule = "follow",
        open,
        oldest_open_seconds,
        handed_over,
        free,
        observed,
        ended,
        paused = is_paused,
        unchecked_keys,
        failures,
        complete = is_complete,
        "pass"
    );
    fail_if_undone(is_complete, failures)
}

async fn sync(reconciler: &Reconciler<impl Fleet, Clock>) -> Result<(), Error> {
    let pass = reconciler.sync().await?;
    let Synced { directories, done, failing, listed, changed, gone, .. } = pass;
    let Synced { vanished, failures, has_progressed, is_complete, .. } = pass;
    info!(
        schedule = "sync",
        directories,
        done,
        failing,
        listed,
        changed,
        gone,
        vanished,
        failures,
        progress = has_progressed,
        complete = is_complete,
        "pass"
    );
    match (failing, vanished, failures) {
        (0, 0, 0) => Ok(()),
        (0, 0, _) => Err(format!("{failures} WorkSpaces were not synced").into()),
        (0, _, _) => {
            Err(format!("{vanished} WorkSpaces vanished from the fleet's listings").into())
        }
        (_, _, _) => Err(format!("{failing} directories were not listed").into()),
    }
}

fn fail_if_undone(is_complete: bool, failures: usize) -> Result<(), Error> {
    match (is_complete, failures) {
        (true, 0) => Ok(()),
        (true, _) => Err(format!("{failures} WorkSpaces did not advance").into()),
        (false, _) => Err("the pass ran out of time".into()),
    }
}

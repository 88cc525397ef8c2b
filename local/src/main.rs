//! The whole system on a laptop, in one command: no account, no Docker.
//!
//! `cargo run -p local` starts an embedded DynamoDB with the tables of `template.yaml`,
//! fills them from `seed/workspaces.json`, and serves the function over HTTP.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use clap::Parser;
use dynoxide::Database;
use local::gateway::{self, Functions, READ_TIMEOUT};
use local::stream::Stream;
use local::{data_file, dynamodb, eventbridge};
use rebuild_workspaces::announce::Announcer;
use rebuild_workspaces::calls::Rate;
use rebuild_workspaces::config::Limits;
use rebuild_workspaces::config::{AnnounceConfig, Config, FleetConfig};
use rebuild_workspaces::fleet::Fleet;
use rebuild_workspaces::fleet::amazon::Amazon;
use rebuild_workspaces::fleet::simulated::Simulated;
use rebuild_workspaces::preview::Previewer;
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::reconcile::{Reconciler, Timing};
use rebuild_workspaces::service::Service;
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::timestamp::{Day, Timestamp};
use rebuild_workspaces::{telemetry, transport};
use serde_json::Value;
use time::OffsetDateTime;
use tokio::net::TcpListener;

/// RebuildWorkspaces on this machine: the API, an embedded DynamoDB, and sample WorkSpaces.
#[derive(Parser)]
#[command(name = "cargo run -p local --")]
struct Options {
    /// Port of the API, or 0 for a free one [default: 9000, or a free one if it is in use]
    #[arg(long)]
    port: Option<u16>,
    /// Port of DynamoDB, or 0 for a free one [default: 8000, or a free one if it is in use]
    #[arg(long, value_name = "PORT")]
    dynamodb_port: Option<u16>,
    /// Port of EventBridge, or 0 for a free one [default: 8001, or a free one if it is in use]
    #[arg(long, value_name = "PORT")]
    eventbridge_port: Option<u16>,
    /// Address that DynamoDB and EventBridge listen on; containers cannot reach the default
    #[arg(long, default_value = "127.0.0.1")]
    aws_host: IpAddr,
    /// Keep the tables in this file; by default, they are lost when the run ends
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Use the tables of this DynamoDB API instead of an embedded one; ended rebuilds are then not
    /// announced
    #[arg(long, value_name = "URL", conflicts_with_all = ["dynamodb_port", "data", "announce"])]
    dynamodb_endpoint: Option<String>,
    /// How long a rebuild takes in the simulated fleet
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    rebuild_seconds: u32,
    /// How many rebuilds may run at the same time; with 0 they wait, and can be cancelled
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    max_concurrent: usize,
    /// How long an accepted rebuild may wait to be handed over
    #[arg(long, value_name = "SECONDS", default_value_t = 24 * 60 * 60)]
    deadline_seconds: u32,
    /// Hand rebuilds over to this endpoint of the WorkSpaces API instead of the simulated fleet,
    /// and copy its WorkSpaces into the table; another local run can be that endpoint
    #[arg(long, value_name = "URL")]
    fleet_endpoint: Option<String>,
    /// Post the event of each ended rebuild to this URL, as EventBridge would; by default, it is
    /// printed
    #[arg(long, value_name = "URL")]
    announce: Option<String>,
}

/// How long a target of `--announce` may take: less than the announcer waits for an answer.
const POST_TIMEOUT: Duration = Duration::from_secs(3);

type Error = Box<dyn std::error::Error + Send + Sync>;

/// A server of the run, and its default port.
struct Server {
    name: &'static str,
    default_port: u16,
    option: &'static str,
}

const API: Server = Server { name: "the API", default_port: 9000, option: "--port" };
const DYNAMODB: Server = Server { name: "DynamoDB", default_port: 8000, option: "--dynamodb-port" };
const EVENTBRIDGE: Server =
    Server { name: "EventBridge", default_port: 8001, option: "--eventbridge-port" };

impl Server {
    /// Listens on the requested port or, without one, on the default, or else on a free one.
    async fn listen(&self, host: IpAddr, port: Option<u16>) -> Result<TcpListener, Error> {
        let Self { name, default_port, option } = self;
        let address = SocketAddr::new(host, port.unwrap_or(*default_port));
        let bound = match TcpListener::bind(address).await {
            Err(error) if port.is_none() && error.kind() == ErrorKind::AddrInUse => {
                eprintln!("port {default_port} is in use, so {name} listens on a free one");
                TcpListener::bind((host, 0)).await
            }
            bound => bound,
        };
        bound.map_err(|error| {
            let advice = match error.kind() {
                ErrorKind::AddrNotAvailable => "choose another address with --aws-host".to_owned(),
                _ => format!("choose another port with {option}, or 0 for a free one"),
            };
            format!("cannot listen on {address}: {error}; {advice}").into()
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Error> {
    telemetry::init();
    let tables = tables(&options)?;
    let api = API.listen([127, 0, 0, 1].into(), options.port).await?;
    let api_url = format!("http://{}", api.local_addr()?);
    let eventbridge_url = eventbridge(&options).await?;
    let dynamodb_url = match tables {
        Tables::Embedded(database) => dynamodb(database, &options, &eventbridge_url).await?,
        Tables::At(url) => url,
    };

    let environment =
        |name: &str| local_environment(name, &dynamodb_url, &eventbridge_url, &options);
    let config = Config::from_lookup(environment)?;
    let mut fleet = FleetConfig::from_lookup(environment)?;
    fleet.limits.hand_over_deadline = time::Duration::seconds(options.deadline_seconds.into());
    fleet.limits.max_concurrent = options.max_concurrent;
    let limits = fleet.limits;
    let http = transport::http_client(&config.aws);
    let mut client = client_config(&config, http.clone());
    if options.dynamodb_endpoint.is_none() {
        // A busy machine or a slow disk delays the embedded one, and it answers in the end.
        client = client.timeout_config(TimeoutConfig::disabled());
    }
    let store = Store::new(client, config.tables.clone());
    let interrupted = async {
        // If the handler cannot be installed, Ctrl-C ends the process anyway.
        let _ = tokio::signal::ctrl_c().await;
    };
    let served = async {
        greet(&api_url, &dynamodb_url, &eventbridge_url);
        let service = Service::new(store.clone(), config.fleet_mode, limits.rebuilds_per_day);
        match config.fleet_mode {
            FleetMode::Simulated => {
                let simulated = Simulated { rebuild_time: fleet.rebuild_time };
                let preview = Previewer::new(store.clone(), simulated, &fleet);
                let timing = Timing::of_simulated();
                tokio::spawn(reconcile(store, simulated, timing, limits));
                gateway::serve(api, Functions { api: service, preview }, READ_TIMEOUT).await;
            }
            FleetMode::AmazonWorkSpaces => {
                let amazon = |rate: fn(_) -> _| {
                    let calls = rate(fleet.calls_per_second);
                    Amazon::connect(&config, &fleet, calls, http.clone())
                };
                let preview = Previewer::new(store.clone(), amazon(Rate::previews), &fleet);
                tokio::spawn(reconcile(store, amazon(Rate::following), hurried(), limits));
                gateway::serve(api, Functions { api: service, preview }, READ_TIMEOUT).await;
            }
        }
    };
    tokio::select! {
        // The handler is there before the greeting says that Ctrl-C ends the run.
        biased;
        () = interrupted => println!("\nStopped."),
        () = served => {}
    }
    Ok(())
}

/// Starts a stand-in for EventBridge that prints or posts each event. Returns its URL.
async fn eventbridge(options: &Options) -> Result<String, Error> {
    let listener = EVENTBRIDGE.listen(options.aws_host, options.eventbridge_port).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let target = options.announce.clone();
    tokio::spawn(eventbridge::serve(listener, move |event| deliver(event, target.clone())));
    Ok(url)
}

async fn deliver(event: Value, target: Option<String>) -> Result<(), String> {
    let Some(url) = target else {
        println!("{event}");
        return Ok(());
    };
    let post = move || {
        let request = ureq::post(&url).config().timeout_global(Some(POST_TIMEOUT)).build();
        let answer = request.content_type("application/json").send(event.to_string());
        answer.map_err(|error| {
            eprintln!("the event of an ended rebuild was not posted to {url}: {error}");
            error.to_string()
        })
    };
    let posted = tokio::task::spawn_blocking(post).await;
    posted.map_err(|error| error.to_string())?.map(drop)
}

/// Where the tables are.
enum Tables {
    Embedded(Database),
    At(String),
}

/// Opens the tables of an embedded DynamoDB, and seeds new ones.
fn tables(options: &Options) -> Result<Tables, Error> {
    let database = match (&options.dynamodb_endpoint, &options.data) {
        (Some(url), _) => return Ok(Tables::At(url.clone())),
        (None, Some(file)) => data_file::open(file)?,
        (None, None) => dynamodb::in_memory()?,
    };
    dynamodb::seed_if_empty(&database)?;
    Ok(Tables::Embedded(database))
}

/// Starts an embedded DynamoDB, and announces the rebuilds that end in it. Returns its URL.
async fn dynamodb(
    database: Database,
    options: &Options,
    eventbridge_url: &str,
) -> Result<String, Error> {
    let listener = DYNAMODB.listen(options.aws_host, options.dynamodb_port).await?;
    let url = format!("http://{}", listener.local_addr()?);
    let environment = |name: &str| local_environment(name, &url, eventbridge_url, options);
    let config = AnnounceConfig::from_lookup(environment)?;
    let announcer = Announcer::connect(&config, transport::http_client(&config.aws));
    match Stream::at_end(database.clone())? {
        Some(stream) => drop(tokio::spawn(stream.follow(announcer))),
        None => eprintln!("ended rebuilds are not announced: an earlier version made the tables"),
    }
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    Ok(url)
}

/// Runs the passes of the two schedules side by side: follow every second, sync every 15 seconds.
async fn reconcile(store: Store, fleet: impl Fleet, timing: Timing, limits: Limits) {
    let reconciler = Reconciler { store, fleet, clock: OffsetDateTime::now_utc, timing, limits };
    let follow = async {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            if let Err(error) = reconciler.follow().await {
                eprintln!("the open rebuilds were not followed: {error}");
            }
        }
    };
    let sync = async {
        let mut tick = tokio::time::interval(Duration::from_secs(15));
        loop {
            tick.tick().await;
            if let Err(error) = reconciler.sync().await {
                eprintln!("the table was not brought in step with the fleet: {error}");
            }
        }
    };
    tokio::join!(follow, sync);
}

/// The timing for another WorkSpaces API on this machine: a second where the real one gets a minute.
fn hurried() -> Timing {
    Timing {
        observed_after: time::Duration::seconds(3),
        observed_within: time::Duration::seconds(30),
        settles_after: time::Duration::seconds(3),
        connected_look_minutes: 1,
        pass: time::Duration::SECOND,
    }
}

/// A variable of the functions' environment, as the template sets it, for this machine.
fn local_environment(
    name: &str,
    dynamodb_url: &str,
    eventbridge_url: &str,
    options: &Options,
) -> Option<String> {
    let value = match name {
        "WORKSPACES_TABLE" => "workspaces",
        "REBUILDS_TABLE" => "rebuilds",
        "CONTROL_TABLE" => "control",
        "EVENT_BUS_NAME" => "default",
        "AWS_REGION" => "us-east-1",
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => "local",
        "AWS_ENDPOINT_URL_DYNAMODB" => dynamodb_url,
        "AWS_ENDPOINT_URL_EVENTBRIDGE" => eventbridge_url,
        "FLEET_MODE" if options.fleet_endpoint.is_some() => "AmazonWorkSpaces",
        // Another local run has no limit.
        "WORKSPACES_CALLS_PER_SECOND" => "100",
        "FLEET_REBUILD_SECONDS" => return Some(options.rebuild_seconds.to_string()),
        "FLEET_ENDPOINT_URL" | "AWS_ENDPOINT_URL_KMS" => return options.fleet_endpoint.clone(),
        _ => return None,
    };
    Some(value.to_owned())
}

fn greet(api: &str, dynamodb: &str, eventbridge: &str) {
    let today = Day::from(Timestamp::from(OffsetDateTime::now_utc()));
    println!(
        r#"Listening on {api}
DynamoDB on {dynamodb} (tables workspaces, rebuilds and control, any credentials)
EventBridge on {eventbridge} (the event of each ended rebuild is printed, or posted with --announce)
In a browser, to read about the API and try it out: {api}/docs
WorkSpaces: one in each state, such as ws-available0001 and ws-suspended0001. And six that are AVAILABLE:
ws-nosnapshot0001 without a snapshot, ws-stalesnapshot0001 with one from January 2025, ws-protected0001 protected,
ws-disabledkey0001 encrypted with a disabled key, ws-extending0001 with a volume that is being extended, and
ws-connected0001, whose user stays connected for a minute after a request.

What a rebuild would meet now:
  curl {api}/workspaces/ws-connected0001/preview
Accepted, 202:
  curl -i {api}/workspaces/ws-available0001/rebuilds --json '{{"Reason":"ticket 4711"}}'
Followed, from REQUESTED to SUCCEEDED (or, for ws-stopped0001, to FAILED); the user's files go back to snapshot_at:
  curl {api}/workspaces/ws-available0001
  curl {api}/workspaces/ws-available0001/rebuilds
Open now, of all WorkSpaces:
  curl {api}/rebuilds
Ended today (UTC), of all WorkSpaces, newest first:
  curl '{api}/rebuilds?ended_on={today}'
Accepted, then FAILED before anything is wiped, 202:
  curl -i -X POST {api}/workspaces/ws-nosnapshot0001/rebuilds
  curl -i -X POST {api}/workspaces/ws-disabledkey0001/rebuilds
Accepted, and waiting_for DISCONNECT until its user disconnects, 202:
  curl -i {api}/workspaces/ws-connected0001/rebuilds --json '{{"Reason":"ticket 4714","WaitForDisconnect":true}}'
Refused, 409:
  curl -i -X POST {api}/workspaces/ws-suspended0001/rebuilds
  curl -i -X POST {api}/workspaces/ws-protected0001/rebuilds
Unprotected, and protected again:
  curl -X DELETE {api}/workspaces/ws-protected0001/protection
  curl -X PUT {api}/workspaces/ws-protected0001/protection --json '{{"Reason":"ticket 4712"}}'
Invalid, 400:
  curl -i {api}/ --json '{{"RebuildWorkspaceRequests":[]}}'
The same from the aws CLI:
  AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws workspaces rebuild-workspaces --endpoint-url {api} --region us-east-1 --rebuild-workspace-requests ws-unhealthy0001
  AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local aws workspaces describe-workspaces --endpoint-url {api} --region us-east-1 --workspace-ids ws-unhealthy0001
All hand-overs paused, and resumed; meanwhile rebuilds are accepted and wait:
  curl -X PUT {api}/pause --json '{{"Reason":"ticket 4713"}}'
  curl {api}/pause
  curl -X DELETE {api}/pause
To cancel a rebuild in time, pause first, or start with --max-concurrent 0: rebuilds then wait, and a DELETE of the location cancels.

Ctrl-C ends it.
"#
    );
}

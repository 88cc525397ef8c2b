//! Rounds of sync over 100,000 WorkSpaces in 12 directories: passes and calls to the fleet, the time that
//! they take at the rate of the calls, requests to DynamoDB, and the peak memory of the process. The
//! embedded database is another process.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;

use benches::{Requests, config};
use rebuild_workspaces::config::Limits;
use rebuild_workspaces::error::Cause;
use rebuild_workspaces::fleet::{Fleet, HandOverError, KeyUse, Listed, Wanted};
use rebuild_workspaces::ids::{DirectoryId, WorkspaceId};
use rebuild_workspaces::rebuild::FleetMode;
use rebuild_workspaces::reconcile::{Reconciler, Timing};
use rebuild_workspaces::state::State;
use rebuild_workspaces::store::{Store, client_config};
use rebuild_workspaces::timestamp::Timestamp;
use rebuild_workspaces::transport;
use rebuild_workspaces::workspace::{Description, OpenRebuild, Properties, Tags};
use time::{Duration, OffsetDateTime};
use tokio::net::TcpListener;

const WORKSPACES: usize = 100_000;
/// The greatest of these has half of the WorkSpaces.
const DIRECTORIES: usize = 12;
const PAGE: usize = 25;
/// How long a call takes at the rate of listings.
const CALL: Duration = Duration::SECOND;
/// How often a pass begins.
const SCHEDULE: Duration = Duration::minutes(15);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    if std::env::args().nth(1).as_deref() == Some("database") {
        return serve().await;
    }
    let (mut database, url) = start_database()?;
    let measured = measure(&url).await;
    database.kill()?;
    measured
}

/// The embedded database, until it is killed.
async fn serve() -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("http://{}", listener.local_addr()?);
    let database = local::dynamodb::in_memory().map_err(|error| error.to_string())?;
    dynoxide::server::serve_on(listener, database).await;
    Ok(())
}

fn start_database() -> Result<(Child, String), Box<dyn Error>> {
    let mut database =
        Command::new(std::env::current_exe()?).arg("database").stdout(Stdio::piped()).spawn()?;
    let mut url = String::new();
    let output = database.stdout.take().ok_or("no output")?;
    BufReader::new(output).read_line(&mut url)?;
    Ok((database, url.trim().to_owned()))
}

async fn measure(url: &str) -> Result<(), Box<dyn Error>> {
    let config = config(url)?;
    let requests = Requests::default();
    let client = client_config(&config, transport::http_client(&config.aws));
    let store = Store::new(client.interceptor(requests.clone()), config.tables);
    println!(
        "| a round over {WORKSPACES} WorkSpaces | passes | calls to the fleet | minutes at a call a second | \
         requests to DynamoDB | peak memory MiB |\n|---|---|---|---|---|---|"
    );
    let now = Mutex::new(OffsetDateTime::now_utc());
    for name in ["all are new", "nothing has changed"] {
        let _ = requests.take();
        forget_peak_memory();
        let began = *now.lock().expect("no panic");
        let (mut passes, mut calls) = (0, 0);
        loop {
            let pass_began = *now.lock().expect("no panic");
            let fleet = Paged { now: &now, calls: Mutex::default() };
            let clock = || *now.lock().expect("no panic");
            let (timing, limits) = (Timing::of_amazon(), Limits::default());
            let reconciler = Reconciler { store: store.clone(), fleet, clock, timing, limits };
            let pass = reconciler.sync().await?;
            if pass.failures > 0 || pass.failing > 0 || !pass.has_progressed {
                return Err(format!("{name}: {pass:?}").into());
            }
            passes += 1;
            calls += *reconciler.fleet.calls.lock().expect("no panic");
            if pass.is_complete {
                break;
            }
            let mut now = now.lock().expect("no panic");
            *now = (*now).max(pass_began + SCHEDULE);
        }
        let minutes = (*now.lock().expect("no panic") - began).whole_minutes();
        let requests = requests.take();
        let requests: Vec<_> =
            requests.iter().map(|(name, count)| format!("{count} {name}")).collect();
        let memory = peak_memory()?;
        println!(
            "| {name} | {passes} | {calls} | {minutes} | {} | {memory} |",
            requests.join(", ")
        );
    }
    Ok(())
}

/// Lets the kernel measure the peak memory anew (proc(5), `clear_refs`).
fn forget_peak_memory() {
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// In MiB.
fn peak_memory() -> Result<usize, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no peak")?;
    let kilobytes: usize = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes / 1024)
}

/// A fleet that makes up its WorkSpaces. Each call moves the clock.
struct Paged<'a> {
    now: &'a Mutex<OffsetDateTime>,
    calls: Mutex<usize>,
}

impl Paged<'_> {
    fn call(&self) {
        *self.now.lock().expect("no panic") += CALL;
        *self.calls.lock().expect("no panic") += 1;
    }
}

impl Fleet for Paged<'_> {
    const MODE: FleetMode = FleetMode::AmazonWorkSpaces;

    async fn directories(
        &self,
        _: Option<String>,
    ) -> Result<(Vec<DirectoryId>, Option<String>), Cause> {
        self.call();
        Ok(((0..DIRECTORIES).map(directory).collect(), None))
    }

    async fn list(
        &self,
        wanted: Wanted<'_>,
        token: Option<String>,
    ) -> Result<(Vec<Listed>, Option<String>), Cause> {
        self.call();
        let Wanted::Directory(id) = wanted else { return Err("all are in a directory".into()) };
        let number = (0..DIRECTORIES).find(|number| directory(*number) == *id).unwrap_or_default();
        let small = WORKSPACES / 2 / (DIRECTORIES - 1);
        let first = number * small;
        let end = if number == DIRECTORIES - 1 { WORKSPACES } else { first + small };
        let begin = token.map_or(first, |token| token.parse().unwrap_or(first));
        let page_end = end.min(begin + PAGE);
        let page = (begin..page_end).map(|workspace| listed(id, workspace)).collect();
        Ok((page, (page_end < end).then(|| page_end.to_string())))
    }

    async fn tags(&self) -> Result<Option<HashMap<WorkspaceId, Tags>>, Cause> {
        Ok(None)
    }

    async fn describe(
        &self,
        _: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, Listed>, Cause> {
        Err("sync does not follow".into())
    }

    async fn connections(
        &self,
        _: &[OpenRebuild],
        _: Timestamp,
    ) -> Result<HashMap<WorkspaceId, bool>, Cause> {
        unreachable!("sync follows nothing")
    }

    async fn key(&self, _: &str) -> Result<KeyUse, Cause> {
        unreachable!("sync rebuilds nothing")
    }

    async fn find(&self, _: &[WorkspaceId]) -> Result<HashSet<WorkspaceId>, Cause> {
        Err("sync does not follow".into())
    }

    async fn newest_snapshot(
        &self,
        _: &OpenRebuild,
        _: Timestamp,
    ) -> Result<Option<Timestamp>, Cause> {
        Err("sync does not follow".into())
    }

    async fn wait_for_place(&self) {}

    async fn rebuild(&self, _: &WorkspaceId) -> Result<(), HandOverError> {
        Err(HandOverError::NotTaken("sync does not rebuild".into()))
    }
}

fn directory(number: usize) -> DirectoryId {
    format!("d-9067{number:06x}").try_into().expect("an id")
}

/// A WorkSpace as AWS describes it.
fn listed(directory_id: &DirectoryId, number: usize) -> Listed {
    let text = |text: &str| Some(text.to_owned());
    let properties = Properties {
        running_mode: text("AUTO_STOP"),
        running_mode_auto_stop_timeout_in_minutes: Some(60),
        root_volume_size_gib: Some(80),
        user_volume_size_gib: Some(50),
        compute_type_name: text("STANDARD"),
        protocols: Some(vec!["WSP".to_owned()]),
        operating_system_name: text("WINDOWS_SERVER_2022"),
        ..Properties::default()
    };
    let description = Description {
        directory_id: text(directory_id.as_str()),
        user_name: Some(format!("user.number.{number}")),
        ip_address: text("10.20.4.21"),
        bundle_id: text("wsb-0a1b2c3d4"),
        subnet_id: text("subnet-0a1b2c3d4e5f60718"),
        computer_name: Some(format!("WSAMZN-{number:07}")),
        volume_encryption_key: text("arn:aws:kms:eu-west-1:123456789012:alias/aws/workspaces"),
        user_volume_encryption_enabled: Some(true),
        root_volume_encryption_enabled: Some(true),
        workspace_properties: Some(properties),
        modification_states: Some(vec![]),
        ..Description::default()
    };
    let workspace_id = format!("ws-{number:09}").try_into().expect("an id");
    Listed { workspace_id, state: State::Available, description }
}

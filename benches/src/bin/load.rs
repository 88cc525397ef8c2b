//! A sustained load on the local run by `wrk`: requests a second, p50 and p99 of accepted rebuilds,
//! refused rebuilds and reads. The embedded database shares the machine, so the figures show that
//! nothing breaks or piles up, not how fast Lambda is.
//!
//! With a number of seconds as its argument, a soak: reads, refusals and repeats of accepted requests
//! for that long, and the memory of the run at its start and end. None of them adds an item, so the
//! memory must not grow. The table is small, because the local run reads it whole every 15 seconds,
//! to bring it in step with the fleet: with a large one, the memory would swing by tens of MiB.

use std::error::Error;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_sdk_dynamodb::Client;
use benches::{add_workspaces, build, built};
use rebuild_workspaces::config::Config;
use rebuild_workspaces::store::client_config;
use rebuild_workspaces::transport;

const THREADS: usize = 2;
/// WorkSpaces to rebuild for each thread of `wrk`, more than it can rebuild in time.
const WORKSPACES: usize = 30_000;
const DURATION: &str = "10";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    if Command::new("wrk").arg("-v").output().is_err() {
        return Err("this needs wrk (Debian: apt-get install wrk)".into());
    }
    build(&["-p", "local"])?;
    let mut local = Command::new(built("local")?)
        .args([
            "--port",
            "0",
            "--dynamodb-port",
            "0",
            "--eventbridge-port",
            "0",
            "--rebuild-seconds",
            "3600",
        ])
        .env("RUST_LOG", "error")
        .stdout(Stdio::piped())
        .spawn()?;
    let measured = measure(&mut local, benches).await;
    local.kill()?;
    local.wait()?;
    measured
}

async fn measure(local: &mut Child, benches: &Path) -> Result<(), Box<dyn Error>> {
    let mut lines = BufReader::new(local.stdout.take().ok_or("no output")?).lines();
    let mut after = |start: &str| -> Result<String, Box<dyn Error>> {
        let line = lines.next().ok_or("the local run has ended")??;
        let rest = line.strip_prefix(start).and_then(|rest| rest.split(' ').next());
        Ok(rest.ok_or(line.as_str())?.to_owned())
    };
    let (api, dynamodb) = (after("Listening on ")?, after("DynamoDB on ")?);
    let head = "requests/s | p50 ms | p99 ms | errors |";
    if let Some(seconds) = std::env::args().nth(1) {
        fill(&dynamodb, 1).await?;
        let warm = run("mixed", &api, benches, DURATION)?;
        let begin = resident(local)?;
        let row = run("mixed", &api, benches, &seconds)?;
        let end = resident(local)?;
        println!("| {seconds} s after 10 s | {head} MiB at the start | at the end |");
        println!("|---|---|---|---|---|---|---|\n| soak {row} {begin:.1} | {end:.1} |");
        println!("\nThe first 10 s: {warm}");
        if end > begin * 1.1 {
            return Err("the memory grew by more than a tenth".into());
        }
        return Ok(());
    }
    fill(&dynamodb, WORKSPACES).await?;
    println!(
        "| {THREADS} threads, 32 connections, {DURATION} s each | {head}\n|---|---|---|---|---|"
    );
    for kind in ["accepted", "refused", "get"] {
        println!("| {kind} {}", run(kind, &api, benches, DURATION)?);
    }
    Ok(())
}

/// Puts a load on the API for some seconds; returns the cells of its row.
fn run(kind: &str, api: &str, benches: &Path, seconds: &str) -> Result<String, Box<dyn Error>> {
    let wrk = Command::new("wrk")
        .args(["-t", &THREADS.to_string(), "-c", "32", "-d", seconds, "-s"])
        .arg(benches.join("load.lua"))
        .args([api, "--", kind])
        .stderr(Stdio::piped())
        .output()?;
    let wrong = String::from_utf8(wrk.stderr)?;
    if !wrong.is_empty() {
        return Err(format!("{kind}: {wrong}").into());
    }
    let output = String::from_utf8(wrk.stdout)?;
    let row = output.lines().find(|line| line.starts_with('|'));
    Ok(row.ok_or(output.as_str())?.to_owned())
}

/// The memory that a process uses, in MiB.
fn resident(process: &Child) -> Result<f64, Box<dyn Error>> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 =
        line.and_then(|line| line.trim().strip_suffix(" kB")).ok_or("no VmRSS")?.parse()?;
    Ok(kib / 1024.0)
}

/// Puts WorkSpaces to rebuild into the table, so many for each thread of `wrk`.
async fn fill(dynamodb: &str, workspaces: usize) -> Result<(), Box<dyn Error>> {
    let config = Config::from_lookup(|name| match name {
        "AWS_ENDPOINT_URL_DYNAMODB" => Some(dynamodb.to_owned()),
        "AWS_CA_BUNDLE" | "SSL_CERT_FILE" | "FLEET_MODE" | "MAX_REBUILDS_PER_DAY" => None,
        _ => Some("local".to_owned()),
    })?;
    let client =
        Client::from_conf(client_config(&config, transport::http_client(&config.aws)).build());
    let ids: Vec<_> = (0..THREADS)
        .flat_map(|thread| {
            (1..=workspaces).map(move |number| format!("ws-load{thread:02}{number:07}"))
        })
        .collect();
    add_workspaces(&client, &ids).await
}

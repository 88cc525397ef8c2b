//! The local run as a new user sees it: a separate process and its output.

use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::sync::LazyLock;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdout, Command};

use crate::system::{Answer, Ask, System, listen, send};

/// The program. `cargo test` builds only the library of its package, so the first use builds the
/// program. Naming the tests too gives the dependencies the same features, so cargo reuses them.
fn program() -> Command {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--bin", "local", "--test", "suite"]);
        cargo.args(["--package", "local", "--package", "rebuild-workspaces"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo");
        assert!(status.success(), "the local run does not build");
        let test = std::env::current_exe().expect("a path");
        let target = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps");
        target.join("local")
    });
    let mut command = Command::new(&*BUILT);
    command.env_remove("RUST_LOG").env_remove("AWS_LAMBDA_LOG_LEVEL").kill_on_drop(true);
    command
}

/// A local run that has started to listen.
struct Local {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    greeting: Vec<String>,
    api: String,
}

impl Local {
    async fn start(options: &[&str]) -> Self {
        let free_ports = ["--port", "0", "--dynamodb-port", "0"];
        let mut process = program()
            .args(free_ports)
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        let mut greeting = vec![];
        while greeting.last().is_none_or(|line| line != "Ctrl-C ends it.") {
            greeting.push(lines.next_line().await.expect("UTF-8").expect("the whole greeting"));
        }
        let listening =
            greeting[0].strip_prefix("Listening on ").expect("the first line says where");
        let api = listening.to_owned();
        Self { process, lines, greeting, api }
    }

    /// Presses Ctrl-C, waits for a clean exit, and returns the log.
    async fn stop(mut self) -> Vec<Value> {
        let id = self.process.id().expect("it runs");
        let kill = format!("kill -INT {id}");
        assert!(Command::new("sh").args(["-c", &kill]).status().await.expect("a shell").success());
        let mut log = vec![];
        while let Some(line) = self.lines.next_line().await.expect("UTF-8") {
            if line.starts_with('{') {
                log.push(serde_json::from_str(&line).expect("JSON"));
            }
        }
        let Output { status, stderr, .. } =
            self.process.wait_with_output().await.expect("an exit status");
        assert_eq!((status.code(), String::from_utf8_lossy(&stderr).as_ref()), (Some(0), ""));
        log
    }
}

/// Sends the request of a `curl` line: `curl [-i] <URL> [-H '<name>: <value>'] [-d '<body>']`.
async fn paste(line: &str) -> Answer {
    let mut words = vec![];
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    let (mut api, mut headers, mut ask) = (None, vec![], None);
    let mut words = words.into_iter().skip_while(|word| *word == "curl");
    while let Some(word) = words.next() {
        match word {
            "-i" => {}
            "-H" => headers
                .push(words.next().and_then(|header| header.split_once(": ")).expect("a header")),
            "-d" => ask = Some(Ask::post(words.next().expect("a body")).without("content-type")),
            url => {
                let (scheme, rest) = url.split_once("://").expect("a URL");
                let (host, path) = rest.split_once('/').expect("a path");
                api = Some((format!("{scheme}://{host}"), format!("/{path}")));
            }
        }
    }
    let (api, path) = api.expect("a URL");
    let mut ask = ask.unwrap_or_else(|| Ask::get(&path));
    for (name, value) in headers {
        assert_eq!(name, "content-type");
        ask = ask.with("content-type", value);
    }
    send(&api, &ask).await
}

#[tokio::test]
async fn each_printed_command_gets_the_announced_status() {
    let local = Local::start(&[]).await;
    let mut status = None;
    let mut pasted = vec![];
    for line in &local.greeting {
        if line.starts_with("  AWS_ACCESS_KEY_ID=") {
            // `tests/clients` has the CLI and runs these.
        } else if let Some(curl) = line.strip_prefix("  ") {
            let answer = paste(curl).await;
            assert_eq!(Some(answer.status), status, "{line}: {answer:?}");
            pasted.push(answer.status);
        } else {
            // "Accepted, 202:" announces the status; a heading without one announces a read.
            let announced = line.trim_end_matches(':').rsplit(", ").next().unwrap_or_default();
            status = Some(announced.parse().unwrap_or(200));
        }
    }
    for wanted in [202, 409, 400] {
        assert!(pasted.contains(&wanted), "{pasted:?}");
    }
    local.stop().await;
}

#[tokio::test]
async fn each_request_is_one_line_in_the_log() {
    let local = Local::start(&[]).await;
    let rebuild = |id: &str| Ask::rebuild(id).with("idempotency-key", "the-key");
    for ask in [
        rebuild("ws-available0001"),
        rebuild("ws-available0001"),
        rebuild("ws-suspended0001"),
        Ask::post(r#"{"Reason":"the-reason","the-field":1}"#),
        Ask::get("/workspaces/ws-stopped0001"),
        Ask::get("/workspaces/ws-stopped0001/rebuilds"),
        Ask::get("/workspaces/ws-stopped0001/rebuilds/x"),
        Ask::aws("DescribeWorkspaces", "{}"),
    ] {
        send(&local.api, &ask).await;
    }
    let log = local.stop().await;
    let requests: Vec<_> = log.iter().filter(|line| line["message"] == "request").collect();
    let shown: Vec<_> = requests
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap_or("-");
            let (operation, id) = (text("operation"), text("workspace_id"));
            format!("{operation} {id} {} {} {}", text("outcome"), text("code"), line["status"])
        })
        .collect();
    assert_eq!(
        shown,
        [
            "RebuildWorkspaces ws-available0001 accepted - 202",
            "RebuildWorkspaces ws-available0001 replayed - 202",
            "RebuildWorkspaces ws-suspended0001 refused INVALID_WORKSPACE_STATE 409",
            "none - refused VALIDATION_ERROR 400",
            "DescribeWorkspace ws-stopped0001 answered - 200",
            "ListRebuilds ws-stopped0001 answered - 200",
            "none - refused REBUILD_NOT_FOUND 404",
            "DescribeWorkspaces - answered - 200",
        ]
    );
    for line in requests {
        assert!(line["request_id"].is_string() && line["milliseconds"].is_f64(), "{line}");
        assert_eq!(line["level"], "INFO");
        for secret in ["the-key", "the-reason", "the-field"] {
            assert!(!line.to_string().contains(secret), "{line}");
        }
        let own = ["timestamp", "level", "message", "request_id", "milliseconds"];
        let known = ["operation", "workspace_id", "outcome", "code", "status"];
        let names = line.as_object().expect("an object").keys();
        for name in names {
            assert!(own.iter().chain(&known).any(|known| known == name), "{name}");
        }
    }
}

#[tokio::test]
async fn a_port_in_use_is_a_one_line_error() {
    let (taken, url) = listen().await;
    let port = taken.local_addr().expect("it is bound").port().to_string();
    for (option, other) in [("--port", "--dynamodb-port"), ("--dynamodb-port", "--port")] {
        let output = program().args([option, &port, other, "0"]).output().await.expect("a process");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        let address = url.trim_start_matches("http://");
        assert!(error.starts_with(&format!("error: cannot listen on {address}: ")), "{error}");
        assert!(error.contains(option), "{error}");
        assert_eq!(output.stdout, b"");
    }
}

#[tokio::test]
async fn tables_in_a_file_survive_a_restart() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(std::process::id().to_string());
    std::fs::create_dir_all(&folder).expect("a folder");
    let file = folder.join("tables.db");
    let options = ["--data", file.to_str().expect("UTF-8")];
    let ask = Ask::rebuild("ws-available0001").with("idempotency-key", "4711");

    let local = Local::start(&options).await;
    let first = send(&local.api, &ask).await.id();
    local.stop().await;
    let local = Local::start(&options).await;
    let again = send(&local.api, &ask).await;
    assert_eq!((again.id(), again.header("idempotency-replayed")), (first, Some("true")));
    local.stop().await;
    std::fs::remove_dir_all(folder).expect("the tables");
}

/// `lambda_http` panics on such a host, so the local gateway refuses it, as API Gateway would.
#[tokio::test]
async fn a_bad_host_is_a_bad_request() {
    let system = System::start().await;
    let answered = |host: &'static str| {
        let address = system.api.trim_start_matches("http://").to_owned();
        async move {
            let mut stream = TcpStream::connect(address).await.expect("a connection");
            let request = format!("GET /x HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("sent");
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.expect("an answer");
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
            (head.lines().next().unwrap_or_default().to_owned(), body.to_owned())
        }
    };
    for host in ["a b", "[", "localhost:999999", "localhost:x", "a/b", "a\\b", "a@b", "%", ""] {
        let (status, body) = answered(host).await;
        assert_eq!(status, "HTTP/1.1 400 Bad Request", "{host}");
        assert_eq!(
            body,
            Answer::failure(
                400,
                "VALIDATION_ERROR",
                "Invalid request parameters: API Gateway could not take the request"
            )
            .body
        );
    }
    for host in ["localhost", "127.0.0.1:9000", "[::1]", "[::1]:9000", "example.com"] {
        assert_eq!(answered(host).await.0, "HTTP/1.1 404 Not Found", "{host}");
    }
}

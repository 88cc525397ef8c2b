//! The local run as a new user sees it: a separate process and its output.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use dynoxide::Database;
use dynoxide::storage::Storage;
use local::gateway;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;

use crate::system::{Answer, Ask, SAMPLES, System, functions, listen, send};

/// The program. `cargo test` builds only the library of its package, so the first use builds the
/// program. Naming the tests too gives the dependencies the same features, so cargo reuses them.
fn program() -> Command {
    static BUILT: LazyLock<PathBuf> = LazyLock::new(|| {
        let test = std::env::current_exe().expect("a path");
        let target = test.parent().and_then(Path::parent).expect("target/<profile>/deps");
        let profile = target.file_name().and_then(OsStr::to_str).expect("a profile");
        let profile = if profile == "debug" { "dev" } else { profile };
        let mut cargo = std::process::Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--profile", profile]);
        cargo.args(["--package", "local", "--package", "rebuild-workspaces"]);
        cargo.args(["--bin", "local", "--test", "suite"]);
        // A build script that watches these, as ring's does, would see them change, and be run again.
        for (name, _) in std::env::vars() {
            if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
                cargo.env_remove(name);
            }
        }
        let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("cargo");
        assert!(status.success(), "the local run does not build");
        target.join("local")
    });
    let mut command = Command::new(&*BUILT);
    command.env_remove("RUST_LOG").env_remove("AWS_LAMBDA_LOG_LEVEL").kill_on_drop(true);
    command
}

/// A local run that has started to listen.
pub struct Local {
    process: Child,
    greeting: Vec<String>,
    log: JoinHandle<Vec<Value>>,
    /// The printed events.
    events: UnboundedReceiver<Value>,
    pub api: String,
}

impl Local {
    /// Starts it with an embedded DynamoDB.
    pub async fn start(options: &[&str]) -> Self {
        Self::start_with(&[&["--dynamodb-port", "0"], options].concat()).await
    }

    /// Starts it on free ports.
    pub async fn start_with(options: &[&str]) -> Self {
        Self::launch(&[&["--port", "0", "--eventbridge-port", "0"], options].concat()).await
    }

    /// Starts it with these options only.
    async fn launch(options: &[&str]) -> Self {
        let mut process = program()
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
        // A process stops once the pipe that it prints to is full.
        let (sender, events) = unbounded_channel();
        let log = tokio::spawn(async move {
            let mut log = vec![];
            while let Some(line) = lines.next_line().await.expect("UTF-8") {
                let Ok(line) = serde_json::from_str::<Value>(&line) else { continue };
                if line["detail"].is_object() {
                    // Most tests don't ask.
                    let _ = sender.send(line);
                } else {
                    log.push(line);
                }
            }
            log
        });
        Self { process, greeting, log, events, api }
    }

    /// Kills the process (SIGKILL).
    pub async fn kill(mut self) {
        self.process.kill().await.expect("killed");
    }

    /// Presses Ctrl-C, waits for a clean exit, and returns the log.
    async fn stop(self) -> Vec<Value> {
        let (log, errors) = self.end().await;
        assert_eq!(errors, "");
        log
    }

    /// Presses Ctrl-C, waits for a clean exit, and returns the log and what went to stderr.
    async fn end(self) -> (Vec<Value>, String) {
        let id = self.process.id().expect("it runs");
        let kill = format!("kill -INT {id}");
        assert!(Command::new("sh").args(["-c", &kill]).status().await.expect("a shell").success());
        let log = self.log.await.expect("the log");
        let Output { status, stderr, .. } = self.process.wait_with_output().await.expect("its end");
        let errors = String::from_utf8(stderr).expect("UTF-8");
        assert_eq!(status.code(), Some(0), "{errors}");
        (log, errors)
    }
}

/// Sends the request of a `curl` line: `curl [-i] [-X <method>] <URL> [--json '<body>']`.
async fn paste(line: &str) -> Answer {
    let mut words = vec![];
    for (number, part) in line.split('\'').enumerate() {
        if number % 2 == 1 {
            words.push(part);
        } else {
            words.extend(part.split_whitespace());
        }
    }
    let (mut method, mut url, mut body) = (None, None, None);
    let mut words = words.into_iter().skip_while(|word| *word == "curl");
    while let Some(word) = words.next() {
        match word {
            "-i" => {}
            "-X" => {
                let known = ["POST", "PUT", "DELETE"].into_iter();
                method = words.next().and_then(|word| known.clone().find(|known| *known == word));
                assert!(method.is_some(), "{line}");
            }
            "--json" => {
                let text = words.next().expect("a body");
                body = Some(serde_json::from_str::<Value>(text).expect("JSON"));
            }
            _ => url = Some(word),
        }
    }
    let (scheme, rest) = url.and_then(|url| url.split_once("://")).expect("a URL");
    let (host, path) = rest.split_once('/').expect("a path");
    let (api, path) = (format!("{scheme}://{host}"), format!("/{path}"));
    let ask = match body {
        Some(body) => Ask::json(method.unwrap_or("POST"), &path, &body),
        None => Ask::new(method.unwrap_or("GET"), &path),
    };
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
        assert_eq!(line["caller"], "arn:aws:iam::000000000000:user/local");
        for secret in ["the-key", "the-reason", "the-field"] {
            assert!(!line.to_string().contains(secret), "{line}");
        }
        let own = ["timestamp", "level", "message", "request_id", "caller", "milliseconds"];
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
    let options = ["--port", "--dynamodb-port", "--eventbridge-port"];
    for option in options {
        let others = options.into_iter().filter(|other| *other != option);
        let free = others.flat_map(|other| [other, "0"]);
        let output = program().args([option, &port]).args(free).output().await.expect("a process");
        let error = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert_eq!(error.lines().count(), 1, "{error}");
        let address = url.trim_start_matches("http://");
        assert!(error.starts_with(&format!("error: cannot listen on {address}: ")), "{error}");
        let advice = format!("; choose another port with {option}, or 0 for a free one\n");
        assert!(error.ends_with(&advice), "{error}");
        assert_eq!(output.stdout, b"");
    }
}

/// A run takes a free port in place of a default that is in use, and says so.
#[tokio::test]
async fn a_second_run_starts_beside_the_first() {
    let (first, second) = (Local::launch(&[]).await, Local::launch(&[]).await);
    let urls = |local: &Local| {
        let urls = local.greeting[..3].iter().map(|line| line.split_whitespace().nth(2));
        urls.map(|url| url.expect("a URL").to_owned()).collect::<Vec<_>>()
    };
    let (first_urls, second_urls) = (urls(&first), urls(&second));
    for (local, urls) in [(first, &first_urls), (second, &second_urls)] {
        assert_eq!(send(&local.api, &Ask::rebuild("ws-available0001")).await.status, 202);
        let (_, notes) = local.end().await;
        let defaults = [("the API", 9000), ("DynamoDB", 8000), ("EventBridge", 8001)];
        for ((server, port), url) in defaults.into_iter().zip(urls) {
            let note = format!("port {port} is in use, so {server} listens on a free one");
            let has_default = url.ends_with(&format!(":{port}"));
            assert_eq!(notes.lines().any(|line| line == note), !has_default, "{url}: {notes}");
        }
    }
    assert!(first_urls.iter().all(|url| !second_urls.contains(url)), "{second_urls:?}");
}

#[tokio::test]
async fn the_end_of_a_rebuild_is_printed_or_posted() {
    let end = async |local: &Local| {
        let accepted = send(&local.api, &Ask::rebuild("ws-nosnapshot0001")).await;
        accepted.id()
    };
    let (listener, url) = listen().await;
    let (sender, mut posts) = unbounded_channel();
    let receive = axum::routing::post(move |body: String| async move {
        sender.send(body).expect("the test waits");
    });
    tokio::spawn(async {
        axum::serve(listener, axum::Router::new().route("/desk", receive)).await
    });
    let local = Local::start(&["--announce", &format!("{url}/desk")]).await;
    let id = end(&local).await;
    let event: Value = serde_json::from_str(&posts.recv().await.expect("a post")).expect("JSON");
    assert_eq!(
        (&event["detail"]["id"], &event["source"]),
        (&id.into(), &"rebuild-workspaces".into())
    );
    assert_eq!(event["detail"]["error"]["code"], "NO_SNAPSHOT");
    local.stop().await;

    let mut local = Local::start(&[]).await;
    let id = end(&local).await;
    let event = local.events.recv().await.expect("a line");
    assert_eq!(
        (&event["detail"]["id"], &event["source"]),
        (&id.into(), &"rebuild-workspaces".into())
    );
    local.stop().await;
}

/// A folder of its own for a test.
fn folder(name: &str) -> PathBuf {
    let folder = format!("{}-{name}", std::process::id());
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(folder);
    std::fs::create_dir_all(&folder).expect("a folder");
    folder
}

#[tokio::test]
async fn tables_in_a_file_survive_a_restart() {
    let folder = folder("kept");
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

/// The files in a folder, and what is in them.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = std::fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file"));
    let files = files.map(|file| file.path()).filter(|path| path.is_file());
    files.map(|path| (path.clone(), std::fs::read(path).expect("a file"))).collect()
}

/// Starts a run that fails at once. Returns the one line that it prints.
async fn failure(options: &[&str]) -> String {
    // The run never ends if it starts.
    let output = program().args(options).output();
    let output = tokio::time::timeout(Duration::from_mins(1), output).await;
    let output = output.unwrap_or_else(|_| panic!("{options:?} started")).expect("a process");
    let error = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &[][..]), "{error}");
    assert_eq!(error.lines().count(), 1, "{error}");
    error.trim_end().to_owned()
}

#[tokio::test]
async fn an_address_of_another_machine_is_a_one_line_error() {
    // An address for documentation: no machine has it.
    let error =
        failure(&["--port", "0", "--eventbridge-port", "0", "--aws-host", "192.0.2.1"]).await;
    assert!(error.starts_with("error: cannot listen on 192.0.2.1:0: "), "{error}");
    assert!(error.ends_with("; choose another address with --aws-host"), "{error}");
}

#[tokio::test]
async fn a_path_that_is_no_database_of_the_run_is_refused_and_untouched() {
    let folder = folder("refused");
    let path = |name: &str| folder.join(name).to_str().expect("UTF-8").to_owned();
    let own = path("own");
    Local::start(&["--data", &own]).await.stop().await;
    let whole = std::fs::read(&own).expect("a database");
    let write = |name: &str, content: &[u8]| std::fs::write(path(name), content).expect("written");
    write("empty", b"");
    write("byte", b"x");
    write("text", &b"notes\n".repeat(1000));
    write("header", &whole[..60]);
    write("half", &whole[..whole.len() / 2]);
    let attach =
        format!("ATTACH '{}' AS other; CREATE TABLE other.notes (note TEXT)", path("sqlite"));
    let memory = Storage::memory().expect("SQLite");
    memory.conn().execute_batch(&attach).expect("a database of another program");
    drop(memory);
    drop(Database::new(&path("dynoxide")).expect("a database without our tables"));
    std::fs::create_dir(path("folder")).expect("a folder");

    let before = contents(&folder);
    let foreign =
        "is not a database of the local run; choose another file with --data, or delete it";
    let damaged = "cannot be read as a database (";
    for (name, problem) in [
        ("empty", foreign),
        ("byte", foreign),
        ("text", damaged),
        ("header", damaged),
        ("half", damaged),
        ("sqlite", foreign),
        ("dynoxide", foreign),
        ("folder", "is not a file; choose another file with --data"),
        ("missing/tables", "cannot be opened: No such file or directory"),
        ("text/tables", "cannot be opened: Not a directory"),
    ] {
        let error = failure(&["--data", &path(name)]).await;
        assert!(error.starts_with(&format!("error: {} {problem}", path(name))), "{error}");
        assert!(error.contains("with --data"), "{error}");
        assert!(before == contents(&folder), "{name}: {:?}", contents(&folder).keys());
    }
    std::fs::remove_dir_all(folder).expect("the files");
}

#[tokio::test]
async fn a_file_belongs_to_one_run_until_that_ends() {
    let folder = folder("shared");
    let file = folder.join("tables.db");
    let file = file.to_str().expect("UTF-8");
    let link = folder.join("link.db");
    let link = link.to_str().expect("UTF-8");
    std::os::unix::fs::symlink(file, link).expect("a link");

    let local = Local::start(&["--data", file]).await;
    for path in [file, link] {
        let problem = "is in use by another run; end it, or choose another file with --data";
        assert_eq!(failure(&["--data", path]).await, format!("error: {path} {problem}"));
    }
    assert_eq!(send(&local.api, &Ask::rebuild("ws-available0001")).await.status, 202);
    local.kill().await;
    Local::start(&["--data", link]).await.stop().await;
    std::fs::remove_dir_all(folder).expect("the tables");
}

/// SQLite keeps the last writes of a killed run in a file of their own.
#[tokio::test]
async fn a_deleted_file_starts_anew() {
    let folder = folder("deleted");
    let file = folder.join("tables.db");
    let options = ["--data", file.to_str().expect("UTF-8")];
    let ask = Ask::rebuild("ws-available0001").with("idempotency-key", "4711");

    let local = Local::start(&options).await;
    assert_eq!(send(&local.api, &ask).await.status, 202);
    local.kill().await;
    std::fs::remove_file(&file).expect("removed");
    let local = Local::start(&options).await;
    let answer = send(&local.api, &ask).await;
    assert_eq!((answer.status, answer.header("idempotency-replayed")), (202, None), "{answer:?}");
    local.stop().await;
    std::fs::remove_dir_all(folder).expect("the tables");
}

/// The run dies at 50 different points while it creates its file.
#[tokio::test]
async fn a_killed_first_start_leaves_a_usable_file() {
    let folder = folder("killed");
    let written = || -> u64 {
        let files = std::fs::read_dir(&folder).expect("the folder");
        // SQLite's journal may be gone by the time it is asked for its length.
        files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len())).sum()
    };
    let file = folder.join("tables.db");
    let options = ["--data", file.to_str().expect("UTF-8")];
    let clear = || {
        for file in std::fs::read_dir(&folder).expect("the folder") {
            std::fs::remove_file(file.expect("a file").path()).expect("removed");
        }
    };
    Local::start(&options).await.kill().await;
    let whole = written();
    for point in 0..50 {
        clear();
        let mut process = program()
            .args(["--port", "0", "--dynamodb-port", "0", "--eventbridge-port", "0"])
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("a process");
        let mut lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        // Past the last point it has begun to listen.
        let listens = async { lines.next_line().await };
        let reached = async {
            while written() < whole * point / 50 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! { _ = listens => {}, () = reached => {} }
        process.kill().await.expect("killed");

        let local = Local::start(&options).await;
        let answer = send(&local.api, &Ask::aws("DescribeWorkspaces", "{}")).await;
        assert_eq!(answer.json()["Workspaces"].as_array().map(Vec::len), Some(SAMPLES), "{point}");
        assert_eq!(send(&local.api, &Ask::rebuild("ws-available0001")).await.status, 202);
        local.kill().await;
    }
    std::fs::remove_dir_all(folder).expect("the tables");
}

/// Sends bytes and, if `is_cut`, closes this direction of the connection. Returns all that the
/// server answers until it closes the other one.
async fn send_bytes(api: &str, request: &[u8], is_cut: bool) -> String {
    let address = api.trim_start_matches("http://");
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request).await.expect("sent");
    if is_cut {
        stream.shutdown().await.expect("closed");
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer");
    answer
}

fn status_of(answer: &str) -> &str {
    answer.lines().next().unwrap_or_default().trim_start_matches("HTTP/1.1 ")
}

/// `lambda_http` panicked on some of these; HTTP/1.1 wants exactly one host.
#[tokio::test]
async fn a_bad_host_is_a_bad_request() {
    let system = System::start().await;
    let answered = async |headers: &str| {
        let request = format!("GET /x HTTP/1.1\r\n{headers}connection: close\r\n\r\n");
        send_bytes(&system.api, request.as_bytes(), false).await
    };
    let bad = ["a b", "[", "localhost:999999", "localhost:x", "a/b", "a\\b", "a@b", "%", ""];
    let bad = bad.map(|host| format!("host: {host}\r\n"));
    let count = [String::new(), "host: localhost\r\nhost: localhost\r\n".to_owned()];
    for headers in bad.iter().chain(&count) {
        let answer = answered(headers).await;
        assert_eq!(status_of(&answer), "400 Bad Request", "{headers}");
        let message = "Invalid request parameters: API Gateway could not take the request";
        let body = Answer::failure(400, "VALIDATION_ERROR", message).body;
        assert_eq!(answer.split_once("\r\n\r\n").expect("a head").1, body);
    }
    for host in ["localhost", "127.0.0.1:9000", "[::1]", "[::1]:9000", "example.com"] {
        let answer = answered(&format!("host: {host}\r\n")).await;
        assert_eq!(status_of(&answer), "404 Not Found", "{host}");
    }
    let old = send_bytes(&system.api, b"GET /x HTTP/1.0\r\n\r\n", false).await;
    assert!(old.contains(" 404 Not Found"), "{old}");
}

#[tokio::test]
async fn a_path_of_slashes_is_not_the_root() {
    let system = System::start().await;
    for path in ["//", "///", "//workspaces/ws-available0001"] {
        let ask = Ask::rebuild("ws-available0001").at(path);
        assert_eq!(system.send(&ask).await.status, 404, "{path}");
    }
    assert_eq!(system.item("ws-available0001").await["State"], "AVAILABLE");
    assert_eq!(system.send(&Ask::get("/workspaces/ws-available0001/")).await.status, 404);
}

#[tokio::test]
async fn a_body_that_is_not_utf8_is_refused_by_its_face() {
    let system = System::start().await;
    let body = b"{\"RebuildWorkspaceRequests\":[{\"WorkspaceId\":\"ws-available0001\"}],\"Reason\":\"\xff\"}";
    let answer = system.send(&Ask::post(body)).await;
    let message = "Invalid request parameters: the body is not valid JSON";
    assert_eq!(answer, Answer::failure(400, "VALIDATION_ERROR", message));
    let answer = system.send(&Ask::aws("RebuildWorkspaces", body)).await;
    assert_eq!((answer.status, &answer.json()["__type"]), (400, &"SerializationException".into()));
    assert_eq!(system.item("ws-available0001").await["State"], "AVAILABLE");
}

#[tokio::test]
async fn a_body_that_is_cut_off_is_not_too_large() {
    let system = System::start().await;
    let request = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    let answer = send_bytes(&system.api, request, true).await;
    assert!(answer.is_empty() || status_of(&answer) == "400 Bad Request", "{answer}");
}

/// The client sends half a request and then nothing, and keeps the connection open.
#[tokio::test]
async fn half_a_request_does_not_hold_a_connection_open() {
    let system = System::start().await;
    let (listener, api) = listen().await;
    let functions = functions(&system.store);
    tokio::spawn(gateway::serve(listener, functions, Duration::from_millis(50)));
    assert_eq!(send_bytes(&api, b"GET / HT", false).await, "");
    let half = b"POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\n{";
    let answer = send_bytes(&api, half, false).await;
    assert_eq!(status_of(&answer), "408 Request Timeout");
}

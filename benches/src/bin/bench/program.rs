//! A bootstrap, and Lambda's side of it: a Runtime API on loopback.

use std::io::{BufReader, Read as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use benches::event;

use crate::Result;
use crate::endpoint::{Endpoint, answer, read_request};

/// How long one step of a process may take before its run counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bootstrap with its environment.
pub struct Program<'a> {
    pub name: &'static str,
    pub path: PathBuf,
    pub arguments: Vec<PathBuf>,
    pub event: String,
    pub endpoint: &'a Endpoint,
    pub fleet_mode: &'static str,
    bundle: Option<PathBuf>,
}

impl<'a> Program<'a> {
    pub fn new(
        name: &'static str,
        path: &Path,
        endpoint: &'a Endpoint,
        bundle: Option<&Path>,
    ) -> Self {
        Self {
            name,
            path: path.into(),
            arguments: vec![],
            event: event().expect("events/ has it"),
            endpoint,
            fleet_mode: "Simulated",
            bundle: bundle.map(Into::into),
        }
    }

    /// Starts the bootstrap, and waits until it asks for its first event.
    pub fn start(&self) -> Result<Process<'_>> {
        self.start_as(Command::new(&self.path).stderr(Stdio::inherit()))
    }

    /// The same under callgrind, whose report is [`Process::instructions`].
    pub fn start_counted(&self) -> Result<Process<'_>> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        self.start_as(command.arg(&self.path).stderr(Stdio::piped()))
    }

    fn start_as(&self, command: &mut Command) -> Result<Process<'_>> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        self.environment(command, &address.to_string());
        command.args(&self.arguments);
        // If the bootstrap never connects, this connection ends the wait for it.
        let (_alive, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                drop(TcpStream::connect(address));
            }
        });
        let start = Instant::now();
        let child = KilledOnDrop(command.spawn()?);
        let stream = listener.accept()?.0;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut process =
            Process { program: self, child, stream: BufReader::new(stream), init: Duration::ZERO };
        process.read("/invocation/next")?;
        process.init = start.elapsed();
        Ok(process)
    }

    fn environment(&self, command: &mut Command, runtime_api: &str) {
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_LOG_STREAM_NAME", "bench")
            .env("AWS_LAMBDA_LOG_GROUP_NAME", "bench")
            .env("AWS_REGION", "eu-central-1")
            .env("AWS_DEFAULT_REGION", "eu-central-1")
            // As long as in Lambda, because each request is signed with them and sends them.
            .env("AWS_ACCESS_KEY_ID", "ASIAIOSFODNN7EXAMPLE")
            .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
            .env("AWS_SESSION_TOKEN", "t".repeat(1_000))
            .env("AWS_ENDPOINT_URL_DYNAMODB", &self.endpoint.url)
            .env("AWS_ENDPOINT_URL_EVENTBRIDGE", &self.endpoint.url)
            .env("AWS_ENDPOINT_URL_KMS", &self.endpoint.url)
            .env("FLEET_ENDPOINT_URL", &self.endpoint.url)
            .env("EVENT_BUS_NAME", "default")
            .env("WORKSPACES_TABLE", "workspaces")
            .env("REBUILDS_TABLE", "rebuilds")
            .env("CONTROL_TABLE", "control")
            .env("FLEET_MODE", self.fleet_mode)
            .stdout(Stdio::null());
        if let Some(bundle) = &self.bundle {
            command.env("AWS_CA_BUNDLE", bundle).env("SSL_CERT_FILE", bundle);
        }
    }
}

/// A started bootstrap, which waits for its next event. The runtime has one connection to the
/// Runtime API.
pub struct Process<'a> {
    program: &'a Program<'a>,
    child: KilledOnDrop,
    stream: BufReader<TcpStream>,
    /// From the start of the process until it asked for its first event.
    pub init: Duration,
}

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process<'_> {
    /// Gives it the event, and waits until it asks for the next one. Returns the time until its answer.
    pub fn invoke(&mut self) -> Result<Duration> {
        answer(self.stream.get_mut(), "200 OK", &self.program.event)?;
        let asked = Instant::now();
        let body = self.read("/response")?;
        let time = asked.elapsed();
        if body.contains("\"statusCode\":5") || body.contains("itemIdentifier") {
            return Err(format!("{}: {body}", self.program.name).into());
        }
        answer(self.stream.get_mut(), "202 Accepted", r#"{"status":"OK"}"#)?;
        self.read("/invocation/next")?;
        Ok(time)
    }

    fn read(&mut self, path: &str) -> Result<String> {
        read_request(&mut self.stream, path)
            .map_err(|error| format!("{}: {error}", self.program.name).into())
    }

    pub fn id(&self) -> u32 {
        self.child.0.id()
    }

    /// The processor time of its threads so far.
    pub fn processor_time(&self) -> Result<Duration> {
        let mut time = Duration::ZERO;
        for task in std::fs::read_dir(format!("/proc/{}/task", self.id()))? {
            let times = std::fs::read_to_string(task?.path().join("schedstat"))?;
            let running = times.split(' ').next().ok_or("an empty schedstat")?;
            time += Duration::from_nanos(running.parse()?);
        }
        Ok(time)
    }

    /// Its peak memory.
    pub fn peak_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.id()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak = peak.and_then(|peak| peak.trim().split(' ').next());
        Ok(peak.ok_or("no VmHWM")?.parse()?)
    }

    /// Ends it; returns the instructions that callgrind counted.
    pub fn instructions(mut self) -> Result<u64> {
        Command::new("kill").arg(self.id().to_string()).status()?;
        let mut report = String::new();
        self.child.0.stderr.take().ok_or("not counted")?.read_to_string(&mut report)?;
        let count = report.lines().find_map(|line| line.split_once("Collected : "));
        Ok(count.ok_or(report.as_str())?.1.trim().parse()?)
    }
}

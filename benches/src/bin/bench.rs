//! Builds the function and the programs that it is compared with, drives their real bootstraps in
//! turn through a Runtime API on loopback, and prints the tables of benches/README.md.
//!
//! DynamoDB and EventBridge are one stub that answers every request at once, so that it adds neither
//! time nor variance to the comparison. It serves HTTP or TLS, and counts new connections.

use std::error::Error;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use benches::{ended, event};
use rustls::pki_types::PrivateKeyDer;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs of each program; the ratios of the medians are then accurate to about 2 %.
const ROUNDS: usize = 41;
/// Requests of one run, including the first.
const REQUESTS: usize = 11;
/// How long one step of a process may take before its run counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn main() -> Result<()> {
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));
    let product = benches.parent().ok_or("benches/ has a parent")?;
    // Two builds, so that neither package enables features in the dependencies of the other.
    cargo(&["build", "--release", "-p", "rebuild-workspaces", "--bins"], product)?;
    let compared = ["--bin", "hello", "--bin", "idiomatic", "--bin", "warm"];
    cargo(&[&["build", "--release", "-p", "benches"], &compared[..]].concat(), product)?;

    let dynamodb = Endpoint::start(None)?;
    let (tls, ca) = certificate()?;
    let secure = Endpoint::start(Some(tls))?;
    let bundles = std::env::temp_dir().join(format!("benches-{}", std::process::id()));
    std::fs::create_dir_all(&bundles)?;
    let (ca_alone, with_public) = (bundles.join("ca.pem"), bundles.join("bundle.pem"));
    std::fs::write(&ca_alone, &ca)?;
    let system = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    std::fs::write(&with_public, ca + &system)?;

    let binary = |name: &str| product.join("target/release").join(name);
    let [hello, idiomatic, rebuild, announce] =
        ["hello", "idiomatic", "rebuild", "announce"].map(binary);
    let mut programs = vec![
        Program::new("hello world", &hello, &dynamodb, None),
        Program::new("this function", &rebuild, &dynamodb, None),
        Program::new("idiomatic set-up", &idiomatic, &dynamodb, None),
        Program::new("this function, TLS", &rebuild, &secure, Some(&ca_alone)),
        Program::new("this function, TLS, bundle file", &rebuild, &secure, Some(&with_public)),
        Program::new("idiomatic set-up, TLS", &idiomatic, &secure, Some(&with_public)),
    ];
    for (name, endpoint, bundle) in
        [("announcing", &dynamodb, None), ("announcing, TLS", &secure, Some(&*ca_alone))]
    {
        let mut program = Program::new(name, &announce, endpoint, bundle);
        program.event = ended()?;
        programs.push(program);
    }
    let interpreter = Command::new("python3")
        .args(["-c", "import boto3, sys; print(sys.executable, end='')"])
        .output()
        .ok()
        .filter(|output| output.status.success())
        .and_then(|output| String::from_utf8(output.stdout).ok());
    if let Some(interpreter) = interpreter {
        let handler = benches.join("handler.py");
        for (name, endpoint, bundle) in [
            ("Python, boto3", &dynamodb, None),
            ("Python, boto3, TLS", &secure, Some(&*with_public)),
        ] {
            let mut program = Program::new(name, interpreter.as_ref(), endpoint, bundle);
            program.arguments.push(handler.clone());
            programs.push(program);
        }
    } else {
        println!("(skipped the comparison with Python: no Python with boto3)");
    }

    for round in 0..=ROUNDS {
        // Alternate the direction, so that no program always follows the same one.
        let mut turns: Vec<_> = programs.iter_mut().collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for program in turns {
            let run = program.run()?;
            // The first round only fills the page cache.
            if round > 0 {
                program.runs.push(run);
            }
        }
    }
    println!("{}\n", machine()?);
    print!("{}", table(&programs)?);
    std::fs::write(benches.join("cold-start.svg"), plot(&programs))?;
    if Command::new("valgrind").arg("--version").output().is_ok() {
        let warm = Program::new("warm", &binary("warm"), &dynamodb, None);
        print!("\n{}", instructions(&warm)?);
    } else {
        println!("\n(skipped the count of instructions: no valgrind)");
    }
    std::fs::remove_dir_all(bundles)?;
    Ok(())
}

fn cargo(arguments: &[&str], directory: &Path) -> Result<()> {
    let status = Command::new("cargo").args(arguments).current_dir(directory).status()?;
    if !status.success() {
        return Err(format!("cargo {} failed", arguments.join(" ")).into());
    }
    Ok(())
}

/// A bootstrap with its environment, and the results of its runs.
struct Program<'a> {
    name: &'static str,
    path: PathBuf,
    arguments: Vec<PathBuf>,
    event: String,
    endpoint: &'a Endpoint,
    bundle: Option<PathBuf>,
    runs: Vec<Run>,
}

/// The results of one run. Times count from the start of the process or of the request.
struct Run {
    init: Duration,
    cold: Duration,
    first: Duration,
    later: Duration,
    new_connections: usize,
    peak_kib: u64,
}

impl<'a> Program<'a> {
    fn new(name: &'static str, path: &Path, endpoint: &'a Endpoint, bundle: Option<&Path>) -> Self {
        Self {
            name,
            path: path.into(),
            arguments: vec![],
            event: event().expect("events/ has it"),
            endpoint,
            bundle: bundle.map(Into::into),
            runs: vec![],
        }
    }

    fn environment(&self, command: &mut Command, runtime_api: &str) {
        command
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128")
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
            .env("EVENT_BUS_NAME", "default")
            .env("WORKSPACES_TABLE", "workspaces")
            .env("REBUILDS_TABLE", "rebuilds")
            .stdout(Stdio::null());
        if let Some(bundle) = &self.bundle {
            command.env("AWS_CA_BUNDLE", bundle).env("SSL_CERT_FILE", bundle);
        }
    }

    /// Starts the bootstrap while the first event waits, and serves all its requests. This thread
    /// is the Runtime API, and the runtime has only one connection to it.
    fn run(&self) -> Result<Run> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let mut command = Command::new(&self.path);
        self.environment(&mut command, &address.to_string());
        command.args(&self.arguments);
        // If the bootstrap never connects, this connection ends the wait for it.
        let (_alive, ended) = mpsc::channel::<()>();
        thread::spawn(move || {
            if ended.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout) {
                drop(TcpStream::connect(address));
            }
        });
        let start = Instant::now();
        let mut child = command.spawn()?;
        let run = self.drive(&listener, start, child.id());
        child.kill()?;
        child.wait()?;
        run.map_err(|error| format!("{}: {error}", self.name).into())
    }

    fn drive(&self, listener: &TcpListener, start: Instant, process: u32) -> Result<Run> {
        let stream = listener.accept()?.0;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        let mut times = vec![];
        let (mut init, mut cold, mut new_connections) = (Duration::ZERO, Duration::ZERO, 0);
        for number in 0..REQUESTS {
            read_request(&mut stream, "/invocation/next")?;
            if number == 0 {
                init = start.elapsed();
            }
            let connections = self.endpoint.connections.load(Ordering::SeqCst);
            answer(stream.get_mut(), "200 OK", &self.event)?;
            let asked = Instant::now();
            let body = read_request(&mut stream, "/response")?;
            times.push(asked.elapsed());
            if number == 0 {
                cold = start.elapsed();
                new_connections = self.endpoint.connections.load(Ordering::SeqCst) - connections;
            }
            if body.contains("\"statusCode\":5") || body.contains("itemIdentifier") {
                return Err(body.into());
            }
            answer(stream.get_mut(), "202 Accepted", r#"{"status":"OK"}"#)?;
        }
        let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let peak_kib = peak.and_then(|peak| peak.trim().split(' ').next()?.parse().ok());
        Ok(Run {
            init,
            cold,
            first: times[0],
            later: median(times[REQUESTS / 2..].to_vec()),
            new_connections,
            peak_kib: peak_kib.unwrap_or(0),
        })
    }

    fn median(&self, of: impl Fn(&Run) -> Duration) -> f64 {
        median(self.runs.iter().map(of).collect()).as_secs_f64() * 1e3
    }
}

fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
    values.sort();
    values[values.len() / 2]
}

/// The stub of DynamoDB and EventBridge.
struct Endpoint {
    url: String,
    connections: Arc<AtomicUsize>,
}

impl Endpoint {
    /// Starts the threads that answer before the first connection. They end with the process.
    fn start(tls: Option<Arc<rustls::ServerConfig>>) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}", listener.local_addr()?);
        let connections = Arc::<AtomicUsize>::default();
        for _ in 0..4 {
            let (listener, tls, count) =
                (listener.try_clone()?, tls.clone(), Arc::clone(&connections));
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    count.fetch_add(1, Ordering::SeqCst);
                    // A killed client breaks its connection, which is not an error.
                    let _ = stream.set_nodelay(true);
                    let _ = match tls.clone().map(rustls::ServerConnection::new) {
                        Some(Ok(session)) => converse(rustls::StreamOwned::new(session, stream)),
                        _ => converse(stream),
                    };
                }
            });
        }
        Ok(Self { url, connections })
    }
}

fn converse(stream: impl Read + Write) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        read_request(&mut stream, "/")?;
        answer(stream.get_mut(), "200 OK", r#"{"Entries":[{"EventId":"1"}]}"#)?;
    }
}

/// Reads one request, whose path must end in `path`; returns its body.
fn read_request(stream: &mut impl BufRead, path: &str) -> Result<String> {
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let request = line.trim_end().to_owned();
    let mut length = 0;
    while !line.trim_end().is_empty() {
        line.clear();
        stream.read_line(&mut line)?;
        if let Some((name, value)) = line.trim_end().split_once(": ")
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.parse()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    let body = String::from_utf8(body)?;
    if request.split(' ').nth(1).is_some_and(|asked| asked.ends_with(path)) {
        Ok(body)
    } else {
        Err(format!("expected {path}, got {request:?} {body}").into())
    }
}

/// Answers with the headers that the clients of both APIs need.
fn answer(stream: &mut impl Write, status: &str, body: &str) -> Result<()> {
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\n\
         lambda-runtime-aws-request-id: 8476a536-e9f4-11e8-9739-2dfe598c3fcd\r\n\
         lambda-runtime-deadline-ms: 99999999999999\r\n\
         lambda-runtime-invoked-function-arn: arn:aws:lambda:eu-central-1:123456789012:function:bench\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes())?;
    Ok(stream.flush()?)
}

/// A certificate for 127.0.0.1, and the private authority that signed it.
fn certificate() -> Result<(Arc<rustls::ServerConfig>, String)> {
    let authority_key = rcgen::KeyPair::generate()?;
    let mut authority = rcgen::CertificateParams::new(vec![])?;
    authority.distinguished_name.push(rcgen::DnType::CommonName, "bench authority");
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca = authority.self_signed(&authority_key)?.pem();
    let key = rcgen::KeyPair::generate()?;
    let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?
        .signed_by(&key, &rcgen::Issuer::from_params(&authority, &authority_key))?;
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(
        rustls::crypto::ring::default_provider(),
    ))
    .with_safe_default_protocol_versions()?
    .with_no_client_auth()
    .with_single_cert(
        vec![certificate.der().clone()],
        PrivateKeyDer::Pkcs8(key.serialize_der().into()),
    )?;
    Ok((Arc::new(config), ca))
}

fn machine() -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1));
    let rustc = Command::new("rustc").arg("--version").output()?.stdout;
    Ok(format!(
        "{} × {}, Linux {}, {}; medians of {ROUNDS} runs, all programs in turn",
        thread::available_parallelism()?,
        model.unwrap_or(std::env::consts::ARCH),
        std::fs::read_to_string("/proc/sys/kernel/osrelease")?.trim(),
        String::from_utf8_lossy(&rustc).trim()
    ))
}

fn table(programs: &[Program]) -> Result<String> {
    let mut table = String::from(
        "| | init ms | cold ms | × hello world | first ÷ later request | new connections on the first | size MiB | peak RSS MiB |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    let base = programs[0].median(|run| run.cold);
    for program in programs {
        let cold = program.median(|run| run.cold);
        let size = match program.arguments.is_empty() {
            true => format!("{:.2}", std::fs::metadata(&program.path)?.len() as f64 / 1048576.0),
            false => "–".to_owned(),
        };
        writeln!(
            table,
            "| {} | {:.2} | {cold:.2} | {:.2} | {:.2} | {} | {size} | {:.1} |",
            program.name,
            program.median(|run| run.init),
            cold / base,
            program.median(|run| run.first) / program.median(|run| run.later),
            median(program.runs.iter().map(|run| run.new_connections).collect()),
            median(program.runs.iter().map(|run| run.peak_kib).collect()) as f64 / 1024.0,
        )?;
    }
    Ok(table)
}

/// Draws the cold starts on a logarithmic axis, because Python would dwarf the others.
fn plot(programs: &[Program]) -> String {
    let (left, width, row) = (230.0, 430.0, 30.0);
    let height = programs.len() as f64 * row + 50.0;
    let x = |ms: f64| left + width * (ms.log10() / 3.0).clamp(0.0, 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"760\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"20\" font-weight=\"bold\">Cold start, process start to first answer (ms, logarithmic, median of {ROUNDS})</text>\n"
    );
    for (index, program) in programs.iter().enumerate() {
        let cold = program.median(|run| run.cold);
        let (y, end) = (index as f64 * row + 32.0, x(cold));
        let colour = if program.name.starts_with("this") { "#d9541e" } else { "#8a97a6" };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{left}\" y=\"{y}\" width=\"{:.1}\" height=\"20\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{cold:.1}</text>",
            left - 8.0,
            y + 15.0,
            program.name,
            end - left,
            end + 6.0,
            y + 15.0,
        );
    }
    svg + "</svg>\n"
}

/// Counts the instructions of a warm request and of its parts.
fn instructions(warm: &Program) -> Result<String> {
    let count = |what: &str, times: u64| -> Result<u64> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
        command.arg(&warm.path).args([what, &times.to_string()]);
        warm.environment(&mut command, "127.0.0.1:9");
        let report = String::from_utf8(command.stderr(Stdio::piped()).output()?.stderr)?;
        let count = report.lines().find_map(|line| line.split_once("Collected : "));
        Ok(count.ok_or(report.as_str())?.1.trim().parse()?)
    };
    let mut table = String::from("| a warm request | instructions | ÷ SDK call |\n|---|---|---|\n");
    let mut base = None;
    for (what, name) in [
        ("sdk", "the bare SDK call, client as the SDK sets it up"),
        ("call", "the same call, this function's client"),
        ("lambda_http", "event to response in lambda_http, nothing done"),
        ("function", "this function, event to response"),
    ] {
        let each = (count(what, 210)? - count(what, 10)?) / 200;
        let base = *base.get_or_insert(each);
        writeln!(table, "| {name} | {each} | {:.2} |", each as f64 / base as f64)?;
    }
    Ok(table)
}

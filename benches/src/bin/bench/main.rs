//! Builds the function and the programs that it is compared with, drives their real bootstraps in
//! turn through a Runtime API on loopback, and prints the tables of benches/README.md.
//!
//! AWS's services are one stub that answers every request at once, so that it adds neither
//! time nor variance to the comparison.

mod endpoint;
mod program;
mod share;

use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use benches::{build, built, ended, preview};

use self::endpoint::{Endpoint, certificate};
use self::program::Program;
use self::share::Share;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Runs of each program.
const ROUNDS: usize = 41;
/// Requests of one run, including the first.
const REQUESTS: usize = 11;
/// Memory in MB whose share of a core is tried.
const MEMORY_MB: [u64; 3] = [128, 256, 512];
/// Runs of a program with each share, and requests of one run on an open and on a new connection.
const SHARE_ROUNDS: usize = 15;
const SHARE_REQUESTS: usize = 20;

/// What DynamoDB and EventBridge answer.
const EVENTS: &str = r#"{"Entries":[{"EventId":"1"}]}"#;
/// What DynamoDB, the WorkSpaces API and KMS answer to the questions of a preview.
const FLEET: &str = r#"{
    "Item":{"WorkspaceId":{"S":"ws-nosnapshot0001"},"State":{"S":"AVAILABLE"}},
    "Workspaces":[{"WorkspaceId":"ws-nosnapshot0001","State":"AVAILABLE",
        "VolumeEncryptionKey":"key","UserVolumeEncryptionEnabled":true}],
    "WorkspacesConnectionStatus":[{"WorkspaceId":"ws-nosnapshot0001","ConnectionState":"CONNECTED"}],
    "RebuildSnapshots":[{"SnapshotTime":1764547200}],
    "KeyMetadata":{"KeyId":"key","KeyState":"Enabled"}
}"#;

fn main() -> Result<()> {
    // Two builds, so that neither package enables features in the dependencies of the other.
    build(&["-p", "rebuild-workspaces", "--bins"])?;
    build(&["-p", "benches", "--bin", "hello", "--bin", "idiomatic"])?;
    let names = ["hello", "idiomatic", "rebuild", "announce", "preview"];
    let [hello, idiomatic, rebuild, announce, previewer] = names.map(built);
    let (hello, idiomatic, rebuild) = (hello?, idiomatic?, rebuild?);
    let (announce, previewer) = (announce?, previewer?);
    let benches = Path::new(env!("CARGO_MANIFEST_DIR"));

    let dynamodb = Endpoint::start(None, EVENTS)?;
    let (tls, ca) = certificate()?;
    let secure = Endpoint::start(Some(Arc::clone(&tls)), EVENTS)?;
    let fleet = Endpoint::start(None, FLEET)?;
    let secure_fleet = Endpoint::start(Some(tls), FLEET)?;
    let bundles = std::env::temp_dir().join(format!("benches-{}", std::process::id()));
    std::fs::create_dir_all(&bundles)?;
    let (ca_alone, with_public) = (bundles.join("ca.pem"), bundles.join("bundle.pem"));
    std::fs::write(&ca_alone, &ca)?;
    let system = ["/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/certs/ca-certificates.crt"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .unwrap_or_default();
    std::fs::write(&with_public, ca + &system)?;

    let mut programs = vec![
        Program::new("hello world", &hello, &dynamodb, None),
        Program::new("this function", &rebuild, &dynamodb, None),
        Program::new("idiomatic set-up", &idiomatic, &dynamodb, None),
        Program::new("this function, TLS", &rebuild, &secure, Some(&ca_alone)),
        Program::new("idiomatic set-up, TLS", &idiomatic, &secure, Some(&with_public)),
    ];
    let counted = programs.len();
    programs.push(Program::new(
        "this function, TLS, bundle file",
        &rebuild,
        &secure,
        Some(&with_public),
    ));
    for (name, endpoint, bundle) in
        [("announcing", &dynamodb, None), ("announcing, TLS", &secure, Some(&*ca_alone))]
    {
        let mut program = Program::new(name, &announce, endpoint, bundle);
        program.event = ended()?;
        programs.push(program);
    }
    for (name, endpoint, bundle) in
        [("previewing", &fleet, None), ("previewing, TLS", &secure_fleet, Some(&*ca_alone))]
    {
        let mut program = Program::new(name, &previewer, endpoint, bundle);
        program.event = preview()?;
        program.fleet_mode = "AmazonWorkSpaces";
        programs.push(program);
    }
    if let Some(interpreter) = python_with_boto3() {
        for (name, endpoint, bundle) in [
            ("Python, boto3", &dynamodb, None),
            ("Python, boto3, TLS", &secure, Some(&*with_public)),
        ] {
            let mut program = Program::new(name, interpreter.as_ref(), endpoint, bundle);
            program.arguments.push(benches.join("handler.py"));
            programs.push(program);
        }
    } else {
        println!("(skipped the comparison with Python: no Python with boto3)");
    }

    let rows = starts(&programs)?;
    println!("{}\n\n{}", machine()?, table(&rows)?);
    std::fs::write(benches.join("cold-start.svg"), plot(&rows))?;
    if Command::new("valgrind").arg("--version").output().is_ok() {
        println!("{}", instructions(&programs[..counted])?);
    } else {
        println!("(skipped the count of instructions: no valgrind)\n");
    }
    let is_shared = |program: &&Program| {
        program.name.ends_with("TLS")
            && !["announcing", "Python"].iter().any(|start| program.name.starts_with(start))
    };
    let with_tls: Vec<_> = programs.iter().filter(is_shared).collect();
    print!("{}", shares(&with_tls)?);
    std::fs::remove_dir_all(bundles)?;
    Ok(())
}

fn python_with_boto3() -> Option<String> {
    let output = Command::new("python3")
        .args(["-c", "import boto3, sys; print(sys.executable, end='')"])
        .output()
        .ok()?;
    if output.status.success() { String::from_utf8(output.stdout).ok() } else { None }
}

/// A program, and the results of its runs.
struct Row<'a> {
    program: &'a Program<'a>,
    runs: Vec<Run>,
}

/// The results of one run.
struct Run {
    init: Duration,
    /// From the start of the process until its first answer.
    cold: Duration,
    /// The processor time of all that.
    processor: Duration,
    first: Duration,
    later: Duration,
    new_connections: usize,
    peak_kib: u64,
}

impl Row<'_> {
    /// The median of a time, in milliseconds.
    fn median(&self, time: impl Fn(&Run) -> Duration) -> f64 {
        milliseconds(median(self.runs.iter().map(time).collect()))
    }
}

/// Starts each program many times, in turn.
fn starts<'a>(programs: &'a [Program<'a>]) -> Result<Vec<Row<'a>>> {
    let mut rows: Vec<_> = programs.iter().map(|program| Row { program, runs: vec![] }).collect();
    for round in 0..=ROUNDS {
        // Alternate the direction, so that no program always follows the same one.
        let mut turns: Vec<_> = rows.iter_mut().collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for row in turns {
            let run = start(row.program)?;
            // The first round only fills the page cache.
            if round > 0 {
                row.runs.push(run);
            }
        }
    }
    Ok(rows)
}

fn start(program: &Program) -> Result<Run> {
    let mut process = program.start()?;
    let connections = || program.endpoint.connections.load(Ordering::SeqCst);
    let before = connections();
    let first = process.invoke()?;
    let new_connections = connections() - before;
    let processor = process.processor_time()?;
    let later = (1..REQUESTS).map(|_| process.invoke()).collect::<Result<Vec<_>>>()?;
    Ok(Run {
        init: process.init,
        cold: process.init + first,
        processor,
        first,
        later: median(later[REQUESTS / 2..].to_vec()),
        new_connections,
        peak_kib: process.peak_kib()?,
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The value that a share of all values does not exceed.
fn quantile<T: Ord + Copy>(mut values: Vec<T>, share: f64) -> T {
    values.sort();
    values[(values.len() as f64 * share) as usize]
}

fn median<T: Ord + Copy>(values: Vec<T>) -> T {
    quantile(values, 0.5)
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

fn table(rows: &[Row]) -> Result<String> {
    let mut table = String::from(
        "| | init ms | cold ms | × hello world | processor ms | × hello world | first ÷ later request | new connections on the first | size MiB | peak RSS MiB |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    let [base_cold, base_processor] =
        [|run: &Run| run.cold, |run: &Run| run.processor].map(|time| rows[0].median(time));
    for row in rows {
        let (cold, processor) = (row.median(|run| run.cold), row.median(|run| run.processor));
        let size = match row.program.arguments.is_empty() {
            true => format!("{:.2}", mebibytes(std::fs::metadata(&row.program.path)?.len())),
            false => "–".to_owned(),
        };
        writeln!(
            table,
            "| {} | {:.2} | {cold:.2} | {:.2} | {processor:.2} | {:.2} | {:.2} | {} | {size} | {:.1} |",
            row.program.name,
            row.median(|run| run.init),
            cold / base_cold,
            processor / base_processor,
            row.median(|run| run.first) / row.median(|run| run.later),
            median(row.runs.iter().map(|run| run.new_connections).collect()),
            mebibytes(median(row.runs.iter().map(|run| run.peak_kib).collect()) * 1024),
        )?;
    }
    Ok(table)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

/// Counts the instructions of a start, of its first invocation and of a later one.
fn instructions(programs: &[Program]) -> Result<String> {
    let mut table = String::from(
        "| instructions | start | first invocation | later invocation | first ÷ later | later ÷ hello world |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut base = None;
    for program in programs {
        let count = |invocations: u64| -> Result<u64> {
            let mut process = program.start_counted()?;
            for _ in 0..invocations {
                process.invoke()?;
            }
            process.instructions()
        };
        let (start, one, ten) = (count(0)?, count(1)?, count(10)?);
        let (first, later) = (one - start, (count(210)? - ten) / 200);
        let base = *base.get_or_insert(later);
        writeln!(
            table,
            "| {} | {start} | {first} | {later} | {:.2} | {:.2} |",
            program.name,
            first as f64 / later as f64,
            later as f64 / base as f64
        )?;
    }
    Ok(table)
}

/// Measures requests with the share of a core that comes with little memory. Init has a whole core, as in
/// Lambda, and between requests the quota fills up.
fn shares(programs: &[&Program]) -> Result<String> {
    let mut table = String::from(
        "| with the processor of | | first request ms | later p50 | later p99 | on a new connection p50 | p99 | of these throttled |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for memory in MEMORY_MB {
        let share = match Share::of(memory) {
            Ok(share) => share,
            Err(error) => return Ok(format!("(skipped the shares of a core: {error})\n")),
        };
        for program in programs {
            let (mut first, mut later, mut renewed) = (vec![], vec![], vec![]);
            let mut throttled = 0;
            for _ in 0..SHARE_ROUNDS {
                let mut process = program.start()?;
                share.add(process.id())?;
                let mut rested = || {
                    thread::sleep(Duration::from_millis(30));
                    process.invoke()
                };
                first.push(rested()?);
                for _ in 0..SHARE_REQUESTS {
                    later.push(rested()?);
                }
                // Closed after this answer.
                program.endpoint.closes.store(true, Ordering::SeqCst);
                rested()?;
                for _ in 0..SHARE_REQUESTS {
                    let before = share.throttled()?;
                    renewed.push(rested()?);
                    throttled += usize::from(share.throttled()? > before);
                }
                program.endpoint.closes.store(false, Ordering::SeqCst);
            }
            writeln!(
                table,
                "| {memory} MB | {} | {:.1} | {:.1} | {:.1} | {:.1} | {:.1} | {:.0} % |",
                program.name,
                milliseconds(median(first)),
                milliseconds(median(later.clone())),
                milliseconds(quantile(later, 0.99)),
                milliseconds(median(renewed.clone())),
                milliseconds(quantile(renewed.clone(), 0.99)),
                throttled as f64 * 100.0 / renewed.len() as f64,
            )?;
        }
    }
    Ok(table)
}

/// Draws the cold starts on a logarithmic axis, because Python would dwarf the others.
fn plot(rows: &[Row]) -> String {
    let (left, width, height_of_row) = (230.0, 430.0, 30.0);
    let height = rows.len() as f64 * height_of_row + 50.0;
    let x = |ms: f64| left + width * (ms.log10() / 3.0).clamp(0.0, 1.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"760\" height=\"{height}\" fill=\"#fff\"/>\n\
         <text x=\"10\" y=\"20\" font-weight=\"bold\">Cold start, process start to first answer (ms, logarithmic, median of {ROUNDS})</text>\n"
    );
    for (index, row) in rows.iter().enumerate() {
        let cold = row.median(|run| run.cold);
        let (y, end) = (index as f64 * height_of_row + 32.0, x(cold));
        let colour = if row.program.name.starts_with("this") { "#d9541e" } else { "#8a97a6" };
        let _ = writeln!(
            svg,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{left}\" y=\"{y}\" width=\"{:.1}\" height=\"20\" fill=\"{colour}\"/>\
             <text x=\"{:.1}\" y=\"{}\">{cold:.1}</text>",
            left - 8.0,
            y + 15.0,
            row.program.name,
            end - left,
            end + 6.0,
            y + 15.0,
        );
    }
    svg + "</svg>\n"
}

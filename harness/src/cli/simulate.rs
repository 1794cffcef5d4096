//! `heaplab simulate`: writes the trace of a load model.

use std::path::PathBuf;

use heaplab_trace::{Record, TraceFile};
use heaplab_workloads::catalog::{self, CatalogError};
use heaplab_workloads::model::parse_load;
use heaplab_workloads::simulate::{DEFAULT_SEED, Options, is_phase, parse_time_ns};
use indicatif::{ProgressBar, ProgressStyle};

use super::trace::{list_totals, print_rows};
use super::{Outcome, Usage, require_directory};
use crate::cli::stdout::stdout;
use crate::report::{Load, draw_load};

/// One in this many records is used for the plot.
const PLOT_EVERY: u64 = 16;

#[derive(clap::Args)]
pub(super) struct Args {
    /// A load model's name, or the path of a definition (FILE.toml)
    workload: String,
    /// The trace to write; replaced only when the new one is complete
    #[arg(short, long, value_name = "FILE.hlt")]
    output: PathBuf,
    /// Simulated time, such as 60s or 24h; without it, the definition's
    #[arg(long, value_name = "TIME", value_parser = parse_time_ns)]
    duration: Option<u64>,
    /// Seed of all random draws: the same seed makes the same bytes
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    seed: u64,
    /// Draw requests under way and live bytes over trace time, with its phases
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// The load of a model of recordings, in its unit [default: the highest recorded]
    #[arg(long, value_name = "LOAD", value_parser = parse_load)]
    load: Option<f64>,
    /// Set a field of the definition, such as connections=200 or payload.median=64KiB
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

pub(super) fn main(args: Args) -> anyhow::Result<Outcome> {
    let workload = catalog::find(&args.workload).map_err(as_usage)?;
    if !workload.is_model() {
        let hint = "simulate takes a load model (see `heaplab list workloads`) or a definition, FILE.toml";
        return Err(Usage(format!("{} is a recording: {hint}", workload.name)).into());
    }
    let mut overrides = args.overrides;
    overrides.extend(args.load.map(|load| format!("load={load}")));
    let options = Options { duration_ns: args.duration, seed: args.seed, overrides };
    let workload = workload.named_by(&options).map_err(as_usage)?;
    let mut stream = workload.open(&options).map_err(as_usage)?;
    if args.plot.is_some() && stream.expected_last_time_ns().is_none() {
        return Err(
            Usage(format!("{} has no times: --plot draws load models over theirs", workload.name)).into()
        );
    }
    args.plot.iter().try_for_each(|path| require_directory(path))?;
    let mut trace = TraceFile::create(&args.output, stream.header())?;
    let bar = progress_bar(stream.expected_last_time_ns())?;
    let mut records: u64 = 0;
    let mut load = Load::new(stream.expected_last_time_ns().unwrap_or(0));
    while let Some(record) = stream.next()? {
        records += 1;
        trace.push(&record)?;
        match &record {
            Record::Event(event) => {
                if records.is_multiple_of(1 << 16) {
                    bar.set_position(event.time_ns);
                    bar.set_message(records.to_string());
                }
                if args.plot.is_some() && records.is_multiple_of(PLOT_EVERY) {
                    load.set_live(event.time_ns, trace.summary().live_at_end_bytes);
                    if let Some((time_ns, request_ns)) = stream.requests_under_way() {
                        load.set_requests(time_ns, request_ns);
                    }
                }
            }
            Record::Mark(mark) if is_phase(mark) => load.begin_phase(mark.time_ns, &mark.name),
            _ => {}
        }
    }
    bar.finish_and_clear();
    let requests = stream.requests();
    let summary = trace.finish()?;
    if let Some(path) = &args.plot {
        draw_load(&load, &workload.name, &workload.description, path)?;
    }
    let name = workload.name;
    let mut rows = vec![
        ("trace", args.output.display().to_string()),
        ("workload", name.clone()),
        ("seed", args.seed.to_string()),
    ];
    if let Some(requests) = requests {
        rows.push(("requests", requests.made.to_string()));
        rows.push(("refused", requests.refused.to_string()));
    }
    rows.extend(list_totals(&summary, stream.header().has_times));
    print_rows(&mut stdout(), &rows)?;
    if let Some(warning) = requests.and_then(|requests| requests.warning()) {
        say!("heaplab: {name}: {warning}");
    }
    Ok(Outcome::Done)
}

/// A bar over simulated time; indicatif draws it only on a terminal.
fn progress_bar(last_time_ns: Option<u64>) -> anyhow::Result<ProgressBar> {
    let bar = ProgressBar::new(last_time_ns.unwrap_or(0));
    bar.set_style(ProgressStyle::with_template(
        "simulate {bar:40} {percent:>3} %  {msg} records  {eta} left",
    )?);
    Ok(bar)
}

/// A user's mistake has a different exit status from a failure.
fn as_usage(error: CatalogError) -> anyhow::Error {
    if error.is_usage() { Usage(format!("{:#}", anyhow::Error::from(error))).into() } else { error.into() }
}

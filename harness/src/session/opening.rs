//! How a run starts: from scratch, or from a directory that holds a part of it.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use heaplab_allocators::Variant;

use super::description::machine_warnings;
use super::error::{SessionError, usage};
use super::merge::differing_facts;
use super::notice::{Listener, Notice};
use super::variants::list_labels;
use crate::design::{RunOptions, Shard};
use crate::doctor::Machine;
use crate::results::{
    RunBuild, RunDirectory, RunFile, RunTree, RunVariant, RunWorkload, SCHEMA, read_run_file,
};

/// How a run starts.
#[derive(Debug, Clone)]
pub enum Start {
    /// From scratch.
    New {
        /// What is asked for.
        options: RunOptions,
        /// The command line that asks for it, for display.
        argv: Vec<String>,
        /// Its directory; none for one in `results` that is named after the time and the workload.
        output: Option<PathBuf>,
        /// The shard whose units are measured; none for all units.
        shard: Option<Shard>,
    },
    /// From a directory that holds a part of it and states what was asked for.
    Resume {
        /// The directory.
        directory: PathBuf,
        /// What the user asks for in addition, if anything: it must be the same.
        given: Option<RunOptions>,
        /// The shard that the directory must hold; none for any.
        shard: Option<Shard>,
        /// Whether to continue even with a different heaplab, or on a different machine.
        anyway: bool,
    },
}

/// How a run ended if nothing failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Every sample was taken: the run's directory.
    Finished(PathBuf),
    /// It was stopped; if a directory exists already, it keeps what was measured.
    Stopped(Option<PathBuf>),
}

/// The two kinds of run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Replays,
    Program,
}

impl Kind {
    fn of(options: &RunOptions) -> Kind {
        if options.exec.is_some() { Kind::Program } else { Kind::Replays }
    }

    fn command(self) -> &'static str {
        match self {
            Kind::Replays => "run",
            Kind::Program => "exec",
        }
    }
}

/// A run with known options that has no directory open yet.
pub(super) struct Opening {
    pub(super) options: RunOptions,
    /// The shard whose units are measured; none for all units.
    pub(super) shard: Option<Shard>,
    argv: Vec<String>,
    /// For a new run, its directory, if the user named one.
    output: Option<PathBuf>,
    /// The directory of a resumed run, and what it says.
    resumed: Option<(PathBuf, RunFile)>,
    /// What began the resumed run, if something else continues it.
    despite: Option<String>,
}

impl Start {
    /// Settles what is asked for.
    pub(super) fn open(self, kind: Kind, listener: Listener<'_>) -> Result<Opening, SessionError> {
        match self {
            Start::New { options, argv, output, shard } => {
                Ok(Opening { options, shard, argv, output, resumed: None, despite: None })
            }
            Start::Resume { directory, given, shard, anyway } => {
                let file = read_run_file(&directory)?;
                let despite = check_resumed(&directory, &file, kind, given.as_ref(), anyway)?;
                check_shard(&directory, &file, shard)?;
                if file.working_directory != working_directory() {
                    listener(&Notice::Say(format!(
                        "{} was started in {}: relative paths are read from there if it is resumed there",
                        directory.display(),
                        file.working_directory
                    )));
                }
                let (options, shard, argv) = (file.options.clone(), file.shard, file.argv.clone());
                Ok(Opening { options, shard, argv, output: None, resumed: Some((directory, file)), despite })
            }
        }
    }
}

fn now_utc() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Whether a directory holds a run, complete or not.
#[must_use]
pub fn is_begun(directory: &Path) -> bool {
    directory.join("run.toml").exists()
}

/// Refuses to continue one shard as a different one.
fn check_shard(directory: &Path, file: &RunFile, asked: Option<Shard>) -> Result<(), SessionError> {
    let Some(asked) = asked.filter(|asked| Some(*asked) != file.shard) else { return Ok(()) };
    let found = file.shard.map_or_else(|| "a whole run".to_owned(), |shard| format!("shard {shard}"));
    Err(usage(format!(
        "{} holds {found}: a directory belongs to one shard; give shard {asked} another",
        directory.display()
    )))
}

/// Refuses to continue a run of a different kind or question, or by another heaplab or machine than the one that began
/// it. Returns that difference if it is to be ignored.
fn check_resumed(
    directory: &Path,
    file: &RunFile,
    kind: Kind,
    given: Option<&RunOptions>,
    anyway: bool,
) -> Result<Option<String>, SessionError> {
    let path = directory.display();
    let found = Kind::of(&file.options);
    if found != kind {
        let (found, kind) = (found.command(), kind.command());
        return Err(usage(format!(
            "{path} is not a `heaplab {kind}`: continue it with `heaplab {found} --resume -o {path}`"
        )));
    }
    if given.is_some_and(|given| *given != file.options) {
        return Err(usage(format!(
            "{path} was made by `{}`: continue it with the same arguments and --resume",
            file.argv.join(" ")
        )));
    }
    if !file.machines.is_empty() {
        return Err(usage(format!(
            "{path} was merged of several directories: continue the one that lacks something, then merge again"
        )));
    }
    let differs = find_difference(file)?;
    match differs {
        Some(differs) if !anyway => Err(usage(format!(
            "{path} was measured by {differs}: its samples may differ for that reason; start another run, or add \
             --resume-anyway"
        ))),
        differs => Ok(differs),
    }
}

/// What measured the run, and what would continue it, where that is something else.
fn find_difference(file: &RunFile) -> Result<Option<String>, SessionError> {
    let mut differs = Vec::new();
    let (then, now) = (&file.heaplab_version, env!("CARGO_PKG_VERSION"));
    if then != now {
        differs.push(format!("heaplab {then} and not {now}"));
    }
    let build = file.build.as_ref().and_then(|then| then.find_difference(&RunBuild::of_this_program()));
    differs.extend(build.map(|builds| format!("another build of heaplab ({builds})")));
    let machine = this_machine(&Machine::read())?;
    let facts: Vec<String> = differing_facts(&file.machine, &machine)
        .into_iter()
        .map(|name| {
            let [then, now] = [&file.machine, &machine]
                .map(|facts| facts.get(name).map_or_else(|| "not known".to_owned(), ToString::to_string));
            format!("{name} {then} and not {now}")
        })
        .collect();
    // An earlier heaplab did not record it.
    if !file.machine.is_empty() && !facts.is_empty() {
        differs.push(format!("another kind of machine ({})", facts.join("; ")));
    }
    Ok((!differs.is_empty()).then(|| differs.join(", and by ")))
}

fn this_machine(machine: &Machine) -> Result<toml::Table, SessionError> {
    toml::Table::try_from(machine).map_err(SessionError::failed("the machine's facts"))
}

impl Opening {
    /// Refuses a resumed run if its sweep, or the table of allocators, now produces different variants.
    pub(super) fn check_variants(&self, variants: &[Variant]) -> Result<(), SessionError> {
        let Some((directory, file)) = &self.resumed else { return Ok(()) };
        let then: Vec<&str> = file.variants.iter().map(|variant| variant.label.as_str()).collect();
        let (then, now) = (then.join(", "), list_labels(variants));
        if then != now {
            return Err(usage(format!(
                "{} was started with the variants {then}, and its sweep now makes {now}: start another run",
                directory.display()
            )));
        }
        Ok(())
    }

    /// Makes the run's directory, or opens the resumed one. `name` becomes part of a new directory's name.
    pub(super) fn open_directory(
        self,
        name: &str,
        notes: Vec<String>,
        described: Described,
        variants: Vec<RunVariant>,
        listener: Listener<'_>,
    ) -> Result<RunDirectory, SessionError> {
        if let Some((directory, file)) = &self.resumed {
            // NOTE: first, because resuming marks the run as unfinished.
            file.check_unchanged(&described.workloads, &variants).map_err(|what| {
                usage(format!(
                    "{}: {what}: what is measured now would not belong to it; start another run",
                    directory.display()
                ))
            })?;
            let mut run = RunDirectory::resume(directory)?;
            if let Some(differs) = &self.despite {
                run.warn_if_mixed(format!(
                    "the samples before {} were measured by {differs}: what differs between samples may not be due to \
                     the allocator",
                    now_utc()
                ));
            }
            return Ok(run);
        }
        let now = now_utc();
        let shard = self.shard.map(|shard| format!("-{shard}")).unwrap_or_default();
        let run_id = format!("{}-{}", now.replace(['-', ':'], ""), file_name(&format!("{name}{shard}")));
        let directory = self.output.unwrap_or_else(|| Path::new("results").join(&run_id));
        let build = RunBuild::of_this_program();
        let machine = Machine::read();
        // A replay's memory is warmed before it is timed; a real program's is not.
        let is_cold = self.options.exec.is_some() && machine.free_page_reporting == Some(true);
        let cold = is_cold.then(|| format!("free page reporting: {}", Machine::FREE_PAGES_RETURN));
        let mut warnings: Vec<String> =
            build.warning().into_iter().chain(machine_warnings()).chain(cold).collect();
        for warning in &warnings {
            listener(&Notice::Say(warning.clone()));
        }
        warnings.extend(notes);
        let machine = this_machine(&machine)?;
        let file = RunFile {
            schema: SCHEMA,
            heaplab_version: env!("CARGO_PKG_VERSION").to_owned(),
            build: Some(build),
            run_id,
            started_utc: now,
            shard: self.shard,
            argv: self.argv,
            working_directory: working_directory(),
            finished: false,
            warnings,
            options: self.options,
            workloads: described.workloads,
            trees: described.trees,
            variants,
            machine,
            machines: Vec::new(),
        };
        Ok(RunDirectory::create(&directory, file)?)
    }

    /// Whether the run already has a directory.
    pub(super) fn is_resumed(&self) -> bool {
        self.resumed.is_some()
    }
}

/// What a run was made of, as its directory states it.
pub(super) struct Described {
    pub(super) workloads: Vec<RunWorkload>,
    pub(super) trees: Vec<RunTree>,
}

/// The name without characters that a file name should not have.
fn file_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
    name.chars().map(plain).collect()
}

fn working_directory() -> String {
    std::env::current_dir().map_or_else(|_| String::new(), |path| path.display().to_string())
}

//! A program that is run twice, alone and recorded, and the results of both.

use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::support::heaplab;

/// Compiles a program of `tests/hazards` without optimisation, which would remove unused blocks.
pub(crate) fn compile(source: &str, into: &Path, options: &[&str]) -> PathBuf {
    let (compiler, name) = match source.strip_suffix(".cc") {
        Some(name) => ("c++", name),
        None => ("cc", source.strip_suffix(".c").expect("a C or C++ file")),
    };
    let program = into.join(name);
    let compiled = Command::new(compiler)
        .args(["-O0", "-Wall", "-Wextra", "-Werror", "-pthread", "-o"])
        .arg(&program)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hazards").join(source))
        .args(options)
        .status()
        .expect("a compiler");
    assert!(compiled.success(), "{source} compiles");
    program
}

/// A program that was run alone and recorded.
pub(crate) struct Recorded {
    pub(crate) alone: Output,
    pub(crate) recorded: Output,
    /// Where the traces are.
    pub(crate) directory: tempfile::TempDir,
}

impl Recorded {
    /// Compiles a hazard, runs it, and runs it recorded with `options`.
    pub(crate) fn hazard(source: &str, options: &[&str], arguments: &[&str]) -> Recorded {
        let directory = tempfile::tempdir().expect("a directory");
        let program = compile(source, directory.path(), &[]);
        Recorded::run(directory, &program, options, arguments, &[])
    }

    /// Runs a program twice, `variables` set in both.
    pub(crate) fn run(
        directory: tempfile::TempDir,
        program: &Path,
        options: &[&str],
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Recorded {
        let alone =
            Command::new(program).args(arguments).envs(variables.iter().copied()).output().expect("it runs");
        let mut command = heaplab();
        command.arg("record").args(options).arg("-o").arg(directory.path().join("trace.hlt"));
        command.arg("--").arg(program).args(arguments).envs(variables.iter().copied());
        let recorded = command.output().expect("it runs");
        Recorded { alone, recorded, directory }
    }

    /// Output and status are those of the program alone, and only traces are left of the recording.
    pub(crate) fn assert_unchanged(&self) {
        let alone = self.alone.status;
        let expected = alone.code().unwrap_or_else(|| 128 + alone.signal().expect("a signal"));
        assert_eq!(self.recorded.status.code(), Some(expected), "{}", self.said());
        assert_eq!(self.recorded.stdout, self.alone.stdout, "{}", self.said());
        let complaints = String::from_utf8_lossy(&self.alone.stderr).into_owned();
        assert!(self.said().starts_with(&complaints), "{}", self.said());
        assert!(!self.directory.path().join("trace.hlt.raw").exists(), "{}", self.said());
    }

    /// Like [`Recorded::assert_unchanged`]; in addition, the recording is complete.
    pub(crate) fn assert_whole(&self) {
        self.assert_unchanged();
        assert!(!self.said().contains("warning"), "{}", self.said());
        assert_eq!(self.trace()["summary"]["lost"], 0, "{}", self.said());
    }

    /// What was written to stderr.
    pub(crate) fn said(&self) -> String {
        String::from_utf8_lossy(&self.recorded.stderr).into_owned()
    }

    /// What the trace says about itself.
    pub(crate) fn trace(&self) -> Value {
        info(&self.directory.path().join("trace.hlt"))
    }

    /// A total of the trace.
    pub(crate) fn total(&self, name: &str) -> u64 {
        self.trace()["summary"][name].as_u64().expect("a total")
    }
}

/// What a trace says about itself, after checking that it obeys every law.
pub(crate) fn info(trace: &Path) -> Value {
    heaplab().args(["trace", "verify"]).arg(trace).assert().success();
    let output = heaplab().args(["trace", "info", "--format", "json"]).arg(trace).output().expect("it runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("an object")
}

/// How many objects of that size a trace has.
pub(crate) fn count_sized(run: &Recorded, size: u64) -> usize {
    let path = run.directory.path().join("trace.hlt");
    let mut reader = heaplab_trace::TraceReader::open(&path).expect("a trace");
    let mut count = 0;
    while let Some(record) = reader.read_record().expect("a record") {
        if let heaplab_trace::Record::Event(event) = record
            && event.action.allocated().is_some_and(|(_, bytes)| bytes == size)
        {
            count += 1;
        }
    }
    count
}

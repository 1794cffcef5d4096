//! The programs of a run: each workload compiled once for each order and cut, in unnamed files, which disappear when
//! the run ends, however it ends. A load model has different ones in each block: [`Loads`] has them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use heaplab_workloads::program::{CompileError, Order, ProgramFile, ProgramInfo, Windows, compile};
use heaplab_workloads::stream::{RecordStream, StreamError};
use rustix::process::{Resource, getrlimit};

use super::error::MeasureError;
use crate::design::Step;

/// What determines a program: the workload, the order, and whether windows follow time.
type Key = (usize, Order, bool);

/// A compiled program, and what was learnt while compiling it.
pub type Program = Rc<(ProgramFile, ProgramInfo)>;

/// What a unit replays.
pub struct Load {
    /// The program.
    pub program: Program,
    /// The seed with which it was simulated; none for a recording.
    pub seed: Option<u64>,
    /// Whether each block has a different one.
    pub varies: bool,
}

/// The source of each unit's load.
pub trait Loads {
    /// The load of a step's unit, compiled for an order, with windows that follow time or not; none if the run was
    /// stopped meanwhile.
    ///
    /// # Errors
    ///
    /// It cannot be compiled.
    fn load(&self, step: &Step, order: Order, timed: bool) -> Result<Option<Load>, MeasureError>;
}

/// Compiled programs by what they were compiled from and for.
pub struct Programs {
    folder: PathBuf,
    compiled: HashMap<Key, Program>,
}

/// A program could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// There is no place for them.
    #[error("cannot write a program file in {}; set TMPDIR to one that can be written", std::env::temp_dir().display())]
    Folder(#[source] std::io::Error),
    /// There is too little room for them.
    #[error(
        "{folder} has room for {left_bytes} bytes{by_limit}, and the {programs} programs of {workload} take \
         {least_bytes} at least; set TMPDIR to a folder that has",
        by_limit = if *.by_limit { " in a file, by this process's limit (ulimit -f)" } else { "" }
    )]
    NoRoom {
        /// The folder.
        folder: PathBuf,
        /// What it has left.
        left_bytes: u64,
        /// Whether that is the most that this process may write to one file.
        by_limit: bool,
        /// The workload.
        workload: String,
        /// How many programs are compiled from it.
        programs: u64,
        /// The least that they take together.
        least_bytes: u64,
    },
    /// The workload could not be opened.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// It could not be compiled.
    #[error("workload {workload}")]
    Compile {
        /// The workload.
        workload: String,
        /// Why.
        #[source]
        source: CompileError,
    },
}

impl Programs {
    /// Creates an empty set of programs.
    ///
    /// # Errors
    ///
    /// The system's directory for temporary files cannot be written.
    pub fn new() -> Result<Programs, ProgramsError> {
        let folder = std::env::temp_dir();
        ProgramFile::create_in(&folder).map_err(ProgramsError::Folder)?;
        Ok(Programs { folder, compiled: HashMap::new() })
    }

    /// The folder for other files of the run.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Checks that the folder has room for a workload's programs, each of which takes at least `least_bytes`, before
    /// any time is spent on them. If the system does not say how much is left, it turns out later.
    ///
    /// # Errors
    ///
    /// There is too little room.
    pub fn check_room(&self, workload: &str, programs: u64, least_bytes: u64) -> Result<(), ProgramsError> {
        let together = least_bytes.saturating_mul(programs);
        let refuse = |left_bytes, by_limit| ProgramsError::NoRoom {
            folder: self.folder.clone(),
            left_bytes,
            by_limit,
            workload: workload.to_owned(),
            programs,
            least_bytes: together,
        };
        if let Some(most) = getrlimit(Resource::Fsize).current.filter(|most| *most < least_bytes) {
            return Err(refuse(most, true));
        }
        let stated = rustix::fs::statvfs(&self.folder).ok().filter(|stated| stated.f_blocks > 0);
        match stated.map(|stated| stated.f_bavail.saturating_mul(stated.f_frsize)) {
            Some(left) if left < together => Err(refuse(left, false)),
            _ => Ok(()),
        }
    }

    /// A program that exists already.
    #[must_use]
    pub fn get(&self, workload: usize, order: Order, timed: bool) -> Option<&Program> {
        self.compiled.get(&(workload, order, timed))
    }

    /// All programs of a workload, strict ones last.
    #[must_use]
    pub fn of_workload(&self, workload: usize) -> Vec<&Program> {
        let mut found: Vec<_> = self.compiled.iter().filter(|(key, _)| key.0 == workload).collect();
        found.sort_by_key(|((_, order, timed), _)| (*order == Order::Strict, *timed));
        found.into_iter().map(|(_, program)| program).collect()
    }

    /// Compiles the records of workload number `workload`, and keeps the program.
    ///
    /// # Errors
    ///
    /// Errors of the stream and of the compiler.
    pub fn compile(
        &mut self,
        workload: usize,
        name: &str,
        stream: &mut dyn RecordStream,
        cut: Windows,
        order: Order,
        progress: &mut dyn FnMut(u64),
    ) -> Result<&Program, ProgramsError> {
        let key = (workload, order, cut.time_ns.is_some());
        let program = self.compile_apart(name, stream, cut, order, progress)?;
        Ok(self.compiled.entry(key).insert_entry(program).into_mut())
    }

    /// Compiles the records of a workload named `name` to a program that the caller keeps.
    ///
    /// # Errors
    ///
    /// Errors of the stream and of the compiler.
    pub fn compile_apart(
        &self,
        name: &str,
        stream: &mut dyn RecordStream,
        cut: Windows,
        order: Order,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Program, ProgramsError> {
        let file = ProgramFile::create_in(&self.folder).map_err(ProgramsError::Folder)?;
        let info = compile(stream, &file, order, cut, progress)
            .map_err(|source| ProgramsError::Compile { workload: name.to_owned(), source })?;
        Ok(Rc::new((file, info)))
    }
}

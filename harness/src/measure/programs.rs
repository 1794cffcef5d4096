//! The programs of a run: each workload compiled once for each order and cut, in files without names, which are gone
//! when the run ends, however it ends.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use heaplab_workloads::program::{CompileError, Order, ProgramFile, ProgramInfo, Windows, compile};
use heaplab_workloads::stream::{RecordStream, StreamError};

/// What decides a program: the workload, the order, and whether windows follow time.
type Key = (usize, Order, bool);

/// Compiled programs by what they were compiled from and for.
pub struct Programs {
    folder: PathBuf,
    compiled: HashMap<Key, (ProgramFile, ProgramInfo)>,
}

/// A program could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ProgramsError {
    /// There is no place for them.
    #[error("cannot write a program file in {}; set TMPDIR to one that can be written", std::env::temp_dir().display())]
    Folder(#[source] std::io::Error),
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
    /// No programs yet.
    ///
    /// # Errors
    ///
    /// When the system's directory for temporary files cannot be written.
    pub fn new() -> Result<Programs, ProgramsError> {
        let folder = std::env::temp_dir();
        ProgramFile::create_in(&folder).map_err(ProgramsError::Folder)?;
        Ok(Programs { folder, compiled: HashMap::new() })
    }

    /// Where other files of the run may lie.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A program that is there already.
    #[must_use]
    pub fn get(&self, workload: usize, order: Order, timed: bool) -> Option<&(ProgramFile, ProgramInfo)> {
        self.compiled.get(&(workload, order, timed))
    }

    /// All programs of a workload, strict ones last.
    #[must_use]
    pub fn of_workload(&self, workload: usize) -> Vec<&(ProgramFile, ProgramInfo)> {
        let mut found: Vec<_> = self.compiled.iter().filter(|(key, _)| key.0 == workload).collect();
        found.sort_by_key(|((_, order, timed), _)| (*order == Order::Strict, *timed));
        found.into_iter().map(|(_, program)| program).collect()
    }

    /// Compiles the records of workload number `workload`.
    ///
    /// # Errors
    ///
    /// The stream's, and the compiler's.
    pub fn compile(
        &mut self,
        workload: usize,
        name: &str,
        stream: &mut dyn RecordStream,
        cut: Windows,
        order: Order,
        progress: &mut dyn FnMut(u64),
    ) -> Result<&(ProgramFile, ProgramInfo), ProgramsError> {
        let key = (workload, order, cut.time_ns.is_some());
        let file = ProgramFile::create_in(&self.folder).map_err(ProgramsError::Folder)?;
        let info = compile(stream, &file, order, cut, progress)
            .map_err(|source| ProgramsError::Compile { workload: name.to_owned(), source })?;
        Ok(self.compiled.entry(key).insert_entry((file, info)).into_mut())
    }
}

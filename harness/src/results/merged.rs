//! Writes the directory of a merged run: rows of other directories, byte for byte except for the run's name and the
//! machine.
//!
//! It appears under its name only when it is complete.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::packed;
use super::row_file::{FILES, io};
use super::row_index::{SampleRows, Span};
use super::{
    HeapMapCell, LatencyBucket, RequestRow, ResultsError, RunFile, Sample, SizeRow, StatsRow, TimelinePoint,
    columns, write_whole,
};

const CAPACITY: usize = 256 * 1024;

/// A merged run that is being written.
#[derive(Debug)]
pub struct MergedDirectory {
    /// Where it is until it is complete: next to its final place.
    place: TempDir,
    output: PathBuf,
    run_id: String,
    files: Vec<(PathBuf, BufWriter<File>)>,
    source: Option<Source>,
}

/// The files of the directory from which rows are copied: all open at once, because a unit's rows are in all of them.
#[derive(Debug)]
struct Source {
    directory: PathBuf,
    files: Vec<(PathBuf, File)>,
}

impl MergedDirectory {
    /// Starts a merged run at `output`, which must not exist or be empty.
    ///
    /// # Errors
    ///
    /// [`ResultsError::NotEmpty`], and errors of the system.
    pub fn create(output: &Path, run_id: &str) -> Result<MergedDirectory, ResultsError> {
        let is_free = match fs::read_dir(output) {
            Ok(mut entries) => entries.next().is_none(),
            Err(error) => error.kind() == std::io::ErrorKind::NotFound,
        };
        if !is_free {
            return Err(ResultsError::NotEmpty { path: output.to_owned() });
        }
        let beside = match output.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let place = tempfile::Builder::new()
            .prefix(".merging-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(beside)
            .map_err(io(beside, "write in"))?;
        let headers = [
            columns::<Sample>(),
            columns::<TimelinePoint>(),
            columns::<LatencyBucket>(),
            columns::<HeapMapCell>(),
            columns::<SizeRow>(),
            columns::<StatsRow>(),
            columns::<RequestRow>(),
        ];
        let mut files = Vec::new();
        for (name, header) in FILES.iter().zip(headers) {
            let path = place.path().join(name);
            let mut file =
                BufWriter::with_capacity(CAPACITY, File::create_new(&path).map_err(io(&path, "create"))?);
            writeln!(file, "{}", header.join(",")).map_err(io(&path, "write"))?;
            files.push((path, file));
        }
        Ok(MergedDirectory {
            place,
            output: output.to_owned(),
            run_id: run_id.to_owned(),
            files,
            source: None,
        })
    }

    /// Copies a sample's rows from its directory, and records on which machine it was measured.
    ///
    /// # Errors
    ///
    /// Errors of the system, and a row that was merged before.
    pub fn append(&mut self, from: &Path, sample: &SampleRows, machine: &str) -> Result<(), ResultsError> {
        let source = match self.source.take().filter(|source| source.directory == from) {
            Some(source) => source,
            None => Source::open(from)?,
        };
        for (at, spans) in sample.spans.iter().enumerate() {
            for &span in spans {
                let (path, file) = &mut self.files[at];
                source.copy(at, span, |row| {
                    write_row(file, row, &self.run_id, machine).map_err(io(path, "write"))
                })?;
            }
        }
        self.source = Some(source);
        Ok(())
    }

    /// Keeps a file of a merged directory unchanged, if it has one.
    ///
    /// # Errors
    ///
    /// Errors of the system.
    pub fn copy_file(&self, from: &Path, name: &str) -> Result<(), ResultsError> {
        let path = from.join(name);
        match fs::copy(&path, self.place.path().join(name)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io(&path, "copy")(error)),
            _ => Ok(()),
        }
    }

    /// Finishes the run: `run.toml` is written, and the directory gets its name.
    ///
    /// # Errors
    ///
    /// Errors of the system; a directory that is there by now is not replaced.
    pub fn finish(self, file: &RunFile) -> Result<(), ResultsError> {
        for (path, mut writer) in self.files {
            writer.flush().map_err(io(&path, "write"))?;
        }
        let path = self.place.path().join("run.toml");
        let text = toml::to_string(file)
            .map_err(|error| ResultsError::RunFile { path: path.clone(), detail: error.to_string() })?;
        write_whole(&path, text.as_bytes())?;
        // The system replaces an empty directory, and no other.
        fs::rename(self.place.path(), &self.output).map_err(io(&self.output, "create"))?;
        // It has a different name now: there is nothing to remove.
        let _ = self.place.keep();
        Ok(())
    }
}

impl Source {
    fn open(directory: &Path) -> Result<Source, ResultsError> {
        let open = |name: &&str| {
            let path = directory.join(name);
            let file = packed::open(&path).map_err(io(&path, "read"))?;
            Ok((path, file))
        };
        let files = FILES.iter().map(open).collect::<Result<_, ResultsError>>()?;
        Ok(Source { directory: directory.to_owned(), files })
    }

    /// Calls back with the rows of a span, each without its line end and its last cell, which is empty.
    fn copy(
        &self,
        at: usize,
        span: Span,
        mut take: impl FnMut(&[u8]) -> Result<(), ResultsError>,
    ) -> Result<(), ResultsError> {
        let (path, mut file) = (&self.files[at].0, &self.files[at].1);
        file.seek(SeekFrom::Start(span.offset)).map_err(io(path, "read"))?;
        let mut rows = BufReader::with_capacity(CAPACITY, file.take(span.length));
        let (mut row, mut left) = (Vec::new(), span.length);
        while left > 0 {
            row.clear();
            let length = rows.read_until(b'\n', &mut row).map_err(io(path, "read"))?;
            if length == 0 {
                let detail = "the file became shorter while it was read".to_owned();
                return Err(ResultsError::Row { path: path.clone(), line: 0, detail });
            }
            left -= length as u64;
            match row.strip_suffix(b",\n") {
                Some(row) if !row.starts_with(b"\"") => take(row)?,
                _ => {
                    let detail = "it states its machine: it is of a run that was merged before".to_owned();
                    return Err(ResultsError::Row { path: path.clone(), line: 0, detail });
                }
            }
        }
        Ok(())
    }
}

/// Writes a row with a different run name in its first cell and the machine in its last.
fn write_row(file: &mut impl Write, row: &[u8], run_id: &str, machine: &str) -> std::io::Result<()> {
    let name = row.iter().position(|&byte| byte == b',').unwrap_or(0);
    file.write_all(run_id.as_bytes())?;
    file.write_all(&row[name..])?;
    file.write_all(b",")?;
    file.write_all(machine.as_bytes())?;
    file.write_all(b"\n")
}

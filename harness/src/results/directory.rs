//! Writes a run's directory: rows as they come, so that an interrupted run is a valid smaller run.
//!
//! Data goes one way, from the workers' results into the files. A sample's points and buckets are written before its
//! row in samples.csv: a row there means that all of the sample is in the files. NOTE: nothing is synced to the device:
//! rows survive a crash of the process, not of the machine.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use super::packed;
use super::row_file::{FILES, RowFile, RunLock, io, lock_run};
use super::whole_file::write_whole;
use super::{
    HeapMapCell, LatencyBucket, Pass, RequestRow, ResultsError, Rows, RunFile, Sample, SizeRow, StatsRow,
    Status, TimelinePoint, columns, loading, reader,
};

/// What a sample measures: no two ok rows of samples.csv have the same key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SampleKey {
    /// Block of the randomised design.
    pub block: u32,
    /// Workload's name.
    pub workload: String,
    /// Variant's label.
    pub variant: String,
    /// What was measured.
    pub pass: Pass,
}

impl Sample {
    /// The key of this sample.
    pub fn key(&self) -> SampleKey {
        SampleKey {
            block: self.block,
            workload: self.workload.clone(),
            variant: self.variant.clone(),
            pass: self.pass,
        }
    }
}

/// A run's directory, open for writing. It belongs to one process at a time.
#[derive(Debug)]
pub struct RunDirectory {
    path: PathBuf,
    file: RunFile,
    _lock: RunLock,
    samples: RowFile,
    timeline: RowFile,
    latency: RowFile,
    heap_map: RowFile,
    sizes: RowFile,
    stats: RowFile,
    requests: RowFile,
    done: BTreeSet<SampleKey>,
    /// What the run is warned of once another sample is written.
    mixed: Option<String>,
}

impl RunDirectory {
    /// Starts a run in `directory`, which is created if it does not exist. A directory that holds a run is refused.
    pub fn create(directory: &Path, file: RunFile) -> Result<RunDirectory, ResultsError> {
        fs::create_dir_all(directory).map_err(io(directory, "create"))?;
        if directory.join("run.toml").exists() {
            return Err(ResultsError::HoldsRun { path: directory.to_owned() });
        }
        clear_false_start(directory)?;
        let samples = RowFile::create(directory.join("samples.csv"), columns::<Sample>())?;
        let lock = samples.lock(directory)?;
        let run = RunDirectory {
            path: directory.to_owned(),
            file,
            _lock: lock,
            samples,
            timeline: RowFile::create(directory.join("timeline.csv"), columns::<TimelinePoint>())?,
            latency: RowFile::create(directory.join("latency.csv"), columns::<LatencyBucket>())?,
            heap_map: RowFile::create(directory.join("heapmap.csv"), columns::<HeapMapCell>())?,
            sizes: RowFile::create(directory.join("sizes.csv"), columns::<SizeRow>())?,
            stats: RowFile::create(directory.join("stats.csv"), columns::<StatsRow>())?,
            requests: RowFile::create(directory.join("requests.csv"), columns::<RequestRow>())?,
            done: BTreeSet::new(),
            mixed: None,
        };
        run.write_run_file()?;
        Ok(run)
    }

    /// Continues the run in `directory`: [`RunDirectory::done`] says what need not be measured again.
    ///
    /// Torn last rows are cut off, and points and buckets of samples that did not end well are dropped, so that a
    /// sample that is measured again does not count twice.
    pub fn resume(directory: &Path) -> Result<RunDirectory, ResultsError> {
        let lock = packed::lock(directory)?;
        let mut file = reader::read_run_file(directory)?;
        file.finished = false;
        let samples = RowFile::open(directory.join("samples.csv"), columns::<Sample>())?;
        packed::unpack_locked(directory)?;
        let run = loading::load(directory)?;
        let whole = run.samples.iter().enumerate().filter(|(place, sample)| {
            sample.status == Status::Ok
                && !["timeline.csv", "latency.csv"].iter().any(|name| run.lacks_rows(name, *place))
        });
        let done: BTreeSet<SampleKey> = whole.map(|(_, sample)| sample.key()).collect();
        reader::keep_rows_of_ok_samples::<TimelinePoint>(&run, "timeline.csv", &reader::TIMELINE_PASSES)?;
        reader::keep_rows_of_ok_samples::<LatencyBucket>(&run, "latency.csv", &[Pass::Latency])?;
        let heap_map = directory.join("heapmap.csv");
        if heap_map.exists() {
            reader::keep_rows_of_ok_samples::<HeapMapCell>(&run, "heapmap.csv", &[Pass::Memory])?;
        } else {
            // The run was started by an earlier heaplab.
            RowFile::create(heap_map.clone(), columns::<HeapMapCell>())?;
        }
        let sizes = directory.join("sizes.csv");
        if sizes.exists() {
            reader::keep_rows_of_ok_samples::<SizeRow>(&run, "sizes.csv", &[Pass::Memory])?;
        } else {
            RowFile::create(sizes.clone(), columns::<SizeRow>())?;
        }
        let stats = directory.join("stats.csv");
        if stats.exists() {
            reader::keep_rows_of_ok_samples::<StatsRow>(&run, "stats.csv", &[Pass::Memory])?;
        } else {
            RowFile::create(stats.clone(), columns::<StatsRow>())?;
        }
        let requests = directory.join("requests.csv");
        if requests.exists() {
            reader::keep_rows_of_ok_samples::<RequestRow>(&run, "requests.csv", &[Pass::Memory])?;
        } else {
            RowFile::create(requests.clone(), columns::<RequestRow>())?;
        }
        let run = RunDirectory {
            path: directory.to_owned(),
            file,
            _lock: lock,
            samples,
            timeline: RowFile::open(directory.join("timeline.csv"), columns::<TimelinePoint>())?,
            latency: RowFile::open(directory.join("latency.csv"), columns::<LatencyBucket>())?,
            heap_map: RowFile::open(heap_map, columns::<HeapMapCell>())?,
            sizes: RowFile::open(sizes, columns::<SizeRow>())?,
            stats: RowFile::open(stats, columns::<StatsRow>())?,
            requests: RowFile::open(requests, columns::<RequestRow>())?,
            done,
            mixed: None,
        };
        run.write_run_file()?;
        Ok(run)
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What `run.toml` says.
    pub fn file(&self) -> &RunFile {
        &self.file
    }

    /// The samples that exist, are ok and have all of their rows. Others are measured again.
    pub fn done(&self) -> &BTreeSet<SampleKey> {
        &self.done
    }

    /// From the next sample on, `run.toml` has this warning: the samples are then not all of one kind.
    pub fn warn_if_mixed(&mut self, warning: String) {
        self.mixed = Some(warning);
    }

    /// Writes one sample with its points, buckets and cells. They count only for a sample that is ok.
    pub fn append(&mut self, rows: &Rows) -> Result<(), ResultsError> {
        if let Some(warning) = self.mixed.take() {
            self.update(|file| file.warnings.push(warning))?;
        }
        let mut sample = rows.sample.clone();
        if sample.status == Status::Ok {
            let count = |rows: usize| Some(rows as u64).filter(|rows| *rows > 0);
            (sample.timeline_rows, sample.latency_rows) =
                (count(rows.timeline.len()), count(rows.latency.len()));
            self.timeline.append(&rows.timeline)?;
            self.latency.append(&rows.latency)?;
            self.heap_map.append(&rows.heap_map)?;
            self.sizes.append(&rows.sizes)?;
            self.stats.append(&rows.stats)?;
            self.requests.append(&rows.requests)?;
        }
        self.samples.append(std::slice::from_ref(&sample))?;
        if sample.status == Status::Ok {
            self.done.insert(sample.key());
        }
        Ok(())
    }

    /// Changes the content of `run.toml`, and writes the file again.
    pub fn update(&mut self, change: impl FnOnce(&mut RunFile)) -> Result<(), ResultsError> {
        change(&mut self.file);
        self.write_run_file()
    }

    /// Records that every sample was taken.
    pub fn finish(&mut self) -> Result<(), ResultsError> {
        self.update(|file| file.finished = true)
    }

    fn write_run_file(&self) -> Result<(), ResultsError> {
        let path = self.path.join("run.toml");
        let text = toml::to_string(&self.file)
            .map_err(|error| ResultsError::RunFile { path: path.clone(), detail: error.to_string() })?;
        write_whole(&path, text.as_bytes())
    }
}

/// Removes what a run left that was killed before it had its `run.toml`, the last file to be created: files without
/// rows.
fn clear_false_start(directory: &Path) -> Result<(), ResultsError> {
    let samples = directory.join("samples.csv");
    if !samples.exists() {
        return Ok(());
    }
    let header = format!("{}\n", columns::<Sample>().join(","));
    let found = fs::read(&samples).map_err(io(&samples, "read"))?;
    if !header.as_bytes().starts_with(&found) {
        return Err(ResultsError::HoldsRun { path: directory.to_owned() });
    }
    // It may be another process that is creating the other files at this moment.
    let is_begun = found.len() == header.len();
    let _lock = is_begun.then(|| lock_run(directory)).transpose()?;
    for path in FILES.iter().map(|name| directory.join(name)).filter(|path| path.exists()) {
        fs::remove_file(&path).map_err(io(&path, "remove"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> RunFile {
        let text = "schema = 2\nheaplab_version = \"1\"\nrun_id = \"r\"\nstarted_utc = \"\"\nargv = []\n[options]\n\
                    seed = \"1\"\npasses = []\nreps = 1\n";
        toml::from_str(text).expect("a run file")
    }

    /// Between the two moments in which a resumed run looks for a torn row and cuts it off, a run that goes on may have
    /// completed it.
    #[test]
    fn a_run_that_is_being_written_loses_nothing_to_a_refused_resume() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let samples = place.path().join("samples.csv");
        let run = RunDirectory::create(place.path(), file()).expect("creates");
        let torn = fs::read_to_string(&samples).expect("readable") + "1,2";
        fs::write(&samples, &torn).expect("writable");
        let error = RunDirectory::resume(place.path()).expect_err("it is being written");
        assert!(matches!(error, ResultsError::InUse { .. }), "{error}");
        assert_eq!(fs::read_to_string(&samples).expect("readable"), torn);
        drop(run);
        drop(RunDirectory::resume(place.path()).expect("it resumes"));
        assert_eq!(torn.strip_suffix("1,2"), fs::read_to_string(&samples).ok().as_deref());
    }

    #[test]
    fn a_run_that_was_killed_before_it_had_a_row_is_begun_anew() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let samples = place.path().join("samples.csv");
        drop(RunDirectory::create(place.path(), file()).expect("creates"));
        let header = fs::read_to_string(&samples).expect("readable");
        for kept in ["", &header[..10], &header] {
            fs::remove_file(place.path().join("run.toml")).expect("removable");
            fs::write(&samples, kept).expect("writable");
            drop(RunDirectory::create(place.path(), file()).expect("creates again"));
        }
        fs::remove_file(place.path().join("run.toml")).expect("removable");
        for kept in ["a,b\n1,2\n", "notes", &format!("{header}1")] {
            fs::write(&samples, kept).expect("writable");
            let error = RunDirectory::create(place.path(), file()).expect_err("nothing is thrown away");
            assert!(matches!(error, ResultsError::HoldsRun { .. }), "{error}");
            assert_eq!(fs::read_to_string(&samples).expect("readable"), kept);
        }
    }
}

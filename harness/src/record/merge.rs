//! From raw files to traces: one for each image that recorded something.
//!
//! The requested trace is that of the last image of the process that represents the recording: the last program that
//! it executed. The trace of another image has the process's PID and the image's ordinal in its name.

use std::path::{Path, PathBuf};

use heaplab_raw::ImageId;
use heaplab_trace::{Coverage, Summary};
use heaplab_workloads::import::raw;
use indicatif::{ProgressBar, ProgressStyle};

use super::directory::Directory;
use super::watch::Ended;
use super::{RecordError, Settings, diagnosis};

/// What was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The traces, the requested one first.
    pub traces: Vec<Recording>,
    /// The manifest, if there is more than one process or image.
    pub manifest: Option<PathBuf>,
}

/// One trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Its image.
    pub image: ImageId,
    /// Its file.
    pub path: PathBuf,
    /// The file's length.
    pub file_bytes: u64,
    /// Its totals.
    pub summary: Summary,
    /// What it covers of its process.
    pub coverage: Coverage,
    /// What was missing or damaged in the raw files, in words.
    pub problems: Vec<String>,
    /// The history that the trace of a forked process begins with.
    pub inherited: Option<raw::Inherited>,
}

/// Makes the traces.
pub(super) fn merge(
    settings: &Settings,
    directory: &Directory,
    ended: &Ended,
) -> Result<Recorded, RecordError> {
    if directory.files()?.is_empty() {
        return Err(RecordError::Nothing { reason: explain(settings, directory, ended)? });
    }
    let failed = |source| RecordError::Merge { directory: directory.path().into(), source };
    let recording = raw::Recording::open(directory.path()).map_err(failed)?;
    let mut images: Vec<ImageId> =
        recording.images().iter().copied().filter(|image| recording.has_content(*image)).collect();
    let is_own = |image: &ImageId| number_of(&recording, *image) == ended.main;
    let own = images.iter().rposition(is_own);
    let Some(last) = own.or(images.len().checked_sub(1)) else {
        return Err(RecordError::Nothing { reason: explain(settings, directory, ended)? });
    };
    images[..=last].rotate_right(1);
    let mut traces = Vec::new();
    for (at, image) in images.into_iter().enumerate() {
        let path = if at == 0 { settings.output.clone() } else { name(&settings.output, image) };
        traces.push(make(directory, &recording, image, path)?);
    }
    traces[0].problems.extend(recording.omitted());
    Ok(Recorded { traces, manifest: None })
}

/// The PID that an image's process had here.
pub(super) fn number_of(recording: &raw::Recording, image: ImageId) -> u32 {
    recording.facts_of(image, |page| page.host_process()).flatten().unwrap_or(image.pid)
}

fn make(
    directory: &Directory,
    recording: &raw::Recording,
    image: ImageId,
    path: PathBuf,
) -> Result<Recording, RecordError> {
    let failed = |source| RecordError::Merge { directory: directory.path().into(), source };
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("merge {bar:40} {percent:>3} %  {msg} events  {eta} left")
    {
        bar.set_style(style);
    }
    let report = recording.import(image, &path, &mut |progress| {
        bar.set_length(progress.total_bytes);
        bar.set_position(progress.read_bytes);
        bar.set_message(progress.events.to_string());
    });
    bar.finish_and_clear();
    let report = report.map_err(failed)?;
    let file_bytes = std::fs::metadata(&path)
        .map_err(|source| RecordError::Io {
            what: "read the length of the trace",
            path: path.clone(),
            source,
        })?
        .len();
    let coverage = Coverage::of(&report.header, &report.summary);
    let raw::ImageReport { summary, problems, inherited, .. } = report;
    Ok(Recording { image, path, file_bytes, summary, coverage, problems, inherited })
}

/// The name of another image's trace: `server.hlt` and image 3 of process 4211 make `server.4211-3.hlt`.
fn name(output: &Path, image: ImageId) -> PathBuf {
    let extension = output.extension().unwrap_or("hlt".as_ref()).to_string_lossy();
    output.with_extension(format!("{}-{}.{extension}", image.pid, image.ordinal))
}

fn explain(settings: &Settings, directory: &Directory, ended: &Ended) -> Result<String, RecordError> {
    if !ended.was_recording() {
        return Ok(
            "it started paused, and was still paused when the program exited: send SIGUSR1 to heaplab to record"
                .to_string(),
        );
    }
    if let Some(cause) = ended.failure() {
        return Ok(format!("no room for the raw files next to the trace: {cause}"));
    }
    if !directory.files()?.is_empty() {
        return Ok("the program allocated nothing while it was recorded".to_string());
    }
    let mut reasons = ended.processes.all().iter().filter_map(|process| process.not_recorded.clone());
    Ok(reasons.next_back().unwrap_or_else(|| diagnosis::explain(&settings.program)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_images_have_their_number_before_the_extension() {
        let image = ImageId { pid: 4211, ordinal: 3 };
        assert_eq!(name(Path::new("a/server.hlt"), image), Path::new("a/server.4211-3.hlt"));
        assert_eq!(name(Path::new("server"), image), Path::new("server.4211-3.hlt"));
    }
}

//! The import of one image: its own records, preceded by what it inherited if it was forked.

use std::collections::BTreeSet;
use std::path::Path;

use heaplab_raw::{ImageId, Text};
use heaplab_trace::TraceFile;

use super::index::{Chunk, Index, Sources};
use super::lineage::{self, Ancestor, Found};
use super::merge::{self, Part, Sink, ThreadFacts};
use super::samples::{Facts, Residents};
use super::stream::Stream;
use super::{ImageReport, ImportError, Inherited, Problems, Progress, Recording, header};

/// The import of one image.
pub(super) struct Job<'a> {
    pub(super) recording: &'a Recording,
    pub(super) image: ImageId,
    /// The process's PID where the command ran.
    pub(super) number: u32,
    pub(super) sources: &'a Sources,
    pub(super) index: &'a Index<'a>,
    /// The images that it descends from by forks, oldest first.
    pub(super) line: &'a [Ancestor<'a>],
    pub(super) facts: &'a Facts,
}

impl Job<'_> {
    pub(super) fn run(
        &self,
        output: &Path,
        mut problems: Problems,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<ImageReport, ImportError> {
        let image = self.index.image();
        let wall_clock_ns = self.recording.wall_clock_ns;
        let streams = streams_of(self.sources, self.index);
        let begin_us = match image {
            Some(image) => image.head().tick.elapsed_us(),
            None => streams.iter().map(Stream::begin_us).min().unwrap_or(0),
        };
        let inherited = self.find_inherited(begin_us, &mut problems)?;
        let base_us = inherited.map_or(begin_us, |inherited| inherited.begin_us);
        let mut header =
            header::make(self.image, self.number, image, self.facts, wall_clock_ns, inherited, &problems);
        let until_us = self.end_us();
        let pauses: Vec<_> = self.facts.pauses(self.number, base_us, until_us).collect();
        header.notes.extend(header::describe_pauses(&pauses));
        let directory = &self.recording.directory;
        let residents = Residents::open(directory, self.number, begin_us, until_us)
            .map_err(|source| ImportError::Io { path: directory.clone(), doing: "read", source })?;
        let line = if inherited.is_some() { self.line } else { &[] };
        let mut parts: Vec<Part<'_>> = line.iter().map(|ancestor| self.part_of_ancestor(ancestor)).collect();
        parts.push(self.part(self.image, self.number, streams, until_us, None));
        let mut trace = TraceFile::create(output, &header)?;
        let mut sink = Sink::new(&mut trace, directory, residents, base_us);
        sink.add_pauses(&pauses);
        let total_bytes = line.iter().map(|ancestor| &ancestor.index).chain([self.index]);
        let total_bytes = total_bytes.map(|index| index.chunk_bytes).sum::<u64>();
        let report = |read_bytes: u64, events| {
            progress(Progress { read_bytes: read_bytes.min(total_bytes), total_bytes, events });
        };
        let (mut counts, machinery) =
            merge::merge(&mut parts, &mut sink, &self.initial_name(), &mut problems, report)?;
        let inherited = inherited.map(|found| Inherited { events: sink.events_at_fork(), ..found });
        counts.lost = counts.lost.saturating_add(image.map_or(0, |image| image.lost()));
        trace.set_source_counts(counts);
        let summary = trace.finish()?;
        Ok(ImageReport { header, summary, problems: problems.told(), machinery, inherited })
    }

    /// The history that the trace starts with; none if the image started with a program, or if it is not known or too
    /// long, which is a problem.
    fn find_inherited(
        &self,
        begin_us: u64,
        problems: &mut Problems,
    ) -> Result<Option<Inherited>, ImportError> {
        let Some((first, last)) = self.line.first().zip(self.line.last()) else { return Ok(None) };
        let left = &self.recording.inherited_left;
        let mut rest = left.get();
        let mut forked_us = 0;
        for ancestor in self.line {
            let mut streams = streams_of(self.sources, &ancestor.index);
            match lineage::find_fork(&mut streams, ancestor.fork, begin_us, rest)? {
                Found::At(fork) => (forked_us, rest) = (fork.at_us, rest - fork.records),
                Found::Nowhere => {
                    problems.add("where it was forked is not in its parent's recording".to_string());
                    return Ok(None);
                }
                Found::TooLate => {
                    problems.add(
                        "what it inherited took more records than the traces of one recording have room for"
                            .to_string(),
                    );
                    return Ok(None);
                }
            }
        }
        left.set(rest);
        let head = first.index.image().map(|image| image.head().tick.elapsed_us());
        Ok(Some(Inherited { parent: last.id, begin_us: head.unwrap_or(0), forked_us, events: 0 }))
    }

    fn part_of_ancestor<'s>(&'s self, ancestor: &'s Ancestor<'_>) -> Part<'s> {
        let number = ancestor.index.image().and_then(|image| image.host_process());
        let streams = streams_of(self.sources, &ancestor.index);
        self.part(ancestor.id, number.unwrap_or(ancestor.id.pid), streams, u64::MAX, Some(ancestor.fork))
    }

    fn part<'s>(
        &self,
        image: ImageId,
        number: u32,
        streams: Vec<Stream<'s>>,
        until_us: u64,
        until_fork: Option<u32>,
    ) -> Part<'s> {
        let initial = streams.iter().position(|stream| stream.tid() == image.pid);
        let facts = self.thread_facts(number, &streams, until_us);
        Part { streams, facts, initial, until_fork }
    }

    /// When the process started another image, if it did: later samples do not belong to this one.
    fn end_us(&self) -> u64 {
        let is_later = |image: &&ImageId| {
            image.ordinal > self.image.ordinal && self.recording.is_same_process(self.image, **image)
        };
        let next = self.recording.images.iter().find(is_later);
        let begin =
            next.and_then(|next| self.recording.facts_of(*next, |image| image.head().tick.elapsed_us()));
        begin.unwrap_or(u64::MAX)
    }

    fn thread_facts(&self, number: u32, streams: &[Stream<'_>], until_us: u64) -> Vec<ThreadFacts> {
        // The kernel reuses a thread's identifier once the thread has exited.
        let begins: BTreeSet<(u32, u64)> =
            streams.iter().map(|stream| (stream.tid(), stream.begin_us())).collect();
        let names = streams.iter().map(|stream| {
            let (tid, begin_us) = (stream.tid(), stream.begin_us());
            let next = begins.range((tid, begin_us + 1)..).next();
            let from_us = if begins.range((tid, 0)..(tid, begin_us)).next().is_some() { begin_us } else { 0 };
            let until_us = next.filter(|(of, _)| *of == tid).map_or(until_us, |(_, begin_us)| *begin_us);
            let name = self.facts.thread_name(number, tid, from_us, until_us);
            ThreadFacts { name: name.map(str::to_string) }
        });
        names.collect()
    }

    /// The initial thread's name where none was ever sampled: the kernel gives it the executable's.
    fn initial_name(&self) -> String {
        let program: Vec<u8> =
            self.index.image().map(|image| image.text(Text::Program).collect()).unwrap_or_default();
        let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
        String::from_utf8_lossy(&name[..name.len().min(15)]).into_owned()
    }
}

/// A stream for each thread of an image.
fn streams_of<'a>(sources: &'a Sources, index: &'a Index<'_>) -> Vec<Stream<'a>> {
    let same_thread = |one: &Chunk, other: &Chunk| one.head.thread == other.head.thread;
    index.chunks.chunk_by(same_thread).map(|chunks| Stream::new(sources, chunks)).collect()
}

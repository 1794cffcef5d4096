//! Makes the directory of a run that never happened: figures with realistic shapes, from a seed.

use std::path::Path;

use heaplab::design::{ReplayOptions, RunOptions};
use heaplab::results::{
    HeapMapCell, LatencyBucket, Moment, Pass, Rows, RunBuild, RunDirectory, RunFile, RunVariant, RunWorkload,
    SCHEMA, Sample, SampleKey, Status, TimelinePoint, columns,
};

/// What the run should look like.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    pub(crate) workloads: Vec<String>,
    pub(crate) variants: Vec<String>,
    pub(crate) blocks: u32,
    pub(crate) passes: Vec<Pass>,
    pub(crate) has_times: bool,
    /// Multiplies every size and time.
    pub(crate) scale: f64,
    pub(crate) checkpoints: u64,
    /// Whether each block has a load of its own, as of a load model.
    pub(crate) varies_load: bool,
    /// The variant whose samples all fail.
    pub(crate) broken: Option<String>,
    /// Latencies and memory of zero.
    pub(crate) zero: bool,
    /// Every variant behaves like the first.
    pub(crate) alike: bool,
    pub(crate) finished: bool,
    /// Whether a workload `m:connections=N` is the model `m` with N connections, and memory grows with them.
    pub(crate) loads: bool,
    /// The harness's share of an event's busy time, in ns; none for a run without busy time.
    pub(crate) harness_ns: Option<f64>,
}

impl Shape {
    pub(crate) fn new(variants: &[&str], blocks: u32) -> Shape {
        Shape {
            workloads: vec!["monitor-server".to_owned()],
            variants: variants.iter().map(|label| (*label).to_owned()).collect(),
            blocks,
            passes: vec![Pass::Throughput, Pass::Latency, Pass::Memory],
            has_times: true,
            scale: 1.0,
            checkpoints: 400,
            varies_load: true,
            broken: None,
            zero: false,
            alike: false,
            finished: true,
            loads: false,
            harness_ns: None,
        }
    }

    /// Writes the run.
    pub(crate) fn write(&self, directory: &Path) {
        let mut run = RunDirectory::create(directory, self.file()).expect("a new run");
        self.append_all(&mut run, |_| true);
        if self.finished {
            run.finish().expect("run.toml is written");
        }
    }

    /// Appends the wanted samples.
    pub(crate) fn append_all(&self, run: &mut RunDirectory, wanted: impl Fn(&SampleKey) -> bool) {
        for block in 0..self.blocks {
            for workload in &self.workloads {
                for (at, variant) in self.variants.iter().enumerate() {
                    for &pass in &self.passes {
                        let key =
                            SampleKey { block, workload: workload.clone(), variant: variant.clone(), pass };
                        if wanted(&key) {
                            self.append(run, Place { block, workload, variant, at, pass });
                        }
                    }
                }
            }
        }
    }

    pub(crate) fn file(&self) -> RunFile {
        let workload = |name: &String| RunWorkload {
            name: name.clone(),
            source: "definition monitor-server".to_owned(),
            trace_hash: Some("ab".repeat(32)),
            has_times: self.has_times,
            varies_load: self.varies_load,
            events: Some(EVENTS),
            threads: Some(26),
            requested_peak_bytes: Some((100.0 * MIB * self.scale) as u64),
            model: self.connections(name).map(|_| name.split(':').next().unwrap_or_default().to_owned()),
            connections: self.connections(name),
            ..RunWorkload::default()
        };
        let variant = |label: &String| RunVariant {
            label: label.clone(),
            allocator: allocator(label),
            version: Some("1.2.3".to_owned()),
            ..RunVariant::default()
        };
        RunFile {
            shard: None,
            schema: SCHEMA,
            heaplab_version: "0.1.0".to_owned(),
            build: Some(RunBuild { profile: "release".to_owned(), commit: Some("0123456789ab".to_owned()) }),
            run_id: "20300131T120000Z-monitor-server".to_owned(),
            started_utc: "2030-01-31T12:00:00Z".to_owned(),
            argv: ["heaplab", "run", "monitor-server", "-o", "a directory"].map(str::to_owned).to_vec(),
            working_directory: "/home".to_owned(),
            finished: false,
            warnings: vec!["THP is always".to_owned()],
            options: RunOptions {
                seed: u64::MAX,
                passes: self.passes.clone(),
                reps: self.blocks,
                timeout_ns: Some(600_000_000_000),
                replay: Some(ReplayOptions {
                    checkpoints: self.checkpoints as u32,
                    ..ReplayOptions::default()
                }),
                ..RunOptions::default()
            },
            workloads: self.workloads.iter().map(workload).collect(),
            trees: Vec::new(),
            variants: self.variants.iter().map(variant).collect(),
            machine: toml::Table::from_iter([
                ("cpu".to_owned(), "Example 9000".into()),
                ("cores".to_owned(), 2.into()),
            ]),
            machines: Vec::new(),
        }
    }

    /// The connections in a workload's name.
    fn connections(&self, workload: &str) -> Option<u32> {
        workload.rsplit_once("connections=").filter(|_| self.loads)?.1.parse().ok()
    }

    fn append(&self, run: &mut RunDirectory, place: Place<'_>) {
        let own = u64::from(place.block) << 16 | (place.at as u64) << 8 | place.pass as u64;
        let place = Place { at: if self.alike { 0 } else { place.at }, ..place };
        let mut random = Random(own);
        let ok = self.broken.as_ref() != Some(place.variant);
        let mut cells = self.cells(&place, ok);
        let mut timeline = Vec::new();
        let mut latency = Vec::new();
        if ok {
            match place.pass {
                Pass::Throughput => self.throughput(&place, &mut random, &mut cells),
                Pass::Latency => latency = self.latency(&place, &mut random),
                _ => timeline = self.memory(&place, &mut random, &mut cells),
            }
        }
        let heap_map = if ok && place.block == 0 && place.pass == Pass::Memory {
            self.heap_map(&place)
        } else {
            Vec::new()
        };
        run.append(&Rows {
            sample: sample(&cells),
            timeline,
            latency,
            heap_map,
            sizes: Vec::new(),
            requests: Vec::new(),
            stats: Vec::new(),
        })
        .expect("a sample is written");
    }

    fn cells(&self, place: &Place<'_>, ok: bool) -> Vec<(&'static str, String)> {
        vec![
            ("run_id", RUN.to_owned()),
            ("block", place.block.to_string()),
            ("workload", place.workload.clone()),
            ("variant", place.variant.clone()),
            ("allocator", allocator(place.variant)),
            ("cpus", "2".to_owned()),
            ("pass", heaplab_word(&place.pass)),
            ("pace", if place.pass == Pass::Memory && self.has_times { "virtual" } else { "max" }.to_owned()),
            ("order", "causal".to_owned()),
            ("touch", "page".to_owned()),
            ("status", heaplab_word(&if ok { Status::Ok } else { Status::Timeout })),
            ("status_detail", if ok { String::new() } else { "no end after 600 s,\nstopped".to_owned() }),
            ("truncated", "false".to_owned()),
            ("events", EVENTS.to_string()),
        ]
    }

    fn throughput(&self, place: &Place<'_>, random: &mut Random, cells: &mut Vec<(&'static str, String)>) {
        let drift = 1.0 + 0.2 * f64::from(place.block % 3);
        let wall_ns =
            EVENTS as f64 * (40.0 + 6.0 * (place.at % 5) as f64) * self.scale * drift * random.near_one(0.03);
        cells.extend([
            ("wall_ns", (wall_ns as u64).max(1).to_string()),
            ("cpu_user_ns", ((wall_ns * 1.4) as u64).to_string()),
            ("cpu_system_ns", ((wall_ns * 0.2) as u64).to_string()),
            ("page_faults_minor", "31000".to_owned()),
            ("page_faults_major", "0".to_owned()),
        ]);
        if let Some(harness_ns) = self.harness_ns {
            // floor has page faults, and nothing else of its own.
            let own_ns = if place.variant == "floor" { 0.0 } else { 8.0 + 4.0 * place.at as f64 };
            let kernel_ns = 3.0;
            let each = |ns: f64, random: &mut Random| {
                ((EVENTS as f64 * ns * self.scale * drift * random.near_one(0.02)) as u64).to_string()
            };
            cells.push(("busy_ns", each(harness_ns + own_ns + kernel_ns, random)));
            cells.push(("busy_system_ns", each(kernel_ns, random)));
        }
    }

    fn memory(
        &self,
        place: &Place<'_>,
        random: &mut Random,
        cells: &mut Vec<(&'static str, String)>,
    ) -> Vec<TimelinePoint> {
        let load = self.connections(place.workload).map_or(1.0, |connections| f64::from(connections) / 100.0);
        let unit = if self.zero { 0.0 } else { MIB * self.scale * load };
        let overhead = (1.08 + 0.09 * (place.at % 4) as f64) * random.near_one(0.02);
        let mut held = 0.0f64;
        let mut points = Vec::new();
        let (mut peak, mut sum) = (0.0f64, 0.0);
        for step in 0..self.checkpoints {
            let part = step as f64 / self.checkpoints.max(2) as f64;
            let requested =
                unit * (20.0 + 60.0 * part.min(0.4) / 0.4 + 20.0 * (part * 25.0).sin() * part.min(0.5));
            let usable = requested * (1.02 + 0.02 * (place.at % 3) as f64);
            held = (held * 0.97).max(requested * (overhead - 1.0)) * random.near_one(0.01);
            let resident = usable + held;
            (peak, sum) = (peak.max(resident), sum + resident);
            points.push(TimelinePoint {
                run_id: RUN.to_owned(),
                block: place.block,
                workload: place.workload.clone(),
                variant: place.variant.clone(),
                time_ns: if self.has_times { step * 150_000_000 } else { step * EVENTS / self.checkpoints },
                requested_bytes: Some(requested as u64),
                usable_bytes: Some(usable as u64),
                resident_bytes: resident as u64,
                ..TimelinePoint::default()
            });
        }
        let mean = sum / self.checkpoints.max(1) as f64;
        let figures = [
            ("requested_peak_bytes", 100.0 * unit),
            ("requested_peak_reached_bytes", 100.0 * unit),
            ("usable_peak_bytes", 103.0 * unit),
            ("resident_peak_bytes", peak),
            ("resident_mean_bytes", mean),
            ("resident_end_bytes", mean * 0.9),
            ("resident_drained_bytes", mean * 0.6),
            ("resident_settled_bytes", mean * 0.2 * (place.at % 4) as f64),
            ("at_peak_resident_bytes", 100.0 * unit * overhead),
            ("at_peak_requested_bytes", 100.0 * unit),
            ("at_peak_internal_bytes", 3.0 * unit),
            ("at_peak_untouched_bytes", 9.0 * unit),
            ("at_peak_held_bytes", 100.0 * unit * (overhead - 1.0)),
            ("page_table_bytes", 900.0 * 1024.0),
            ("page_table_harness_bytes", 600.0 * 1024.0),
            ("library_file_bytes", 1.25 * MIB),
            ("threads", 26.0),
        ];
        cells.extend(figures.map(|(name, value)| (name, (value as u64).to_string())));
        if place.at != 2 {
            cells.push(("resident_purged_bytes", ((mean * 0.05) as u64).to_string()));
        }
        points
    }

    /// Two regions at the peak, the second of them held by little; a part of them after the drain.
    fn heap_map(&self, place: &Place<'_>) -> Vec<HeapMapCell> {
        let cell = |moment, region, at: u64| HeapMapCell {
            run_id: RUN.to_owned(),
            block: place.block,
            workload: place.workload.clone(),
            variant: place.variant.clone(),
            moment,
            region,
            offset_bytes: at * 65_536,
            span_bytes: 65_536,
            resident_bytes: if at.is_multiple_of(7) { 20_480 } else { 65_536 },
            machine: None,
            live_bytes: match moment {
                Moment::Peak if region == 0 => 20_480 - at % 5 * 4_000,
                Moment::Peak => at % 3 / 2 * 100,
                Moment::ResidentPeak | Moment::Drained => 0,
            },
        };
        let count = 300 + 100 * place.at as u64;
        let at_peak = (0..count).map(|at| cell(Moment::Peak, u64::from(at > count / 2), at));
        let drained = (0..count / 3).map(|at| cell(Moment::Drained, 0, at * 2));
        at_peak.chain(drained).collect()
    }

    fn latency(&self, place: &Place<'_>, random: &mut Random) -> Vec<LatencyBucket> {
        let mut rows = Vec::new();
        let operations =
            [("malloc", 30.0), ("calloc", 45.0), ("realloc", 80.0), ("free", 25.0), ("timer", 15.0)];
        for (operation, base) in operations {
            for scope in ["call", "touch"] {
                if scope == "touch" && matches!(operation, "free" | "timer") {
                    continue;
                }
                let slow = if scope == "touch" { 8.0 } else { 1.0 };
                let own =
                    if operation == "timer" { 1.0 } else { slow * (1.0 + 0.25 * (place.at % 4) as f64) };
                for step in 0..90u32 {
                    let spread = if operation == "timer" { 1.03f64 } else { 1.12 };
                    let value = base * self.scale * own * spread.powi(step as i32) * random.near_one(0.01);
                    let count = 400_000.0 * 0.85f64.powi(step as i32);
                    rows.push(LatencyBucket {
                        run_id: RUN.to_owned(),
                        block: place.block,
                        workload: place.workload.clone(),
                        variant: place.variant.clone(),
                        operation: operation.to_owned(),
                        scope: scope.to_owned(),
                        value_ns: if self.zero { u64::from(step / 80) } else { value as u64 },
                        count: (count as u64).max(1),
                        machine: None,
                    });
                }
            }
        }
        rows
    }
}

const EVENTS: u64 = 4_000_000;
const MIB: f64 = 1_048_576.0;
const RUN: &str = "20300131T120000Z-monitor-server";

/// Which sample is made.
struct Place<'a> {
    block: u32,
    workload: &'a String,
    variant: &'a String,
    at: usize,
    pass: Pass,
}

/// A sample with these cells; all others are empty.
pub(crate) fn sample(cells: &[(&str, String)]) -> Sample {
    let columns = columns::<Sample>();
    let cell = |column: &&str| cells.iter().find(|cell| cell.0 == *column).map_or("", |cell| cell.1.as_str());
    let record: csv::StringRecord = columns.iter().map(cell).collect();
    record.deserialize(Some(&columns.iter().copied().collect())).expect("cells of a sample")
}

fn allocator(label: &str) -> String {
    label.split(':').next().unwrap_or(label).to_owned()
}

fn heaplab_word(value: &impl serde::Serialize) -> String {
    serde_json::to_value(value).expect("a word").as_str().expect("a word").to_owned()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    /// 1, give or take `spread`.
    fn near_one(&mut self, spread: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = (mixed >> 11) as f64 / (1u64 << 53) as f64;
        1.0 + spread * (2.0 * unit - 1.0)
    }
}

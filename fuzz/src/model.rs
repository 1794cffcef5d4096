//! Models of recordings: a model that is accepted plays lawful traces.

use heaplab_trace::TraceWriter;
use heaplab_workloads::model::{FORMAT_VERSION, MAGIC, Model, Question, read_model_bytes};
use heaplab_workloads::stream::RecordStream;

use crate::seal;

/// How many records of each trace are made.
const RECORDS: usize = 2_000;

/// A file that calls itself a model.
pub fn read_model(content: &[u8]) {
    if let Ok(model) = read_model_bytes("fuzz", content) {
        play(&model);
    }
}

/// A model whose checksums match: the input is its head, a byte 0, and its sections before compression.
pub fn play_model(content: &[u8]) {
    let Some(end) = content.iter().position(|&byte| byte == 0) else { return };
    let (head, sections) = (&content[..end], &content[end + 1..]);
    let mut file = MAGIC.to_vec();
    file.extend(FORMAT_VERSION.to_le_bytes());
    file.extend((head.len() as u32).to_le_bytes());
    file.extend(head);
    seal(&mut file, 0);
    let begin = file.len();
    let packed = zstd::bulk::compress(sections, 1).expect("it compresses");
    file.extend(b"PIEC");
    for number in [sections.len() as u32, packed.len() as u32, crc32fast::hash(&packed)] {
        file.extend(number.to_le_bytes());
    }
    seal(&mut file, begin);
    file.extend(&packed);
    let begin = file.len();
    file.extend(b"HEND");
    file.extend(1u32.to_le_bytes());
    seal(&mut file, begin);
    read_model(&file);
}

/// Plays the model at its own load, between loads, for longer and thinned. The writer refuses what no trace
/// may hold.
fn play(model: &Model) {
    let load = model.own_load();
    let recorded = Question::default();
    let more =
        Question { load: Some(load * 2.5), startup: Some(0.5), queue: Some(true), ..Question::default() };
    let Ok(once) = model.play("fuzz", &recorded, 1) else { return };
    let longer = Question {
        load: Some(load * 0.3),
        duration_ns: once.expected_last_time_ns().map(|length_ns| length_ns.saturating_mul(1_000)),
        thinned: 8,
        life: Some(0.2),
        startup: None,
        queue: None,
    };
    for question in [recorded, more, longer] {
        let Ok(mut trace) = model.play("fuzz", &question, 1) else { continue };
        let mut writer = TraceWriter::new(std::io::sink(), trace.header()).expect("a header");
        for _ in 0..RECORDS {
            match trace.next() {
                Ok(Some(record)) => writer.push(&record).expect("a lawful record"),
                Ok(None) => break,
                Err(error) => panic!("a model's trace does not fail: {error}"),
            }
        }
    }
}

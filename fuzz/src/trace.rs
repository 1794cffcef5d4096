//! Traces: whatever a file holds, a reader answers, and what verifies can be read.

use std::fs;
use std::sync::Once;

use heaplab_trace::{Record, TraceReader, verify};

use crate::{seal, with_place};

/// A trace of three chunks.
const EXAMPLE: &[u8] = include_bytes!("../corpus/trace_file/example");

/// A file that calls itself a trace: as it is, and with checksums that match, so that what an input changes in the
/// head, the chunks' heads, the summary, the index and the trailer is read and not refused at once.
pub fn read_trace(content: &[u8]) {
    static CHECKED: Once = Once::new();
    CHECKED.call_once(|| {
        // The header's checksum and the trailer's.
        let mut damaged = EXAMPLE.to_vec();
        let header = 16 + length_at(EXAMPLE, 12).expect("a length");
        damaged[header] ^= 1;
        damaged[EXAMPLE.len() - 9] ^= 1;
        assert_eq!(sealed(&damaged), EXAMPLE, "the layout is as heaplab writes it today");
    });
    read_file(content);
    let sealed = sealed(content);
    if sealed != content {
        read_file(&sealed);
    }
}

/// Reads `content` in every way that there is.
fn read_file(content: &[u8]) {
    with_place(|place| {
        let path = place.join("trace.hlt");
        fs::write(&path, content).expect("a file in memory");
        let verified = verify(&path).is_ok_and(|verified| verified.truncation.is_none());
        let Ok(reader) = TraceReader::open(&path) else { return };
        let mut events = 0u64;
        for record in reader {
            match record {
                Ok(Record::Event(event)) => events += u64::from(event.action.is_event()),
                Ok(_) => {}
                Err(error) => {
                    assert!(!verified, "verified, and yet: {error}");
                    return;
                }
            }
        }
        if let Ok(found) = heaplab_trace::summary(&path)
            && verified
        {
            assert_eq!(found.map(|summary| summary.events).unwrap_or(events), events);
        }
    });
}

/// A trace whose records are the input, and whose heads and checksums match: two bytes say how many records
/// and events the chunk's head claims, the rest is its payload before compression. An empty payload has no
/// chunk.
pub fn read_records(content: &[u8]) {
    let Some((counts, payload)) = content.split_first_chunk::<2>() else { return };
    let mut file = b"\x89HLT\r\n\x1a\n".to_vec();
    let header = "source = \"fuzz\"\n";
    file.extend(heaplab_trace::FORMAT_VERSION.to_le_bytes());
    file.extend((header.len() as u32).to_le_bytes());
    file.extend(header.as_bytes());
    seal(&mut file, 0);
    let begin = file.len();
    let packed = zstd::bulk::compress(payload, 1).expect("it compresses");
    file.extend(b"CHNK");
    for number in
        [payload.len() as u32, packed.len() as u32, u32::from(counts[0]), u32::from(counts[0].min(counts[1]))]
    {
        file.extend(number.to_le_bytes());
    }
    file.extend([0; 24]);
    file.extend(0u32.to_le_bytes());
    file.extend(crc32fast::hash(&packed).to_le_bytes());
    seal(&mut file, begin);
    file.extend(&packed);
    read_file(&file);
}

/// A copy of a trace with its checksums corrected, from the header to the first part that cannot be found.
fn sealed(content: &[u8]) -> Vec<u8> {
    let mut file = content.to_vec();
    if let Some(header) = length_at(&file, 12)
        && let Some(mut at) = seal_part(&mut file, 0, 16 + header)
    {
        while let Some(next) = seal_next(&mut file, at) {
            at = next;
        }
    }
    file
}

/// Corrects the checksums of the part at `at` and returns where the next part begins; none after the last.
fn seal_next(file: &mut [u8], at: usize) -> Option<usize> {
    match file.get(at..at + 4)? {
        b"CHNK" => {
            let (payload, end) = (at + 56, at + 56 + length_at(file, at + 8)?);
            let checksum = crc32fast::hash(file.get(payload..end)?);
            file[at + 48..at + 52].copy_from_slice(&checksum.to_le_bytes());
            seal_part(file, at, 52)?;
            Some(end)
        }
        b"HEND" => {
            let summary = at + 24;
            let index = summary + length_at(file, at + 4)?;
            let trailer = index + 24 * length_at(file, at + 12)?;
            for (from, to, place) in [(summary, index, at + 8), (index, trailer, at + 16)] {
                let checksum = crc32fast::hash(file.get(from..to)?);
                file[place..place + 4].copy_from_slice(&checksum.to_le_bytes());
            }
            seal_part(file, at, 20)?;
            seal_part(file, trailer, 8)?;
            None
        }
        _ => None,
    }
}

/// Writes the checksum of the `bytes` bytes at `from` after them and returns where it ends.
fn seal_part(file: &mut [u8], from: usize, bytes: usize) -> Option<usize> {
    let end = from + bytes;
    let checksum = crc32fast::hash(file.get(from..end)?);
    file.get_mut(end..end + 4)?.copy_from_slice(&checksum.to_le_bytes());
    Some(end + 4)
}

/// The 32-bit length at `at`, if it is one that an input can have.
fn length_at(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..at + 4)?.try_into().expect("four bytes");
    Some(u32::from_le_bytes(bytes) as usize).filter(|&length| length <= file.len())
}

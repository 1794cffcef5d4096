//! Names of an image's files, made without allocating.

use crate::ImageId;

/// The longest name of an image's file.
const NAME_MOST_BYTES: usize = 29;

/// The name of an image's file, `PID-ORDINAL.raw` and a zero byte: the text's bytes, and how many they are without
/// the zero. A forked image has no file of its own.
pub fn image_name(id: ImageId) -> ([u8; NAME_MOST_BYTES], usize) {
    name(id, b".raw")
}

/// The name of the file that full buffers of an image's file are copied to: `PID-ORDINAL.copies`.
pub fn copies_name(id: ImageId) -> ([u8; NAME_MOST_BYTES], usize) {
    name(id, b".copies")
}

fn name(id: ImageId, extension: &[u8]) -> ([u8; NAME_MOST_BYTES], usize) {
    let (mut name, mut length) = ([0; NAME_MOST_BYTES], 0);
    let mut put = |byte: u8| {
        if let Some(place) = name.get_mut(length) {
            *place = byte;
            length += 1;
        }
    };
    decimal(id.pid, &mut put);
    put(b'-');
    decimal(id.ordinal, &mut put);
    for &byte in extension {
        put(byte);
    }
    (name, length)
}

fn decimal(number: u32, put: &mut impl FnMut(u8)) {
    let mut unit = 1_000_000_000;
    while unit > 1 && number < unit {
        unit /= 10;
    }
    while unit > 0 {
        put(b'0' + (number / unit % 10) as u8);
        unit /= 10;
    }
}

/// The image whose file has this name; none if no image's has.
pub fn parse_image_name(name: &str) -> Option<ImageId> {
    let (pid, ordinal) = name.strip_suffix(".raw")?.split_once('-')?;
    let id = ImageId { pid: pid.parse().ok()?, ordinal: ordinal.parse().ok()? };
    let (bytes, length) = image_name(id);
    (bytes.get(..length) == Some(name.as_bytes())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_those_of_files() {
        let (name, length) = image_name(ImageId { pid: 4211, ordinal: 0 });
        assert_eq!(&name[..length], b"4211-0.raw");
        let (name, length) = image_name(ImageId { pid: u32::MAX, ordinal: u32::MAX });
        assert_eq!((&name[..length], name[length]), (&b"4294967295-4294967295.raw"[..], 0));
        for wrong in ["samples", "1-.raw", "01-2.raw", "+1-2.raw", "1-2.raw.old", "4294967296-0.raw"] {
            assert_eq!(parse_image_name(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn copies_have_a_file_beside() {
        let (name, length) = copies_name(ImageId { pid: u32::MAX, ordinal: u32::MAX });
        assert_eq!((&name[..length], name.get(length)), (&b"4294967295-4294967295.copies"[..], Some(&0)));
        assert_eq!(parse_image_name("4211-0.copies"), None);
    }

    proptest! {
        #[test]
        fn names_come_back(pid in any::<u32>(), ordinal in any::<u32>()) {
            let id = ImageId { pid, ordinal };
            let (name, length) = image_name(id);
            prop_assert_eq!(parse_image_name(core::str::from_utf8(&name[..length]).unwrap()), Some(id));
        }
    }
}

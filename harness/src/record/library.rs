//! Finds the recorder's library.

use std::env;
use std::path::{Path, PathBuf};

use super::{LIBRARY_VARIABLE, RecordError};

const FILE: &str = "libheaplab_recorder.so";

/// The library: next to this program, or else in `../lib/heaplab`, or else the file that the variable names.
pub(super) fn find() -> Result<PathBuf, RecordError> {
    let program = env::current_exe().map_err(|source| RecordError::Io {
        what: "find this program's own file",
        path: PathBuf::new(),
        source,
    })?;
    let named = env::var_os(LIBRARY_VARIABLE).map(PathBuf::from);
    let places = places(&program, named);
    let found = places.iter().find(|place| place.is_file());
    let found = found.ok_or_else(|| RecordError::NoLibrary { places: places.clone() })?;
    let path = found.canonicalize().map_err(|source| RecordError::Io {
        what: "find the recorder's library",
        path: found.clone(),
        source,
    })?;
    // The loader takes both as the end of a name in LD_PRELOAD, and has no escape for them.
    if path.as_os_str().as_encoded_bytes().iter().any(|byte| b" :".contains(byte)) {
        return Err(RecordError::LibraryName { path });
    }
    Ok(path)
}

/// The places that are searched, in this order.
fn places(program: &Path, named: Option<PathBuf>) -> Vec<PathBuf> {
    let beside = program.parent().unwrap_or(Path::new("."));
    let mut places = vec![beside.join(FILE)];
    if let Some(above) = beside.parent() {
        places.push(above.join("lib/heaplab").join(FILE));
    }
    places.extend(named);
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_beside_the_program_comes_first_and_the_variable_last() {
        let places = places(Path::new("/opt/bin/heaplab"), Some("/x/mine.so".into()));
        let expected =
            ["/opt/bin/libheaplab_recorder.so", "/opt/lib/heaplab/libheaplab_recorder.so", "/x/mine.so"];
        assert_eq!(places, expected.map(PathBuf::from));
    }
}

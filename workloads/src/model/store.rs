//! Models in files and in memory.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read};
use std::path::Path;

use super::error::ModelError;
use super::facts::Facts;
use super::fit::FittedModel;
use super::format::{self, FORMAT_VERSION, Fault};
use super::play::Model;

/// Writes a model to `path`, which is replaced only when the new one is complete.
///
/// # Errors
///
/// Errors from the file system.
pub fn write_model(path: &Path, model: &FittedModel) -> Result<u64, ModelError> {
    let failed = |doing| move |source| ModelError::io(path, doing, source);
    if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        let source = io::Error::other("it exists and is not a regular file: name another output");
        return Err(ModelError::io(path, "replace", source));
    }
    let directory = match path.parent() {
        Some(directory) if !directory.as_os_str().is_empty() => directory,
        _ => Path::new("."),
    };
    let file = tempfile::NamedTempFile::new_in(directory).map_err(failed("create"))?;
    let mut out = BufWriter::new(file);
    format::write(&mut out, model.facts(), model.fitted()).map_err(failed("write"))?;
    let file = out.into_inner().map_err(|error| ModelError::io(path, "write", error.into_error()))?;
    file.as_file().sync_all().map_err(failed("complete"))?;
    let bytes = file.as_file().metadata().map_err(failed("complete"))?.len();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    file.as_file().set_permissions(mode).map_err(failed("complete"))?;
    file.persist(path).map_err(|error| ModelError::io(path, "complete", error.error))?;
    Ok(bytes)
}

/// The model in the file at `path`.
///
/// # Errors
///
/// A file that is not a model, or a damaged one.
pub fn read_model(path: &Path) -> Result<Model, ModelError> {
    let file = File::open(path).map_err(|source| ModelError::io(path, "open", source))?;
    read(path, &mut BufReader::new(file))
}

/// The model in `bytes`, which messages call `name`.
///
/// # Errors
///
/// Bytes that are not a model, or damaged.
pub fn read_model_bytes(name: &str, bytes: &[u8]) -> Result<Model, ModelError> {
    read(Path::new(name), &mut &*bytes)
}

/// What the model in the file at `path` says about itself.
///
/// # Errors
///
/// A file that is not a model, or whose head is damaged.
pub fn read_facts(path: &Path) -> Result<Facts, ModelError> {
    let file = File::open(path).map_err(|source| ModelError::io(path, "open", source))?;
    format::read_head(&mut BufReader::new(file)).map_err(|fault| explain(path, fault))
}

fn read(path: &Path, input: &mut dyn Read) -> Result<Model, ModelError> {
    let (facts, fitted) = format::read(input).map_err(|fault| explain(path, fault))?;
    Model::new(facts, fitted).map_err(|what| explain(path, Fault::Damaged(what)))
}

fn explain(path: &Path, fault: Fault) -> ModelError {
    let path = path.to_path_buf();
    match fault {
        Fault::NotAModel => ModelError::NotAModel { path },
        Fault::Version(found) => ModelError::Version { path, found, known: FORMAT_VERSION },
        Fault::Damaged(what) => ModelError::Damaged { path, what },
        Fault::Io(source) => ModelError::Io { path, doing: "read", source },
    }
}

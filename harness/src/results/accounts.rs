//! Reads `stats.csv`: what allocators report about their own memory.

use heaplab_allocators::{Account, ClassAccount};

use super::packed;
use super::reader::Run;
use super::{Pass, ResultsError, StatsRow};
use crate::worker::Stated;

impl Run {
    /// Streams `stats.csv`: each account of all memory with the index of its sample in [`Run::samples`]; rows of one
    /// size are added to the account before them. Returns notes on what was left out. Runs of an earlier heaplab have
    /// no such file.
    pub fn each_account(&self, mut take: impl FnMut(usize, Stated)) -> Result<Vec<String>, ResultsError> {
        if !packed::is_there(&self.directory.join("stats.csv")) {
            return Ok(Vec::new());
        }
        let mut last: Option<(usize, Stated)> = None;
        let notes = self.each_row::<StatsRow>("stats.csv", &[Pass::Memory], |place, rows| {
            let moment = rows.moment()?;
            let live_bytes = rows.optional("live_bytes")?;
            let cached_bytes = rows.optional("cached_bytes")?;
            if let Some(size_bytes) = rows.optional("size_bytes")? {
                return match &mut last {
                    Some((of, stated)) if *of == place && stated.moment == moment => {
                        stated.account.classes.push(ClassAccount { size_bytes, live_bytes, cached_bytes });
                        Ok(())
                    }
                    _ => Err(rows.error("a row of one size follows no row of all memory".to_owned())),
                };
            }
            let account = Account {
                live_bytes,
                cached_bytes,
                dirty_bytes: rows.optional("dirty_bytes")?,
                metadata_bytes: rows.optional("metadata_bytes")?,
                active_bytes: rows.optional("active_bytes")?,
                system_bytes: rows.optional("system_bytes")?,
                classes: Vec::new(),
            };
            let usable_bytes = rows.optional("usable_bytes")?;
            let stated =
                Stated { moment, account, usable_bytes, resident_bytes: rows.number("resident_bytes")? };
            if let Some((place, stated)) = last.replace((place, stated)) {
                take(place, stated);
            }
            Ok(())
        })?;
        if let Some((place, stated)) = last {
            take(place, stated);
        }
        Ok(notes)
    }
}

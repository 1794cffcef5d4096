//! A definition's fields by their dotted keys: TOML text and overrides in, checked values out.
//!
//! All tables are flattened into one map ("payload.median", "phases.0.rate"), so that a base definition, a
//! file and `--set` are combined by the same rule: the later wins. Each value is taken once; any key left at
//! the end is unknown. This module checks single values; [`definition`](super::definition) checks how they
//! fit together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use super::error::{DefinitionError, shorten};
use super::units::{Quantity, show_size, show_time};
use super::weights::{self, SizeWeights};

/// The origin of overrides.
const SET: &str = "--set";

/// Fields by dotted key, each with where it comes from.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    origin: String,
    values: BTreeMap<String, (Value, String)>,
    known: BTreeSet<String>,
    /// Tables that were read: the distribution's key, and the text.
    tables: Vec<(String, String)>,
}

impl Fields {
    /// The fields of TOML `text`; `origin` is its name in messages.
    pub(super) fn parse(text: &str, origin: &str) -> Result<Fields, DefinitionError> {
        let table = text.parse::<Table>().map_err(|error| {
            let message = error.to_string().trim_end().to_string();
            DefinitionError::Syntax { origin: origin.to_string(), message }
        })?;
        let mut fields = Fields {
            origin: origin.to_string(),
            values: BTreeMap::new(),
            known: BTreeSet::new(),
            tables: Vec::new(),
        };
        flatten(Value::Table(table), String::new(), origin, &mut fields.values);
        Ok(fields)
    }

    /// Fills in from `base` what is not set here. A list is taken from `base` as a whole or not at all.
    pub(super) fn fill_from(&mut self, base: Fields) {
        let empty = self.values.iter().filter(|(_, (value, _))| value.is_array()).map(|(key, _)| key.clone());
        let lists: BTreeSet<String> =
            self.values.keys().filter_map(|key| list_of(key)).chain(empty).collect();
        for (key, value) in base.values {
            if !list_of(&key).is_some_and(|list| lists.contains(&list)) {
                self.values.entry(key).or_insert(value);
            }
        }
    }

    /// Sets a field from `KEY=VALUE`, whether the field is known or not.
    pub(super) fn set(&mut self, text: &str) -> Result<(), DefinitionError> {
        let bad = || DefinitionError::Override { found: text.to_string() };
        let (key, value) = text.split_once('=').ok_or_else(bad)?;
        let (key, value) = (key.trim(), value.trim());
        if key.is_empty() {
            return Err(bad());
        }
        let value = bare_value(value);
        if value.is_array() {
            // A list is replaced as a whole.
            let elements = format!("{key}.");
            self.values.retain(|key, _| !key.starts_with(&elements));
        }
        self.values.insert(key.to_string(), (value, SET.to_string()));
        Ok(())
    }

    /// A number of things, from `least` to `most`.
    pub(super) fn count(&mut self, key: &str, least: u64, most: u64) -> Result<u64, DefinitionError> {
        let allowed = format!("a whole number without a unit, from {least} to {most}");
        let value = self.take(key, &allowed)?;
        let number = value.as_integer().and_then(|number| u64::try_from(number).ok());
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.refuse(key, &allowed)),
        }
    }

    /// Like [`count`](Fields::count), or none if the key is absent.
    pub(super) fn optional_count(
        &mut self,
        key: &str,
        least: u64,
        most: u64,
    ) -> Result<Option<u64>, DefinitionError> {
        self.know(key);
        if self.states(key) { self.count(key, least, most).map(Some) } else { Ok(None) }
    }

    /// A number without a unit, from `least` to `most`.
    pub(super) fn number(&mut self, key: &str, least: f64, most: f64) -> Result<f64, DefinitionError> {
        let allowed = format!("a number without a unit, from {least} to {most}");
        let value = self.take(key, &allowed)?;
        let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
        match number {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.refuse(key, &allowed)),
        }
    }

    /// A list of at most `count` numbers without a unit, each from `least` to `most`.
    pub(super) fn numbers(
        &mut self,
        key: &str,
        count: usize,
        least: f64,
        most: f64,
    ) -> Result<Vec<f64>, DefinitionError> {
        let allowed =
            format!("a list of at most {count} numbers without a unit, each from {least} to {most}");
        let value = self.take(key, &allowed)?;
        let number = |value: &Value| {
            let number = value.as_float().or_else(|| value.as_integer().map(|number| number as f64));
            number.filter(|number| (least..=most).contains(number))
        };
        let numbers = value.as_array().and_then(|list| list.iter().map(number).collect::<Option<Vec<f64>>>());
        numbers.filter(|numbers| numbers.len() <= count).ok_or_else(|| self.refuse(key, &allowed))
    }

    /// The table in the CSV that `file` names, for the distribution `key`, of sizes within `bounds`. A
    /// relative path starts at the folder of the definition that states it; one from `--set`, at the working
    /// directory.
    pub(super) fn table(
        &mut self,
        key: &str,
        file: &str,
        bounds: (u64, u64),
    ) -> Result<SizeWeights, DefinitionError> {
        let allowed = "the path of a CSV of size,weight";
        let value = self.take(file, allowed)?;
        let path = value.as_str().filter(|path| !path.is_empty());
        let path = path.ok_or_else(|| self.refuse(file, allowed))?;
        let origin = self.shown(file).1;
        let path = Path::new(&origin).parent().unwrap_or(Path::new("")).join(path);
        let text = weights::read_file(&path, file, &origin)?;
        let table = SizeWeights::parse(&text, &format!("{file} = {}", path.display()), bounds)?;
        self.tables.push((key.to_string(), text));
        Ok(table)
    }

    /// Takes the tables that were read.
    pub(super) fn take_tables(&mut self) -> Vec<(String, String)> {
        std::mem::take(&mut self.tables)
    }

    /// A size in bytes, from `least` to `most`.
    pub(super) fn size(&mut self, key: &str, least: u64, most: u64) -> Result<u64, DefinitionError> {
        let bounds = (least as f64, most as f64);
        self.quantity(key, Quantity::Size, bounds, show_size).map(|bytes| bytes as u64)
    }

    /// A time in nanoseconds, from `least` to `most`.
    pub(super) fn time_ns(&mut self, key: &str, least: f64, most: f64) -> Result<u64, DefinitionError> {
        self.quantity(key, Quantity::Time, (least, most), show_time).map(|ns| ns as u64)
    }

    /// A rate in events per second, from `least` to `most`.
    pub(super) fn rate(&mut self, key: &str, least: f64, most: f64) -> Result<f64, DefinitionError> {
        self.quantity(key, Quantity::Rate, (least, most), |rate| format!("{rate}/s"))
    }

    /// Bytes per second, from `least` to `most`.
    pub(super) fn throughput(&mut self, key: &str, least: f64, most: f64) -> Result<f64, DefinitionError> {
        self.quantity(key, Quantity::Throughput, (least, most), |bytes| format!("{}/s", show_size(bytes)))
    }

    /// Text of 1 to 255 bytes without control characters: it is a name in the trace.
    pub(super) fn text(&mut self, key: &str) -> Result<String, DefinitionError> {
        let allowed = "text of 1 to 255 bytes without control characters";
        let value = self.take(key, allowed)?;
        match value.as_str() {
            Some(text) if (1..=255).contains(&text.len()) && !text.chars().any(char::is_control) => {
                Ok(text.to_string())
            }
            _ => Err(self.refuse(key, allowed)),
        }
    }

    /// `true` or `false`.
    pub(super) fn flag(&mut self, key: &str) -> Result<bool, DefinitionError> {
        let value = self.take(key, "true or false")?;
        value.as_bool().ok_or_else(|| self.refuse(key, "true or false"))
    }

    /// One of the named `choices`.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Result<T, DefinitionError> {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let allowed = format!("one of {}", names.join(", "));
        let value = self.take(key, &allowed)?;
        let found = value.as_str().and_then(|text| choices.iter().find(|(name, _)| *name == text));
        found.map(|(_, choice)| *choice).ok_or_else(|| self.refuse(key, &allowed))
    }

    /// Removes the name in `base`, so that the base's own base can take its place.
    pub(super) fn take_base(&mut self) -> Result<Option<String>, DefinitionError> {
        let name = if self.states("base") { self.text("base").map(Some) } else { Ok(None) };
        self.known.remove("base");
        self.values.remove("base");
        name
    }

    /// An error about a `base` that is `found`.
    pub(super) fn bad_base(&self, found: &str) -> DefinitionError {
        DefinitionError::Value {
            origin: self.origin.clone(),
            key: "base".to_string(),
            found: shorten(found),
            allowed: "the name of a shipped definition, or \"none\" for one that states every field"
                .to_string(),
        }
    }

    /// Whether `key` has a value.
    pub(super) fn states(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    /// Marks `key` as one that may be present, whether or not it is taken.
    pub(super) fn know(&mut self, key: &str) {
        self.known.insert(key.to_string());
    }

    /// Whether the list `key` has an element `index`.
    pub(super) fn has_element(&self, key: &str, index: usize) -> bool {
        let element = format!("{key}.{index}");
        let prefix = format!("{element}.");
        let first = self.values.range(prefix.clone()..).next();
        self.states(&element) || first.is_some_and(|(found, _)| found.starts_with(&prefix))
    }

    /// Checks that `key` is a list of tables: only an empty list has a value of its own.
    pub(super) fn list(&mut self, key: &str) -> Result<(), DefinitionError> {
        match self.values.get(key) {
            Some((Value::Array(array), _)) if array.is_empty() => {
                self.know(key);
                Ok(())
            }
            Some(_) => Err(self.refuse(key, "a list of tables")),
            None => Ok(()),
        }
    }

    /// An error about the value of `key`, which was taken already.
    pub(super) fn refuse(&self, key: &str, allowed: &str) -> DefinitionError {
        let (found, origin) = self.shown(key);
        DefinitionError::Value { origin, key: key.to_string(), found, allowed: allowed.to_string() }
    }

    /// Ends the reading: a key that was not taken is unknown.
    pub(super) fn finish(&self) -> Result<(), DefinitionError> {
        let Some(key) = self.values.keys().find(|key| !self.known.contains(*key)) else { return Ok(()) };
        let (found, origin) = self.shown(key);
        let allowed = self.neighbours(key);
        Err(DefinitionError::UnknownKey { origin, key: key.clone(), found, allowed })
    }

    /// Refuses an override of `key`, or of a key in the table `key`, which the model does not read while `condition` holds.
    pub(super) fn refuse_set(&self, key: &str, condition: &str) -> Result<(), DefinitionError> {
        let inside = format!("{key}.");
        let is_set = |(name, (_, origin)): &(&String, &(Value, String))| {
            (*name == key || name.starts_with(&inside)) && origin == SET
        };
        let Some((name, _)) = self.values.iter().find(is_set) else { return Ok(()) };
        let (found, origin) = self.shown(name);
        Err(DefinitionError::Unread { origin, key: name.clone(), found, condition: condition.to_string() })
    }

    /// The known keys next to `key`: in its table if that exists, or else in the nearest enclosing table that
    /// does.
    fn neighbours(&self, key: &str) -> String {
        let own_table = format!("{key}.");
        let table = key.rsplit_once('.').map_or("", |(table, _)| table);
        let in_table = |known: &&String| known.rsplit_once('.').map_or("", |(table, _)| table) == table;
        let below: Vec<&String> = self.known.iter().filter(|known| known.starts_with(&own_table)).collect();
        let beside: Vec<&String> = self.known.iter().filter(in_table).collect();
        let around = key.rmatch_indices('.').map(|(end, _)| {
            let prefix = &key[..=end];
            self.known.iter().filter(|known| known.starts_with(prefix)).collect()
        });
        let all = self.known.iter().collect();
        let mut places = [below, beside].into_iter().chain(around).chain([all]);
        let keys: Vec<&str> =
            places.find(|keys| !keys.is_empty()).into_iter().flatten().map(String::as_str).collect();
        keys.join(", ")
    }

    fn quantity(
        &mut self,
        key: &str,
        quantity: Quantity,
        (least, most): (f64, f64),
        show: impl Fn(f64) -> String,
    ) -> Result<f64, DefinitionError> {
        let allowed = format!("{}, from {} to {}", quantity.allowed(), show(least), show(most));
        let value = self.take(key, &allowed)?;
        match value.as_str().and_then(|text| quantity.parse(text)) {
            Some(number) if (least..=most).contains(&number) => Ok(number),
            _ => Err(self.refuse(key, &allowed)),
        }
    }

    fn take(&mut self, key: &str, allowed: &str) -> Result<Value, DefinitionError> {
        self.know(key);
        self.values.get(key).map(|(value, _)| value.clone()).ok_or_else(|| DefinitionError::Missing {
            origin: self.origin.clone(),
            key: key.to_string(),
            allowed: allowed.to_string(),
        })
    }

    /// The value of `key` as written, and where.
    fn shown(&self, key: &str) -> (String, String) {
        match self.values.get(key) {
            Some((value, origin)) => (shorten(&value.to_string()), origin.clone()),
            None => ("missing".to_string(), self.origin.clone()),
        }
    }
}

/// A value from the command line: a number, a boolean or a list if it parses as one, or else text.
fn bare_value(text: &str) -> Value {
    let typed = format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    match typed {
        Some(Value::Table(_) | Value::Datetime(_)) | None => Value::String(text.to_string()),
        Some(value) => value,
    }
}

fn flatten(value: Value, key: String, origin: &str, into: &mut BTreeMap<String, (Value, String)>) {
    let join = |name: &str| if key.is_empty() { name.to_string() } else { format!("{key}.{name}") };
    match value {
        Value::Table(table) => {
            for (name, value) in table {
                flatten(value, join(&name), origin, into);
            }
        }
        Value::Array(array) if !array.is_empty() && array.iter().all(is_filled_table) => {
            for (index, value) in array.into_iter().enumerate() {
                flatten(value, join(&index.to_string()), origin, into);
            }
        }
        value => {
            into.insert(key, (value, origin.to_string()));
        }
    }
}

fn is_filled_table(value: &Value) -> bool {
    value.as_table().is_some_and(|table| !table.is_empty())
}

/// The name of the list that contains `key`: "phases" for "phases.0.rate".
fn list_of(key: &str) -> Option<String> {
    let (list, rest) = key.split_once('.')?;
    let index = rest.split('.').next()?;
    index.bytes().all(|byte| byte.is_ascii_digit()).then(|| list.to_string())
}

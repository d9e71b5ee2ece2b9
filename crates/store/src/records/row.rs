//! From columns to types and back.

use std::str::FromStr;

use jiff::Timestamp;
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Reads a column that holds the printed form of a `T`.
pub(crate) fn parsed<T>(row: &Row<'_>, column: &'static str) -> Result<T>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let text: Box<str> = row.get(column)?;
    text.parse().map_err(|error| Error::record(column)(Box::new(error)))
}

/// [`parsed`] for a column that may be null.
pub(crate) fn maybe_parsed<T>(row: &Row<'_>, column: &'static str) -> Result<Option<T>>
where
    T: FromStr<Err: std::error::Error + Send + Sync + 'static>,
{
    let Some(text) = row.get::<_, Option<Box<str>>>(column)? else { return Ok(None) };
    text.parse().map(Some).map_err(|error| Error::record(column)(Box::new(error)))
}

/// Reads a column that holds JSON.
pub(crate) fn json<T: DeserializeOwned>(row: &Row<'_>, column: &'static str) -> Result<T> {
    let text: Box<str> = row.get(column)?;
    serde_json::from_str(&text).map_err(|error| Error::record(column)(Box::new(error)))
}

/// Reads a column that holds a time.
pub(crate) fn time(row: &Row<'_>, column: &'static str) -> Result<Timestamp> {
    from_ns(row.get(column)?, column)
}

/// [`time`] for a column that may be null.
pub(crate) fn maybe_time(row: &Row<'_>, column: &'static str) -> Result<Option<Timestamp>> {
    row.get::<_, Option<i64>>(column)?.map(|ns| from_ns(ns, column)).transpose()
}

/// Reads a column that holds a size.
pub(crate) fn bytes(row: &Row<'_>, column: &'static str) -> Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|error| Error::record(column)(Box::new(error)))
}

/// The JSON of a list or map.
pub(crate) fn to_json<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("lists and maps of strings always print")
}

/// A time as it is stored. Times beyond the year 2262 become that year.
pub(crate) fn to_ns(time: Timestamp) -> i64 {
    let ns = time.as_nanosecond();
    i64::try_from(ns).unwrap_or(if ns < 0 { i64::MIN } else { i64::MAX })
}

/// A size as it is stored. No file is longer than `i64::MAX`.
pub(crate) fn to_size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Collects what a query yields.
pub(crate) fn all<T>(mut rows: rusqlite::Rows<'_>, read: impl Fn(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        records.push(read(row)?);
    }
    Ok(records)
}

/// The first thing a query yields, if any.
pub(crate) fn first<T>(mut rows: rusqlite::Rows<'_>, read: impl Fn(&Row<'_>) -> Result<T>) -> Result<Option<T>> {
    rows.next()?.map(read).transpose()
}

/// The one thing a look-up by prefix yields; an error if there are several.
pub(crate) fn only<T>(mut found: Vec<T>, what: &'static str, prefix: &str) -> Result<Option<T>> {
    let one = found.pop();
    if found.is_empty() { Ok(one) } else { Err(Error::Ambiguous { what, prefix: prefix.to_owned() }) }
}

/// The bounds of a range look-up of everything that starts with a hex `prefix` after `before`; none if it cannot be one.
pub(crate) fn hex_range(before: &str, prefix: &str) -> Option<(String, String)> {
    let lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (!prefix.is_empty() && prefix.bytes().all(lower_hex))
        .then(|| (format!("{before}{prefix}"), format!("{before}{prefix}g")))
}

fn from_ns(ns: i64, column: &'static str) -> Result<Timestamp> {
    Timestamp::from_nanosecond(ns.into()).map_err(|error| Error::record(column)(Box::new(error)))
}

//! Parameters: an array of one map, and errors that name the parameter that is wrong.

use serde::de::DeserializeOwned;

use super::{Scanner, decode_value};

/// Parameters that a method does not take; the text says which and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParamsError(String);

/// Bytes of one error text at most: it may quote what the client sent.
const MAX_TEXT_BYTES: usize = 512;
const NOT_A_MAP: &str = "params must be an array of one map, such as [{\"account\": \"alice\"}]";

/// Decodes `params`: an array of one map. An empty array, and an array of an empty array (which is how Lua writes an
/// empty map), mean the empty map. Positional parameters are refused: they would break when a method gains one.
///
/// # Errors
/// [`ParamsError`] naming the parameter that is unknown, missing or of the wrong type.
pub fn decode_params<T: DeserializeOwned>(params: &[u8]) -> Result<T, ParamsError> {
    let mut rest = params;
    let map = match rmp::decode::read_array_len(&mut rest) {
        Ok(0) => &[0x80],
        Ok(1) if rest == [0x90] => &[0x80],
        Ok(1) if matches!(rest.first(), Some(0x80..=0x8f | 0xde | 0xdf)) => rest,
        _ => return Err(ParamsError(NOT_A_MAP.to_owned())),
    };
    decode_value(map).map_err(|error| explain::<T>(map, &error.to_string()))
}

/// serde says what is wrong with a value but not with whose: each entry is tried alone, and the one that fails in the
/// same way is the culprit. Linear in the bytes of the map.
fn explain<T: DeserializeOwned>(map: &[u8], error: &str) -> ParamsError {
    let culprit = if error.contains("field `") { None } else { find_culprit::<T>(map, error) };
    let text = error.strip_prefix("uncategorized error: ").unwrap_or(error);
    let text = text.replacen("field `", "parameter `", 1);
    let mut text = match culprit {
        Some(name) => format!("parameter `{name}`: {text}"),
        None => text,
    };
    text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
    ParamsError(text)
}

fn find_culprit<'a, T: DeserializeOwned>(map: &'a [u8], error: &str) -> Option<&'a str> {
    let mut rest = map;
    let entries = rmp::decode::read_map_len(&mut rest).ok()?;
    let mut alone = Vec::new();
    for _ in 0..entries {
        let (name, after_name) = rmp::decode::read_str_from_slice(rest).ok()?;
        let value_len = Scanner::default().scan(after_name).ok()??;
        let (value, after) = after_name.split_at(value_len);
        alone.clear();
        alone.push(0x81);
        alone.extend_from_slice(rest.get(..rest.len() - after_name.len())?);
        alone.extend_from_slice(value);
        if decode_value::<T>(&alone).err().is_some_and(|found| found.to_string() == error) {
            return Some(name);
        }
        rest = after;
    }
    None
}

//! What templates call on Python's own objects: strftime of a date, methods of a string.

use crate::python_values;
use chrono::DateTime;
use minijinja::value::{from_args, Value};
use minijinja::Error;
use std::fmt::Write;

/// datetime.strftime without a time zone: a directive that it does not know stays as it is.
pub fn strftime(local_seconds: i64, format: &str) -> String {
    let now = DateTime::from_timestamp(local_seconds, 0).unwrap_or_default();
    let mut out = String::new();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        let (before, directive) = rest.split_at(at);
        out.push_str(before);
        let flag = usize::from(directive[1..].starts_with(['-', '_', '0']));
        let letter = directive[1 + flag..].chars().next();
        let size = 1 + flag + letter.map_or(0, char::len_utf8);
        match letter {
            Some('f') => out.push_str("000000"),
            Some('z' | 'Z') => {}
            Some(c) if "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY%".contains(c) => {
                // Not every flag goes with every letter.
                if write!(out, "{}", now.format(&directive[..size])).is_err() {
                    out.push_str(&directive[..size]);
                }
            }
            _ => out.push_str(&directive[..size]),
        }
        rest = &directive[size..];
    }
    out + rest
}

/// The methods of str that pycompat lacks; None for any other.
pub fn string_method(text: &str, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let done = match name {
        "removeprefix" => one(args).map(|p| Value::from(text.strip_prefix(p).unwrap_or(text))),
        "removesuffix" => one(args).map(|s| Value::from(text.strip_suffix(s).unwrap_or(text))),
        "partition" => one(args).map(|by| match text.split_once(by) {
            Some((before, after)) => tuple([before, by, after]),
            None => tuple([text, "", ""]),
        }),
        "rpartition" => one(args).map(|by| match text.rsplit_once(by) {
            Some((before, after)) => tuple([before, by, after]),
            None => tuple(["", "", text]),
        }),
        "rsplit" => from_args(args).map(|(by, most)| rsplit(text, by, most)),
        _ => return None,
    };
    Some(done)
}

fn one(args: &[Value]) -> Result<&str, Error> {
    from_args::<(&str,)>(args).map(|(arg,)| arg)
}

fn list<'a>(parts: impl IntoIterator<Item = &'a str>) -> Value {
    python_values::list(parts.into_iter().map(Value::from))
}

fn tuple(parts: [&str; 3]) -> Value {
    python_values::tuple(parts.map(Value::from))
}

fn rsplit(text: &str, by: Option<&str>, most: Option<i64>) -> Value {
    let splits = most.and_then(|m| usize::try_from(m).ok()).unwrap_or(usize::MAX - 1);
    let mut parts: Vec<&str> = match by {
        Some(by) => text.rsplitn(splits + 1, by).collect(),
        None => words_from_the_end(text, splits),
    };
    parts.reverse();
    list(parts)
}

fn words_from_the_end(text: &str, splits: usize) -> Vec<&str> {
    let mut words = Vec::new();
    let mut rest = text.trim_end();
    while let (true, Some(at)) = (words.len() < splits, rest.rfind(char::is_whitespace)) {
        words.push(rest[at..].trim_start());
        rest = rest[..at].trim_end();
    }
    if !rest.is_empty() {
        words.push(rest);
    }
    words
}

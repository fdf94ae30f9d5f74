//! What templates call on Python's own objects: strftime of a date, methods of a string.

use crate::limits::{check, Limits};
use crate::python_values;
use chrono::DateTime;
use minijinja::value::{from_args, Kwargs, Value, ValueKind};
use minijinja::{format_filter, Error, ErrorKind, FormatStyle};
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

/// The methods of str that pycompat lacks, or has otherwise: positions count characters. None for
/// any other.
pub fn string_method(text: &str, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    Some(match name {
        "find" => position(text, args, first).map(or_minus_one),
        "rfind" => position(text, args, last).map(or_minus_one),
        "index" => position(text, args, first).and_then(or_error),
        "rindex" => position(text, args, last).and_then(or_error),
        "count" => count(text, args),
        "startswith" => affix(text, args, |part, prefix| part.starts_with(prefix)),
        "endswith" => affix(text, args, |part, suffix| part.ends_with(suffix)),
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
        "split" => split_arguments(args).map(|(by, most)| split(text, by.as_deref(), most)),
        "rsplit" => split_arguments(args).map(|(by, most)| rsplit(text, by.as_deref(), most)),
        "splitlines" => from_args::<(Option<bool>, Kwargs)>(args).and_then(|(keep, kwargs)| {
            let keep = match keep {
                Some(keep) => keep,
                None => kwargs.get::<Option<bool>>("keepends")?.unwrap_or(false),
            };
            Ok(list(lines(text, keep)))
        }),
        "swapcase" => bare(args).map(|()| Value::from(swapped(text))),
        "casefold" => bare(args).map(|()| Value::from(text.to_lowercase())),
        "zfill" => from_args::<(i64,)>(args).and_then(|(width,)| zero_filled(text, width)),
        "ljust" => pad_arguments(args).and_then(|(w, fill)| padded(text, w, fill, |_, _| 0)),
        "rjust" => pad_arguments(args).and_then(|(w, fill)| padded(text, w, fill, |gap, _| gap)),
        "center" => pad_arguments(args).and_then(|(w, fill)| centered(text, w, fill)),
        "format" => formatted(FormatStyle::StrFormat, text, args),
        _ => return None,
    })
}

/// Formats with fields of a bounded width, whether the text or an argument tells it.
pub fn formatted(style: FormatStyle, text: &str, args: &[Value]) -> Result<Value, Error> {
    let most = Limits::get().width;
    let numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| !digits.is_empty());
    for digits in numbers {
        check("a width", digits.parse().unwrap_or(usize::MAX), most)?;
    }
    if text.contains('*') || text.contains(":{") {
        for width in args.iter().filter_map(Value::as_usize) {
            check("a width", width, most)?;
        }
    }
    format_filter(style, text, args).map(Value::from)
}

fn invalid<T>(sentence: impl Into<String>) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, sentence.into()))
}

fn bare(args: &[Value]) -> Result<(), Error> {
    from_args::<()>(args)
}

/// text[start:end] as a slice, and how many characters stand before it; None where `start` lies
/// beyond `end`.
fn part(text: &str, start: Option<i64>, end: Option<i64>) -> Option<(usize, &str)> {
    if start.is_none() && end.is_none() {
        return Some((0, text));
    }
    let size = text.chars().count() as i64;
    let at = |index: i64| if index < 0 { (index + size).max(0) } else { index };
    let (start, end) = (at(start.unwrap_or(0)), at(end.unwrap_or(size)).min(size));
    let byte = |index: i64| text.char_indices().nth(index as usize).map_or(text.len(), |(b, _)| b);
    (start <= end).then(|| (start as usize, &text[byte(start)..byte(end)]))
}

fn first(text: &str, what: &str) -> Option<usize> {
    text.find(what)
}

fn last(text: &str, what: &str) -> Option<usize> {
    text.rfind(what)
}

/// Of the first or last occurrence, in characters.
fn position(
    text: &str,
    args: &[Value],
    search: fn(&str, &str) -> Option<usize>,
) -> Result<Option<usize>, Error> {
    let (what, start, end) = from_args::<(&str, Option<i64>, Option<i64>)>(args)?;
    Ok(part(text, start, end).and_then(|(before, part)| {
        search(part, what).map(|at| before + part[..at].chars().count())
    }))
}

fn or_minus_one(at: Option<usize>) -> Value {
    at.map_or(Value::from(-1), Value::from)
}

fn or_error(at: Option<usize>) -> Result<Value, Error> {
    at.map_or_else(|| invalid("substring not found"), |at| Ok(Value::from(at)))
}

/// An empty needle stands between all characters and at both ends.
fn count(text: &str, args: &[Value]) -> Result<Value, Error> {
    let (what, start, end) = from_args::<(&str, Option<i64>, Option<i64>)>(args)?;
    let count = match part(text, start, end) {
        None => 0,
        Some((_, part)) if what.is_empty() => part.chars().count() + 1,
        Some((_, part)) => part.matches(what).count(),
    };
    Ok(Value::from(count))
}

/// Whether text[start:end] has one of the strings at its edge.
fn affix(text: &str, args: &[Value], has: fn(&str, &str) -> bool) -> Result<Value, Error> {
    let (affixes, start, end) = from_args::<(&Value, Option<i64>, Option<i64>)>(args)?;
    let part = part(text, start, end).map(|(_, part)| part);
    let test = |affix: &Value| match affix.as_str() {
        Some(affix) => Ok(part.is_some_and(|part| has(part, affix))),
        None => invalid(format!("expected a string or a tuple of them, not {}", affix.kind())),
    };
    if !matches!(affixes.kind(), ValueKind::Seq | ValueKind::Iterable) {
        return test(affixes).map(Value::from);
    }
    for affix in affixes.try_iter()? {
        if test(&affix)? {
            return Ok(Value::from(true));
        }
    }
    Ok(Value::from(false))
}

/// `sep` and `maxsplit`, by position or name; a negative one splits everywhere.
fn split_arguments(args: &[Value]) -> Result<(Option<String>, usize), Error> {
    let (by, most, kwargs) = from_args::<(Option<String>, Option<i64>, Kwargs)>(args)?;
    let by = match by {
        Some(by) => Some(by),
        None => kwargs.get::<Option<String>>("sep")?,
    };
    let most = match most {
        Some(most) => Some(most),
        None => kwargs.get::<Option<i64>>("maxsplit")?,
    };
    kwargs.assert_all_used()?;
    if by.as_deref() == Some("") {
        return invalid("empty separator");
    }
    Ok((by, most.and_then(|m| usize::try_from(m).ok()).unwrap_or(usize::MAX - 1)))
}

fn split(text: &str, by: Option<&str>, splits: usize) -> Value {
    if let Some(by) = by {
        return list(text.splitn(splits + 1, by));
    }
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let (true, Some(at)) = (words.len() < splits, rest.find(char::is_whitespace)) {
        words.push(&rest[..at]);
        rest = rest[at..].trim_start();
    }
    if !rest.is_empty() {
        words.push(rest);
    }
    list(words)
}

/// Lines end where Python ends them, "\r\n" once.
pub fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let ends = |c: char| {
        matches!(c, '\n'..='\r' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
    };
    let mut lines = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(ends) {
        let size = match &rest[at..] {
            end if end.starts_with("\r\n") => 2,
            end => end.chars().next().map_or(1, char::len_utf8),
        };
        lines.push(&rest[..if keep_ends { at + size } else { at }]);
        rest = &rest[at + size..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn swapped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_uppercase() {
            true => out.extend(c.to_lowercase()),
            false => out.extend(c.to_uppercase()),
        }
    }
    out
}

fn pad_arguments(args: &[Value]) -> Result<(i64, char), Error> {
    let (width, fill) = from_args::<(i64, Option<&str>)>(args)?;
    let mut fill = fill.unwrap_or(" ").chars();
    match (fill.next(), fill.next()) {
        (Some(fill), None) => Ok((width, fill)),
        _ => invalid("expected one character to fill with"),
    }
}

/// `text` with `fill` up to `width` characters, `left(gap, width)` of them before it.
fn padded(
    text: &str,
    width: i64,
    fill: char,
    left: fn(usize, usize) -> usize,
) -> Result<Value, Error> {
    let width = check("a width", usize::try_from(width).unwrap_or(0), Limits::get().width)?;
    let gap = width.saturating_sub(text.chars().count());
    let before = left(gap, width);
    let mut out: String = std::iter::repeat_n(fill, before).collect();
    out.push_str(text);
    out.extend(std::iter::repeat_n(fill, gap - before));
    Ok(Value::from(out))
}

/// An odd gap is larger on the side that Python chooses.
pub fn centered(text: &str, width: i64, fill: char) -> Result<Value, Error> {
    padded(text, width, fill, |gap, width| gap / 2 + (gap & width & 1))
}

fn zero_filled(text: &str, width: i64) -> Result<Value, Error> {
    let (sign, digits) = match text.strip_prefix(['+', '-']) {
        Some(digits) => (&text[..1], digits),
        None => ("", text),
    };
    let padded = padded(digits, width - sign.len() as i64, '0', |gap, _| gap)?;
    Ok(Value::from(format!("{sign}{padded}")))
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

fn rsplit(text: &str, by: Option<&str>, splits: usize) -> Value {
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

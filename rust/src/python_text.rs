//! Values written as Python writes them: `str()` for printing in a template and `json.dumps` for
//! its `tojson` filter.

use crate::limits::{check, Limits};
use crate::python_values::{is_tuple, pairs};
use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind};

/// No message is nested this deep.
const MAX_DEPTH: usize = 200;

fn check_depth(depth: usize) -> Result<(), Error> {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    let message = format!("a value nested deeper than {MAX_DEPTH} cannot be written");
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

fn check_size(out: &str) -> Result<(), Error> {
    check("a value's text", out.len(), Limits::get().output_bytes).map(|_| ())
}

/// str(value): strings as they are, None, True and False, lists and dicts with repr inside.
pub fn str_of(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(text.to_string());
    }
    let mut out = String::new();
    if !value.is_undefined() && !write_repr(value, 0, &mut out) {
        check_size(&out)?;
        check_depth(MAX_DEPTH)?;
    }
    Ok(out)
}

/// repr(value); false when it is nested too deep, whose inside is then "...", or too long.
pub fn write_repr(value: &Value, depth: usize, out: &mut String) -> bool {
    if depth >= MAX_DEPTH {
        out.push_str("...");
        return false;
    }
    if out.len() as u64 > Limits::get().output_bytes {
        return false;
    }
    let mut whole = true;
    match value.kind() {
        ValueKind::None => out.push_str("None"),
        ValueKind::Bool => out.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => out.push_str(&number(value)),
        ValueKind::String => out.push_str(&repr_str(value.as_str().unwrap_or_default())),
        ValueKind::Seq | ValueKind::Iterable => {
            let brackets = if is_tuple(value) { ['(', ')'] } else { ['[', ']'] };
            let mut count = 0;
            out.push(brackets[0]);
            for item in value.try_iter().into_iter().flatten() {
                out.push_str(if count > 0 { ", " } else { "" });
                whole = write_repr(&item, depth + 1, out) && whole;
                count += 1;
            }
            out.push_str(if count == 1 && is_tuple(value) { "," } else { "" });
            out.push(brackets[1]);
        }
        ValueKind::Map => {
            out.push('{');
            for (count, (key, item)) in pairs(value).iter().enumerate() {
                out.push_str(if count > 0 { ", " } else { "" });
                whole &= write_repr(key, depth + 1, out);
                out.push_str(": ");
                whole &= write_repr(item, depth + 1, out);
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
    whole
}

/// Fractions beyond 16 digits, or with four zeros behind the point, have an exponent of at least
/// two digits.
fn number(value: &Value) -> String {
    let text = value.to_string();
    let size = f64::try_from(value.clone()).map_or(0.0, f64::abs);
    if !size.is_finite() && !value.is_integer() {
        return text.to_lowercase();
    }
    if value.is_integer() || size == 0.0 || (1e-4..1e16).contains(&size) {
        return text;
    }
    let text = format!("{:e}", f64::try_from(value.clone()).unwrap_or_default());
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

fn repr_str(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut out = String::from(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if is_printable(c) => out.push(c),
            c => match c as u32 {
                code @ ..=0xff => out.push_str(&format!("\\x{code:02x}")),
                code @ ..=0xffff => out.push_str(&format!("\\u{code:04x}")),
                code => out.push_str(&format!("\\U{code:08x}")),
            },
        }
    }
    out.push(quote);
    out
}

/// str.isprintable() for what occurs in text: no controls, no spaces but the plain one, no
/// invisible formatting, nothing private.
fn is_printable(c: char) -> bool {
    let invisible = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}'
        | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}'..='\u{e007f}' | '\u{f0000}'..);
    c == ' ' || !(c.is_control() || c.is_whitespace() || invisible)
}

/// How `json.dumps` was called.
#[derive(Clone, Default)]
pub struct JsonStyle {
    pub indent: Option<String>, // of one level
    pub item_separator: Option<String>,
    pub key_separator: Option<String>,
    pub sort_keys: bool,
    pub ensure_ascii: bool,
}

/// json.dumps(value, **style).
pub fn json_of(value: &Value, style: &JsonStyle) -> Result<String, Error> {
    let mut out = String::new();
    write_json(value, style, 0, &mut out)?;
    Ok(out)
}

fn json_number(value: &Value) -> String {
    match number(value).as_str() {
        "nan" => "NaN".into(),
        "inf" => "Infinity".into(),
        "-inf" => "-Infinity".into(),
        text => text.into(),
    }
}

/// A key that is no string becomes one as json.dumps spells its value.
fn json_key(key: &Value) -> Result<String, Error> {
    match key.kind() {
        ValueKind::String => Ok(key.as_str().unwrap_or_default().to_string()),
        ValueKind::None => Ok("null".into()),
        ValueKind::Bool => Ok(if key.is_true() { "true" } else { "false" }.into()),
        ValueKind::Number => Ok(json_number(key)),
        kind => {
            let message = format!("a key must be text, a number, a bool or None, not {kind}");
            Err(Error::new(ErrorKind::BadSerialization, message))
        }
    }
}

fn write_json(value: &Value, style: &JsonStyle, depth: usize, out: &mut String) -> Result<(), Error> {
    check_depth(depth)?;
    check_size(out)?;
    match value.kind() {
        ValueKind::None => out.push_str("null"),
        ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
        ValueKind::Number => out.push_str(&json_number(value)),
        ValueKind::String => write_json_str(value.as_str().unwrap_or_default(), style, out),
        ValueKind::Map => {
            let mut members = pairs(value);
            if style.sort_keys {
                members.sort_by_cached_key(|(key, _)| str_of(key).unwrap_or_default());
            }
            let separator = style.key_separator.as_deref().unwrap_or(": ");
            write_items(['{', '}'], members.iter(), style, depth, out, |(key, item), out| {
                write_json_str(&json_key(key)?, style, out);
                out.push_str(separator);
                write_json(item, style, depth + 1, out)
            })?;
        }
        ValueKind::Seq | ValueKind::Iterable => {
            let list: Vec<_> = value.try_iter()?.collect();
            write_items(['[', ']'], list.iter(), style, depth, out, |item, out| {
                write_json(item, style, depth + 1, out)
            })?;
        }
        kind => {
            let message = format!("{kind} is not JSON serializable");
            return Err(Error::new(ErrorKind::BadSerialization, message));
        }
    }
    Ok(())
}

fn write_items<T>(
    brackets: [char; 2],
    list: impl ExactSizeIterator<Item = T>,
    style: &JsonStyle,
    depth: usize,
    out: &mut String,
    mut write: impl FnMut(T, &mut String) -> Result<(), Error>,
) -> Result<(), Error> {
    let separator = style.item_separator.as_deref();
    let separator = separator.unwrap_or(if style.indent.is_some() { "," } else { ", " });
    let empty = list.len() == 0;
    out.push(brackets[0]);
    for (number, item) in list.enumerate() {
        if number > 0 {
            out.push_str(separator);
        }
        new_line(style, depth + 1, out);
        write(item, out)?;
    }
    if !empty {
        new_line(style, depth, out);
    }
    out.push(brackets[1]);
    Ok(())
}

fn new_line(style: &JsonStyle, depth: usize, out: &mut String) {
    if let Some(indent) = &style.indent {
        out.push('\n');
        out.extend(std::iter::repeat_n(indent.as_str(), depth));
    }
}

fn write_json_str(text: &str, style: &JsonStyle, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if style.ensure_ascii && !c.is_ascii() => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

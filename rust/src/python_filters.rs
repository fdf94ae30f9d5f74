//! The filters and tests that Jinja has otherwise than minijinja, or alone.

use crate::limits::{check, Limits};
use crate::python_methods::{centered, formatted, lines};
use crate::python_text::{json_of, str_of, JsonStyle};
use crate::python_values::{list, pairs, tuple};
use minijinja::value::{ArgType, Kwargs, Rest, Value, ValueKind};
use minijinja::{filters, Environment, Error, ErrorKind, FormatStyle, State};
use minijinja_contrib::{filters as more, globals};

pub fn add_to(env: &mut Environment) {
    env.add_filter("tojson", tojson);
    env.add_filter("string", |value: Value| str_of(&value));
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("round", round);
    env.add_filter("length", length);
    env.add_filter("count", length);
    env.add_filter("join", join);
    env.add_filter("list", to_list);
    env.add_filter("items", items);
    env.add_filter("dictsort", dictsort);
    env.add_filter("batch", batch);
    env.add_filter("slice", slice);
    env.add_filter("replace", replace);
    env.add_filter("indent", indent);
    env.add_filter("title", title);
    env.add_filter("truncate", truncate);
    env.add_filter("wordcount", wordcount);
    env.add_filter("urlencode", urlencode);
    env.add_filter("striptags", more::striptags);
    env.add_filter("center", |text: String, width: Option<i64>| {
        centered(&text, width.unwrap_or(80), ' ')
    });
    env.add_filter("format", |text: String, args: Rest<Value>| {
        formatted(FormatStyle::Printf, &text, &args)
    });
    env.add_function("cycler", |items: Rest<Value>| globals::cycler(items.to_vec()));
    env.add_function("joiner", globals::joiner);
    env.add_test("sequence", |value: Value| {
        value.kind() == ValueKind::String || value.kind() == ValueKind::Undefined
            || value.len().is_some()
    });
    env.add_test("number", |value: Value| {
        matches!(value.kind(), ValueKind::Number | ValueKind::Bool)
    });
    env.add_test("callable", |value: Value| value.kind() == ValueKind::Plain);
}

/// The argument by position, else by name.
fn given<T>(position: Option<T>, kwargs: &Kwargs, name: &'static str) -> Result<Option<T>, Error>
where
    for<'a> Option<T>: ArgType<'a, Output = Option<T>>,
{
    match position {
        Some(value) => Ok(Some(value)),
        None => kwargs.get::<Option<T>>(name),
    }
}

fn invalid<T>(sentence: &str) -> Result<T, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, sentence.to_string()))
}

/// What stands before a line: so many spaces, or a text.
fn indentation(indent: &Value) -> Result<String, Error> {
    let most = Limits::get().indent;
    if let Some(text) = indent.as_str() {
        check("an indent", text.len(), most)?;
        return Ok(text.to_string());
    }
    let spaces = usize::try_from(i64::try_from(indent.clone())?).unwrap_or(0);
    Ok(" ".repeat(check("an indent", spaces, most)?))
}

/// The arguments that transformers gives it.
fn tojson(
    value: Value,
    ensure_ascii: Option<Value>,
    indent: Option<Value>,
    separators: Option<Vec<String>>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let is_true = |flag: Option<Value>| flag.is_some_and(|flag| flag.is_true());
    let indent = given(indent, &kwargs, "indent")?.filter(|indent| !indent.is_none());
    let separators = given(separators, &kwargs, "separators")?.unwrap_or_default();
    let style = JsonStyle {
        indent: indent.as_ref().map(indentation).transpose()?,
        item_separator: separators.first().cloned(),
        key_separator: separators.get(1).cloned(),
        sort_keys: is_true(kwargs.get::<Option<Value>>("sort_keys")?),
        ensure_ascii: is_true(given(ensure_ascii, &kwargs, "ensure_ascii")?),
    };
    kwargs.assert_all_used()?;
    json_of(&value, &style).map(Value::from_safe_string)
}

/// `int` and `float` fall back to their argument, by default zero.
fn int(
    state: &State,
    value: Value,
    default: Option<Value>,
    base: Option<u32>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let default = given(default, &kwargs, "default")?.unwrap_or(Value::from(0));
    let base = given(base, &kwargs, "base")?.unwrap_or(10);
    kwargs.assert_all_used()?;
    match value.as_str() {
        Some(text) if base != 10 && (2..=36).contains(&base) => {
            let text = text.trim().to_lowercase();
            let prefix = match base {
                2 => "0b",
                8 => "0o",
                16 => "0x",
                _ => "",
            };
            let digits = text.strip_prefix(prefix).unwrap_or(&text);
            Ok(i64::from_str_radix(digits, base).map_or(default, Value::from))
        }
        _ => Ok(filters::int(state, &value).unwrap_or(default)),
    }
}

fn float(state: &State, value: &Value, default: Option<Value>) -> Value {
    filters::float(state, value).unwrap_or(default.unwrap_or(Value::from(0.0)))
}

/// Ties go to the even digit, as Python's round takes them.
fn round(
    value: Value,
    precision: Option<i32>,
    method: Option<String>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let precision = given(precision, &kwargs, "precision")?.unwrap_or(0);
    let method = given(method, &kwargs, "method")?.unwrap_or("common".into());
    kwargs.assert_all_used()?;
    let number = f64::try_from(value.clone())?;
    let power = 10f64.powi(precision);
    Ok(match method.as_str() {
        "common" if value.is_integer() && precision >= 0 => value,
        "common" if !number.is_finite() || precision > 300 => Value::from(number),
        "common" if precision > 0 => {
            let text = format!("{number:.*}", precision as usize);
            Value::from(text.parse::<f64>().unwrap_or(number))
        }
        "common" => Value::from((number * power).round_ties_even() / power),
        "ceil" => Value::from((number * power).ceil() / power),
        "floor" => Value::from((number * power).floor() / power),
        _ => return invalid("method must be common, ceil or floor"),
    })
}

/// What is not there has no items.
fn length(value: Value) -> Result<usize, Error> {
    if value.is_undefined() {
        return Ok(0);
    }
    filters::length(&value)
}

fn join(
    value: Value,
    separator: Option<String>,
    attribute: Option<Value>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let separator = given(separator, &kwargs, "d")?.unwrap_or_default();
    let attribute = given(attribute, &kwargs, "attribute")?;
    kwargs.assert_all_used()?;
    let mut out = String::new();
    for (number, item) in value.try_iter()?.enumerate() {
        if number > 0 {
            out.push_str(&separator);
        }
        let item = match &attribute {
            Some(name) => item.get_item(name)?,
            None => item,
        };
        out.push_str(&str_of(&item)?);
        check("a joined text", out.len(), Limits::get().output_bytes)?;
    }
    Ok(out)
}

fn to_list(state: &State, value: Value) -> Result<Value, Error> {
    check("a list", value.len().unwrap_or(0), Limits::get().output_bytes)?;
    Ok(list(filters::list(state, value)?.try_iter()?))
}

fn items(value: Value) -> Result<Value, Error> {
    filters::items(&value)?;
    Ok(list(pairs(&value).into_iter().map(|(key, item)| tuple([key, item]))))
}

fn dictsort(
    value: Value,
    case_sensitive: Option<bool>,
    by: Option<String>,
    reverse: Option<bool>,
    kwargs: Kwargs,
) -> Result<Value, Error> {
    let case_sensitive = given(case_sensitive, &kwargs, "case_sensitive")?;
    let by = given(by, &kwargs, "by")?;
    let reverse = given(reverse, &kwargs, "reverse")?;
    kwargs.assert_all_used()?;
    let named = Kwargs::from_iter([
        ("case_sensitive", Value::from(case_sensitive.unwrap_or(false))),
        ("by", Value::from(by.unwrap_or("key".into()))),
        ("reverse", Value::from(reverse.unwrap_or(false))),
    ]);
    let sorted = filters::dictsort(&value, named)?;
    let pair = |pair: Value| tuple(pair.try_iter().into_iter().flatten());
    Ok(list(sorted.try_iter()?.map(pair)))
}

fn batch(state: &State, value: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    filters::batch(state, value, check("a batch", count, Limits::get().width)?, fill)
}

fn slice(state: &State, value: Value, count: usize, fill: Option<Value>) -> Result<Value, Error> {
    filters::slice(state, value, check("a slice", count, Limits::get().width)?, fill)
}

fn replace(
    value: Value,
    old: String,
    new: String,
    count: Option<i64>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let count = given(count, &kwargs, "count")?.and_then(|count| usize::try_from(count).ok());
    kwargs.assert_all_used()?;
    let text = str_of(&value)?;
    Ok(match count {
        Some(count) => text.replacen(&old, &new, count),
        None => text.replace(&old, &new),
    })
}

fn indent(
    value: Value,
    width: Option<Value>,
    first: Option<bool>,
    blank: Option<bool>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let before = indentation(&given(width, &kwargs, "width")?.unwrap_or(Value::from(4)))?;
    let first = given(first, &kwargs, "first")?.unwrap_or(false);
    let blank = given(blank, &kwargs, "blank")?.unwrap_or(false);
    kwargs.assert_all_used()?;
    let text = str_of(&value)? + "\n";
    let mut out = String::new();
    for (number, line) in lines(&text, false).into_iter().enumerate() {
        let indented = if number == 0 { first } else { blank || !line.is_empty() };
        out.push_str(if number > 0 { "\n" } else { "" });
        out.push_str(if indented { &before } else { "" });
        out.push_str(line);
    }
    Ok(out)
}

/// A word begins behind a space, a dash or an opening bracket, not behind an apostrophe.
fn title(value: Value) -> Result<String, Error> {
    let mut out = String::new();
    let mut at_start = true;
    for c in str_of(&value)?.chars() {
        match at_start {
            true => out.extend(c.to_uppercase()),
            false => out.extend(c.to_lowercase()),
        }
        at_start = c.is_whitespace() || matches!(c, '-' | '(' | '{' | '[' | '<');
    }
    Ok(out)
}

fn truncate(
    value: Value,
    length: Option<usize>,
    killwords: Option<bool>,
    end: Option<String>,
    kwargs: Kwargs,
) -> Result<String, Error> {
    let length = given(length, &kwargs, "length")?.unwrap_or(255);
    let killwords = given(killwords, &kwargs, "killwords")?.unwrap_or(false);
    let end = given(end, &kwargs, "end")?.unwrap_or("...".into());
    let leeway = kwargs.get::<Option<usize>>("leeway")?.unwrap_or(5);
    kwargs.assert_all_used()?;
    let text = str_of(&value)?;
    let Some(kept) = length.checked_sub(end.chars().count()) else {
        return invalid("length must not be less than that of end");
    };
    if text.chars().count() <= length.saturating_add(leeway) {
        return Ok(text);
    }
    let kept: String = text.chars().take(kept).collect();
    match kept.rsplit_once(' ') {
        Some((words, _)) if !killwords => Ok(words.to_string() + &end),
        _ => Ok(kept + &end),
    }
}

fn wordcount(value: Value) -> Result<usize, Error> {
    let text = str_of(&value)?;
    let words = text.split(|c: char| !c.is_alphanumeric() && c != '_');
    Ok(words.filter(|word| !word.is_empty()).count())
}

fn quoted(text: &str, safe: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte as char {
            c if c.is_ascii_alphanumeric() || "_.-~".contains(c) || safe.contains(c) => out.push(c),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Text as a path, pairs as a query.
fn urlencode(value: Value) -> Result<String, Error> {
    let members = match value.kind() {
        ValueKind::Map => pairs(&value),
        ValueKind::Seq | ValueKind::Iterable => {
            let items = value.try_iter()?;
            let pair = |item: Value| Ok((item.get_item_by_index(0)?, item.get_item_by_index(1)?));
            items.map(pair).collect::<Result<_, Error>>()?
        }
        _ => return Ok(quoted(&str_of(&value)?, "/")),
    };
    let mut query = Vec::new();
    for (key, item) in &members {
        let part = quoted(&str_of(key)?, "") + "=" + &quoted(&str_of(item)?, "");
        query.push(part.replace("%20", "+"));
    }
    Ok(query.join("&"))
}

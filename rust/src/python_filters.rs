//! The filters and tests that Jinja has otherwise than minijinja, or alone.

use crate::python_text::{json_of, str_of, JsonStyle};
use crate::python_values::{list, pairs, tuple};
use minijinja::value::{Kwargs, Value};
use minijinja::{filters, Environment, Error, State};

pub fn add_to(env: &mut Environment) {
    env.add_filter("tojson", tojson);
    env.add_filter("string", |value: Value| str_of(&value));
    env.add_filter("int", int);
    env.add_filter("float", float);
    env.add_filter("join", join);
    env.add_filter("list", to_list);
    env.add_filter("items", items);
    env.add_filter("dictsort", dictsort);
}

fn tojson(value: Value, indent: Option<Value>, kwargs: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => kwargs.get::<Option<Value>>("indent")?,
    };
    let indent = indent.filter(|i| !i.is_none()).map(usize::try_from).transpose()?;
    let mut style = JsonStyle { indent, ..Default::default() };
    style.sort_keys = kwargs.get::<Option<bool>>("sort_keys")?.unwrap_or(false);
    style.ensure_ascii = kwargs.get::<Option<bool>>("ensure_ascii")?.unwrap_or(false);
    if let Some(separators) = kwargs.get::<Option<Vec<String>>>("separators")? {
        style.item_separator = separators.first().cloned();
        style.key_separator = separators.get(1).cloned();
    }
    kwargs.assert_all_used()?;
    json_of(&value, &style).map(Value::from_safe_string)
}

/// `int` and `float` fall back to their argument, by default zero.
fn int(state: &State, value: &Value, default: Option<Value>) -> Value {
    filters::int(state, value).unwrap_or(default.unwrap_or(Value::from(0)))
}

fn float(state: &State, value: &Value, default: Option<Value>) -> Value {
    filters::float(state, value).unwrap_or(default.unwrap_or(Value::from(0.0)))
}

/// The argument by position, else by name.
fn given<T>(position: Option<T>, kwargs: &Kwargs, name: &'static str) -> Result<Option<T>, Error>
where
    for<'a> Option<T>: minijinja::value::ArgType<'a, Output = Option<T>>,
{
    match position {
        Some(value) => Ok(Some(value)),
        None => kwargs.get::<Option<T>>(name),
    }
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
    }
    Ok(out)
}

fn to_list(state: &State, value: Value) -> Result<Value, Error> {
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

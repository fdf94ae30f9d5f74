//! Chat templates, rendered as the Jinja environment of transformers renders them: trim_blocks,
//! lstrip_blocks, loop controls, its own `tojson`, `raise_exception`, `strftime_now` and
//! `generation` blocks.

use crate::python_filters;
use crate::python_methods::{strftime, string_method};
use crate::python_text::str_of;
use crate::python_values::{dict_method, list_method, of_json};
use minijinja::value::{Value, ValueKind};
use minijinja::{context, Environment, Error, ErrorKind, Output, State};
use minijinja_contrib::pycompat::unknown_method_callback;
use std::any::Any;

/// What a hostile template may burn, in instructions.
const FUEL: u64 = 5_000_000;
const RECURSION: usize = 120;
/// A template can wrap a list into a list as often as its fuel lasts, and freeing that recurses:
/// this much (address space; only what is touched becomes memory) holds the deepest one.
const STACK_BYTES: usize = 1 << 30;

pub enum Failure {
    /// The template called raise_exception with this sentence.
    Raised(String),
    Other(String),
}

const RAISED: &str = "\u{1}raised:";

fn raise_exception(message: String) -> Result<Value, Error> {
    Err(Error::new(ErrorKind::InvalidOperation, format!("{RAISED}{message}")))
}

fn print(out: &mut Output, _: &State, value: &Value) -> Result<(), Error> {
    out.write_str(&str_of(value)?).map_err(Error::from)
}

fn unknown_method(
    state: &State,
    value: &Value,
    name: &str,
    args: &[Value],
) -> Result<Value, Error> {
    let own = match value.kind() {
        ValueKind::String => string_method(value.as_str().unwrap_or_default(), name, args),
        ValueKind::Map => dict_method(value, name, args),
        ValueKind::Seq | ValueKind::Iterable => list_method(value, name, args),
        _ => None,
    };
    own.unwrap_or_else(|| unknown_method_callback(state, value, name, args))
}

/// `{% generation %}` marks what the assistant said; rendered, it is a block with its own variables.
fn without_generation_blocks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else { return out + tag };
        let (tag, after) = tag.split_at(end + 2);
        let word = tag[2..end].trim_matches(['-', '+']).trim();
        match word {
            "generation" => out.push_str(&tag.replacen("generation", "with", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endwith", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out + rest
}

fn environment<'a>(local_seconds: i64) -> Environment<'a> {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_fuel(Some(FUEL));
    env.set_recursion_limit(RECURSION);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(unknown_method);
    env.set_formatter(print);
    python_filters::add_to(&mut env);
    env.add_function("raise_exception", raise_exception);
    env.add_function("strftime_now", move |format: &str| strftime(local_seconds, format));
    env
}

pub fn render(source: &str, context: &str, local_seconds: i64) -> Result<String, Failure> {
    let work = || render_here(source, context, local_seconds);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|e| Failure::Other(format!("no thread to run it: {e}")))?;
        thread.join().unwrap_or_else(|panic| Err(Failure::Other(panic_text(&*panic))))
    })
}

/// What a panic said.
pub fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a fault of the library: {}", text.unwrap_or("no reason given"))
}

/// Jinja reads every line end as a newline.
fn with_newlines(source: &str) -> String {
    source.replace("\r\n", "\n").replace('\r', "\n")
}

fn render_here(source: &str, context: &str, local_seconds: i64) -> Result<String, Failure> {
    let other = |e: Error| match e.detail().and_then(|d| d.strip_prefix(RAISED)) {
        Some(message) => Failure::Raised(message.to_string()),
        None => Failure::Other(describe(&e)),
    };
    let values: serde_json::Value =
        serde_json::from_str(context).map_err(|e| Failure::Other(e.to_string()))?;
    let env = environment(local_seconds);
    let source = without_generation_blocks(&with_newlines(source));
    let template = env.template_from_named_str("chat_template", &source).map_err(other)?;
    let values = context! { ..of_json(values) };
    template.render(values).map_err(other)
}

fn describe(error: &Error) -> String {
    let mut text = error.kind().to_string();
    if let Some(detail) = error.detail() {
        text = format!("{text}: {detail}");
    }
    match error.line() {
        Some(line) => format!("{text} (line {line})"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str, context: &str) -> String {
        match render(source, context, 0) {
            Ok(text) => text,
            Err(Failure::Raised(m)) => format!("raised {m}"),
            Err(Failure::Other(m)) => format!("error {m}"),
        }
    }

    #[test]
    fn prints_as_python_does() {
        let context = r#"{"a": true, "b": null, "c": ["x", 1, 2.5, {"k": "it's"}]}"#;
        assert_eq!(text("{{ a }} {{ b }} {{ c }}", context), "True None ['x', 1, 2.5, {'k': \"it's\"}]");
    }

    #[test]
    fn a_value_of_the_context_becomes_text_in_one_way() {
        let context = r#"{"d": {"a": "b", "c": [null, true]}}"#;
        let python = "{'a': 'b', 'c': [None, True]}";
        for made in ["d", "'' ~ d", "[d] | join", "'' ~ ([d] | list)[0]", "''.join([d])"] {
            assert_eq!(text(&format!("{{{{ {made} }}}}"), context), python, "{made}");
        }
        assert_eq!(text("{{ '' ~ d.items() }}", context), "[('a', 'b'), ('c', [None, True])]");
    }

    #[test]
    fn a_method_wins_over_a_key_of_its_name() {
        let context = r#"{"d": {"items": 1, "get": 2}}"#;
        assert_eq!(text("{{ d.items() | list }} {{ d.get('get') }}", context),
                   "[('items', 1), ('get', 2)] 2");
    }

    #[test]
    fn tojson_has_pythons_separators_and_keeps_key_order() {
        let context = r#"{"o": {"z": [1, "é<"], "a": {}}}"#;
        assert_eq!(text("{{ o | tojson }}", context), r#"{"z": [1, "é<"], "a": {}}"#);
        assert_eq!(text("{{ o | tojson(indent=1) }}", context),
                   "{\n \"z\": [\n  1,\n  \"é<\"\n ],\n \"a\": {}\n}");
    }

    #[test]
    fn raise_exception_keeps_its_sentence() {
        assert_eq!(text("{{ raise_exception('no system role') }}", "{}"), "raised no system role");
    }

    #[test]
    fn generation_blocks_pass_through() {
        assert_eq!(text("a{% generation %}b{%- endgeneration -%} c", "{}"), "abc");
        let set = "{% generation %}{% set x = 1 %}{{ x }}{% endgeneration %}{{ x is defined }}";
        assert_eq!(text(set, "{}"), "1False");
    }

    #[test]
    fn a_template_that_never_ends_is_stopped() {
        let loops = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(text(loops, "{}").starts_with("error"));
        let recursion = "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}";
        assert!(text(recursion, "{}").starts_with("error"));
    }

    #[test]
    fn a_value_nested_as_deep_as_the_fuel_lasts_is_freed() {
        let nest = "{% set n = namespace(x=[]) %}{% for a in range(9999) %}{% for b in range(99) %}\
                    {% set n.x = [n.x] %}{% endfor %}{% endfor %}";
        assert!(text(nest, "{}").starts_with("error"));
        let some = nest.replace("99)", "9)");
        assert!(text(&format!("{some}{{{{ n.x }}}}"), "{}").contains("nested"));
        assert!(text(&format!("{some}{{{{ n.x | tojson }}}}"), "{}").contains("nested"));
    }

    #[test]
    fn every_line_end_is_a_newline() {
        assert_eq!(text("a\r\nb\r{{ 'c\r\nd' }}{% if 1 %}\r\ne{% endif %}", "{}"), "a\nb\nc\nde");
        assert_eq!(text("{{ c }}{{ '\\r' }}", r#"{"c": "x\r\ny"}"#), "x\r\ny\r");
    }

    #[test]
    fn the_clock_is_the_callers() {
        assert_eq!(text("{{ strftime_now('%d %b %Y') }}", "{}"), "01 Jan 1970");
        assert_eq!(text("{{ strftime_now('%-d %Q 100%') }}", "{}"), "1 %Q 100%");
        assert_eq!(text("{{ strftime_now('%-A %-%') }}", "{}"), "%-A %-%");
        assert_eq!(text("{{ strftime_now('%H:%M:%S.%f%z|') }}", "{}"), "00:00:00.000000|");
    }

    #[test]
    fn a_tag_that_never_ends_is_left_alone() {
        assert_eq!(text("a{{ '{%' }}b", "{}"), "a{%b");
    }

    #[test]
    fn strings_have_pythons_methods() {
        assert_eq!(text("{{ 'a.b.c'.rsplit('.', 1) }}", "{}"), "['a.b', 'c']");
        assert_eq!(text("{{ ' a  b '.rsplit() }}", "{}"), "['a', 'b']");
        assert_eq!(text("{{ 'a  b  c '.rsplit(none, 1) }}", "{}"), "['a  b', 'c']");
        assert_eq!(text("{{ 'ab'.removeprefix('a') }}{{ 'ab'.removesuffix('b') }}", "{}"), "ba");
        assert_eq!(text("{{ 'a.b.c'.partition('.')[2] }}", "{}"), "b.c");
        assert_eq!(text("{{ 'a.b.c'.rpartition('.')[0] }}", "{}"), "a.b");
        assert_eq!(text("{{ 'a'.partition('.')[0] }}{{ 'c'.rpartition('.')[2] }}", "{}"), "ac");
    }

    #[test]
    fn positions_in_a_string_count_characters() {
        let context = r#"{"c": "<think>日本</think>答え"}"#;
        let answer = "{{ c[c.find('</think>') + 8:] }} {{ c[:c.rindex('</think>')] }}";
        assert_eq!(text(answer, context), "答え <think>日本");
        let bounds = "{{ c.find('<', 1) }} {{ c.find('<', 10) }} {{ c.rfind('<', none, -3) }} \
                      {{ c.index('答') }} {{ c.find('', 20) }} {{ c.find('x') }}";
        assert_eq!(text(bounds, context), "9 -1 9 17 -1 -1");
        assert!(text("{{ c.index('x') }}", context).starts_with("error"));
    }

    #[test]
    fn an_empty_needle_is_counted() {
        assert_eq!(text("{{ 'äbc'.count('') }} {{ ''.count('') }} {{ 'aaa'.count('aa') }} \
                         {{ 'aba'.count('a', 1) }} {{ 'a'.count('', 5) }}", "{}"), "4 1 1 1 0");
    }

    #[test]
    fn strings_are_padded_and_split_as_pythons() {
        assert_eq!(text("{{ '-7'.zfill(4) }} {{ 'a'.ljust(3, '.') }} {{ 'a'.rjust(3) }} \
                         {{ 'ab'.center(5, '*') }} {{ 'a'.center(4, '*') }} {{ 'aB'.swapcase() }}",
                        "{}"), "-007 a..   a **ab* *a** Ab");
        assert_eq!(text("{{ 'a-b-c'.split('-', maxsplit=1) }} {{ ' a  b c '.split(none, 1) }}",
                        "{}"), "['a', 'b-c'] ['a', 'b c ']");
        assert_eq!(text("{{ 'a\\r\\nb\\rc\\n'.splitlines() }}", "{}"), "['a', 'b', 'c']");
        assert_eq!(text("{{ 'abc'.startswith('b', 1) }} {{ 'abc'.endswith(('x', 'b'), 0, 2) }}",
                        "{}"), "True True");
        for wide in ["ljust", "rjust", "center", "zfill"] {
            let call = |width| text(&format!("{{{{ 'a'.{wide}({width}) | length }}}}"), "{}");
            assert_eq!(call(9_999), "9999");
            assert_eq!(call(10_000), "10000");
            assert!(call(10_001).starts_with("error"));
        }
    }

    #[test]
    fn filters_take_what_jinja_takes() {
        assert_eq!(text("{{ 'x' | int(7) }} {{ '5' | int }} {{ 'x' | float }}", "{}"), "7 5 0.0");
        assert_eq!(text("{{ [1, 'a'] | string }}", "{}"), "[1, 'a']");
    }
}

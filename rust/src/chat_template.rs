//! Chat templates, rendered as the Jinja environment of transformers renders them: trim_blocks,
//! lstrip_blocks, loop controls, its own `tojson`, `raise_exception`, `strftime_now` and
//! `generation` blocks.

use crate::limits::Limits;
use crate::python_filters;
use crate::python_methods::{strftime, string_method};
use crate::python_text::str_of;
use crate::python_values::{dict_method, list_method, of_json};
use minijinja::value::{Value, ValueKind};
use minijinja::{context, Environment, Error, ErrorKind, Output, State};
use minijinja_contrib::pycompat::unknown_method_callback;
use std::any::Any;
use std::io;

// A template comes with a checkpoint. Bounded are its instructions (`Limits::fuel`), the text that
// comes out, what one value turns into as text or JSON, and indents and fields; too much of any is
// an error. Not bounded are the strings and lists that it builds by doubling them, and what a single
// instruction does with those: a hostile template can still use up memory or time.

const RECURSION: usize = 120;
/// A template can wrap a list into a list as often as its fuel lasts, and freeing that recurses:
/// this much (address space; only what is touched becomes memory) holds the deepest one.
const STACK_BYTES: usize = 1 << 29;

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

/// `{% generation %}` marks what the assistant said; rendered, it is a block with variables of its
/// own.
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

fn environment<'a>(local_seconds: i64, limits: Limits) -> Environment<'a> {
    let mut env = Environment::new();
    env.set_trim_blocks(true);
    env.set_lstrip_blocks(true);
    env.set_fuel(Some(limits.fuel));
    env.set_recursion_limit(RECURSION);
    env.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    env.set_unknown_method_callback(unknown_method);
    env.set_formatter(print);
    python_filters::add_to(&mut env);
    env.add_function("raise_exception", raise_exception);
    env.add_function("strftime_now", move |format: &str| strftime(local_seconds, format));
    env
}

pub fn render(
    source: &str,
    context: &str,
    local_seconds: i64,
    limits: Limits,
) -> Result<String, Failure> {
    let work = || render_here(source, context, local_seconds, limits);
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

/// Takes text up to a number of bytes, then fails.
struct Bounded {
    text: Vec<u8>,
    bytes_max: u64,
    full: bool,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.full = (self.text.len() + bytes.len()) as u64 > self.bytes_max;
        if self.full {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Jinja reads every line end as a newline.
fn with_newlines(source: &str) -> String {
    source.replace("\r\n", "\n").replace('\r', "\n")
}

fn render_here(
    source: &str,
    context: &str,
    local_seconds: i64,
    limits: Limits,
) -> Result<String, Failure> {
    let other = |e: Error| match e.detail().and_then(|d| d.strip_prefix(RAISED)) {
        Some(message) => Failure::Raised(message.to_string()),
        None => Failure::Other(describe(&e)),
    };
    limits.set();
    let values: serde_json::Value =
        serde_json::from_str(context).map_err(|e| Failure::Other(e.to_string()))?;
    let env = environment(local_seconds, limits);
    let source = without_generation_blocks(&with_newlines(source));
    let template = env.template_from_named_str("chat_template", &source).map_err(other)?;
    let values = context! { ..of_json(values) };
    let mut out = Bounded { text: Vec::new(), bytes_max: limits.output_bytes, full: false };
    let outcome = template.render_captured_to(values, &mut out).map(|_| ());
    if out.full {
        return Err(Failure::Other(format!("more than {} bytes of text", limits.output_bytes)));
    }
    outcome.map_err(other)?;
    String::from_utf8(out.text).map_err(|e| Failure::Other(e.to_string()))
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

    const LIMITS: Limits =
        Limits { fuel: 5_000_000, output_bytes: 1 << 20, indent: 100, width: 10_000 };

    fn text(source: &str, context: &str) -> String {
        text_within(LIMITS, source, context)
    }

    fn text_within(limits: Limits, source: &str, context: &str) -> String {
        match render(source, context, 0, limits) {
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
    fn tojson_takes_what_transformers_takes() {
        assert_eq!(text("{{ {none: 1, true: 2, 1.5: 3} | tojson }}", "{}"),
                   r#"{"null": 1, "true": 2, "1.5": 3}"#);
        assert_eq!(text("{{ ['é'] | tojson(true) }} {{ [1] | tojson(indent='-') }}", "{}"),
                   "[\"\\u00e9\"] [\n-1\n]");
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
    fn each_limit_is_met_and_not_passed() {
        let source = "{% for i in [1, 2] %}{% endfor %}";
        let fuel = |fuel| text_within(Limits { fuel, ..LIMITS }, source, "{}");
        let least = (1..100).find(|&n| fuel(n).is_empty()).unwrap_or_default();
        assert!(least > 2 && fuel(least - 1).contains("fuel") && fuel(least + 1).is_empty());
        let output = |size| text(&format!("{{{{ 'x' * {size} }}}}"), "{}");
        assert_eq!(output((1 << 20) - 1).len(), (1 << 20) - 1);
        assert_eq!(output(1 << 20).len(), 1 << 20);
        assert_eq!(output((1 << 20) + 1), "error more than 1048576 bytes of text");
        for call in ["[1] | tojson(indent=#) | length > 0", "'a' | indent(#) == 'a'"] {
            let call = |n| text(&format!("{{{{ {} }}}}", call.replace('#', n)), "{}");
            assert_eq!((call("99"), call("100")), ("True".into(), "True".into()));
            assert!(call("101").contains("at most 100"), "{}", call("101"));
        }
        let wide = [
            "'a'.ljust(#)", "'a'.rjust(#)", "'a'.center(#)", "'a'.zfill(#)", "'a' | center(#)",
            "[1] | batch(#) | list", "[1] | slice(#) | list", "'%#d' | format(1)",
            "'%*d' | format(#, 1)", "'{:#}'.format(1)", "'{:{}}'.format(1, #)",
        ];
        for call in wide {
            let call = |n| text(&format!("{{{{ {} }}}}", call.replace('#', n)), "{}");
            assert!(!call("9999").contains("at most"), "{}", call("9999"));
            assert!(!call("10000").contains("at most"), "{}", call("10000"));
            assert!(call("10001").contains("at most 10000"), "{}", call("10001"));
        }
    }

    #[test]
    fn a_value_that_grows_by_doubling_is_not_written_out() {
        let nest = "{% set n = namespace(x=['long enough to see']) %}{% for a in range(60) %}\
                    {% set n.x = [n.x, n.x] %}{% endfor %}";
        for print in ["n.x", "n.x | string | length", "n.x | tojson | length", "[n.x] | join"] {
            let got = text(&format!("{nest}{{{{ {print} }}}}"), "{}");
            assert!(got.contains("at most 1048576"), "{print}: {got:.99}");
        }
        assert!(text("{{ ([0] * 1000000000000) | list | length }}", "{}").contains("at most"));
    }

    #[test]
    fn every_line_end_is_a_newline() {
        assert_eq!(text("a\r\nb\r{{ 'c\r\nd' }}{% if 1 %}\r\ne{% endif %}", "{}"),
                   "a\nb\nc\nde");
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
    }

    #[test]
    fn what_is_not_there_has_no_items() {
        assert_eq!(text("{{ tools | length }} {{ tools | count }}", "{}"), "0 0");
        assert!(text("{{ 5 | length }}", "{}").starts_with("error"));
    }

    #[test]
    fn numbers_round_and_print_as_pythons() {
        assert_eq!(text("{{ 2.5 | round }} {{ -2.5 | round }} {{ 2.567 | round(2) }} \
                         {{ 2.567 | round(1, 'floor') }} {{ 2.1 | round(method='ceil') }} \
                         {{ 5 | round }}", "{}"), "2.0 -2.0 2.57 2.5 3.0 5");
        assert_eq!(text("{{ 'inf' | float }} {{ 'nan' | float }} {{ ['-inf' | float] | tojson }}",
                        "{}"), "inf nan [-Infinity]");
        assert_eq!(text("{{ '0x1f' | int(0, 16) }} {{ 'x' | int(base=8) }}", "{}"), "31 0");
    }

    #[test]
    fn the_filters_of_jinja_are_here() {
        assert_eq!(text("{{ 'aaa' | replace('a', 'b', 2) }} {{ 'ab' | center(5) }}|", "{}"),
                   "bba   ab |");
        assert_eq!(text("{{ 'Hello World' | truncate(5) }} \
                         {{ 'Hello World' | truncate(5, true, '') }}", "{}"), "He... Hello");
        assert_eq!(text("{{ 'a b_c, d' | wordcount }} {{ '<p>x</p>' | striptags }} \
                         {{ \"it's\" | title }}", "{}"), "3 x It's");
        assert_eq!(text("{{ 'a b/é' | urlencode }} {{ {'a': 'b c'} | urlencode }}", "{}"),
                   "a%20b/%C3%A9 a=b+c");
        assert_eq!(text("{{ 'a\\nb' | indent('> ') }} {{ [1, 2] | join(d='-') }}", "{}"),
                   "a\n> b 1-2");
        assert_eq!(text("{% set c = cycler(1, 2) %}{{ c.next() }}{{ c.next() }}{{ c.next() }}",
                        "{}"), "121");
        assert_eq!(text("{% set j = joiner(',') %}{{ j() }}a{{ j() }}b", "{}"), "a,b");
        assert_eq!(text("{{ 'x' is sequence }} {{ {} is sequence }} {{ 1 is sequence }} \
                         {{ true is number }} {{ range is callable }} {{ 'x' is callable }}", "{}"),
                   "True True False True True False");
    }

    #[test]
    fn filters_take_what_jinja_takes() {
        assert_eq!(text("{{ 'x' | int(7) }} {{ '5' | int }} {{ 'x' | float }}", "{}"), "7 5 0.0");
        assert_eq!(text("{{ [1, 'a'] | string }}", "{}"), "[1, 'a']");
    }
}

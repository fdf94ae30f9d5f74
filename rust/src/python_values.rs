//! Lists, tuples and dicts that print as Python's do wherever a template turns them into text
//! (`{{ }}`, `~`, join), and their methods. A template's own literals stay the library's values.

use crate::python_text::write_repr;
use minijinja::value::{from_args, DynObject, Enumerator, Object, ObjectRepr, Value};
use minijinja::{Error, ErrorKind};
use std::fmt;
use std::sync::Arc;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    List,
    Tuple,
    Dict,
}

/// One of the library's own sequences or maps, by another name.
#[derive(Debug)]
struct Container {
    kind: Kind,
    items: DynObject,
}

impl Object for Container {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        self.items.repr()
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        self.items.get_value(key)
    }

    fn get_value_by_str(self: &Arc<Self>, key: &str) -> Option<Value> {
        self.items.get_value_by_str(key)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        self.items.enumerate()
    }

    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        write_repr(&Value::from_dyn_object(self.clone()), 0, &mut text);
        f.write_str(&text)
    }
}

fn container(kind: Kind, items: Value) -> Value {
    match items.as_object() {
        Some(object) => Value::from_object(Container { kind, items: object.clone() }),
        None => items,
    }
}

pub fn list(items: impl IntoIterator<Item = Value>) -> Value {
    container(Kind::List, Value::from(items.into_iter().collect::<Vec<_>>()))
}

pub fn tuple(items: impl IntoIterator<Item = Value>) -> Value {
    container(Kind::Tuple, Value::from(items.into_iter().collect::<Vec<_>>()))
}

pub fn dict(items: impl IntoIterator<Item = (Value, Value)>) -> Value {
    container(Kind::Dict, items.into_iter().collect())
}

pub fn is_tuple(value: &Value) -> bool {
    value.downcast_object_ref::<Container>().is_some_and(|c| c.kind == Kind::Tuple)
}

pub fn of_json(json: serde_json::Value) -> Value {
    match json {
        serde_json::Value::Array(items) => list(items.into_iter().map(of_json)),
        serde_json::Value::Object(members) => {
            dict(members.into_iter().map(|(key, item)| (Value::from(key), of_json(item))))
        }
        plain => Value::from_serialize(plain),
    }
}

/// The pairs of a map, in its order.
pub fn pairs(map: &Value) -> Vec<(Value, Value)> {
    let keys = map.try_iter().into_iter().flatten();
    keys.map(|key| {
        let item = map.get_item(&key).unwrap_or_default();
        (key, item)
    })
    .collect()
}

/// The methods of dict that change nothing; None for any other.
pub fn dict_method(map: &Value, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    let bare = || from_args::<()>(args);
    Some(match name {
        "items" => bare().map(|()| list(pairs(map).into_iter().map(|(k, v)| tuple([k, v])))),
        "keys" => bare().map(|()| list(pairs(map).into_iter().map(|(key, _)| key))),
        "values" => bare().map(|()| list(pairs(map).into_iter().map(|(_, item)| item))),
        "copy" => bare().map(|()| dict(pairs(map))),
        _ => return None,
    })
}

/// The methods of list and tuple that change nothing; None for any other.
pub fn list_method(items: &Value, name: &str, args: &[Value]) -> Option<Result<Value, Error>> {
    Some(match name {
        "copy" => from_args::<()>(args).and_then(|()| Ok(list(items.try_iter()?))),
        "index" => from_args::<(&Value,)>(args).and_then(|(what,)| {
            let at = items.try_iter()?.position(|item| item == *what);
            at.map(Value::from).ok_or_else(|| {
                Error::new(ErrorKind::InvalidOperation, "the value is not in the list")
            })
        }),
        _ => return None,
    })
}


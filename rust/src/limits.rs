//! How much one rendering may use. A rendering has a thread of its own, which holds its limits.

use minijinja::{Error, ErrorKind};
use std::cell::Cell;

/// `FoveaTemplateLimits` of the C header.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Limits {
    /// Instructions of the template.
    pub fuel: u64,
    /// Of the whole text, of one value's text, and items of one list.
    pub output_bytes: u64,
    /// Spaces a level, of tojson and indent.
    pub indent: u64,
    /// Characters of a padded field, lists of batch and slice.
    pub width: u64,
}

const NONE: Limits =
    Limits { fuel: u64::MAX, output_bytes: u64::MAX, indent: u64::MAX, width: u64::MAX };

thread_local! {
    static LIMITS: Cell<Limits> = const { Cell::new(NONE) };
}

impl Limits {
    pub fn set(self) {
        LIMITS.set(self);
    }

    pub fn get() -> Limits {
        LIMITS.get()
    }
}

/// An error unless `value` is within `most`.
pub fn check(what: &str, value: usize, most: u64) -> Result<usize, Error> {
    if value as u64 <= most {
        return Ok(value);
    }
    let message = format!("expected {what} of at most {most} but got {value}");
    Err(Error::new(ErrorKind::InvalidOperation, message))
}

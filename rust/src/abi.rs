//! The functions of `include/fovea_rust.h`. All unsafe code is here.

use crate::chat_template::{self, Failure};
use crate::limits::Limits;
use crate::{tensor_file, text_tokenizer};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::slice;
use std::sync::Once;
use tokenizers::Tokenizer;

#[repr(C)]
pub struct FoveaBytes {
    data: *mut u8,
    size: usize,
}

#[repr(C)]
pub struct FoveaIds {
    data: *mut u32,
    size: usize,
}

impl From<String> for FoveaBytes {
    fn from(text: String) -> Self {
        let bytes = text.into_bytes().into_boxed_slice();
        let size = bytes.len();
        FoveaBytes { data: Box::into_raw(bytes).cast(), size }
    }
}

impl From<Vec<u32>> for FoveaIds {
    fn from(ids: Vec<u32>) -> Self {
        let ids = ids.into_boxed_slice();
        let size = ids.len();
        FoveaIds { data: Box::into_raw(ids).cast(), size }
    }
}

/// # Safety
/// `bytes` came from this library and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn fovea_free_bytes(bytes: FoveaBytes) {
    if !bytes.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(bytes.data, bytes.size)));
    }
}

/// # Safety
/// `ids` came from this library and was not freed before.
#[no_mangle]
pub unsafe extern "C" fn fovea_free_ids(ids: FoveaIds) {
    if !ids.data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(ids.data, ids.size)));
    }
}

unsafe fn bytes_of<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if size == 0 {
        &[]
    } else {
        slice::from_raw_parts(data, size)
    }
}

fn text_of(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|e| format!("text that is not UTF-8: {e}"))
}

/// Runs `body`; its value goes to `out` with status 0, its error to `error` with the given status.
unsafe fn answer<T, O: From<T>>(
    out: *mut O,
    error: *mut FoveaBytes,
    body: impl FnOnce() -> Result<T, (i32, String)>,
) -> i32 {
    // A panic becomes the caller's error; by default it would print source positions as well.
    static QUIET: Once = Once::new();
    QUIET.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    let outcome = catch_unwind(AssertUnwindSafe(body))
        .unwrap_or_else(|panic| Err((1, chat_template::panic_text(&*panic))));
    match outcome {
        Ok(value) => {
            out.write(value.into());
            0
        }
        Err((status, message)) => {
            error.write(message.into());
            status
        }
    }
}

fn plain<T>(result: Result<T, String>) -> Result<T, (i32, String)> {
    result.map_err(|message| (1, message))
}

/// # Safety
/// The pointers are valid for their sizes.
#[no_mangle]
pub unsafe extern "C" fn fovea_safetensors_parse(
    file: *const u8,
    size: usize,
    json: *mut FoveaBytes,
    error: *mut FoveaBytes,
) -> i32 {
    let file = bytes_of(file, size);
    answer(json, error, || plain(tensor_file::parse(file)))
}

struct Handle(*mut Tokenizer);

impl From<Tokenizer> for Handle {
    fn from(tokenizer: Tokenizer) -> Self {
        Handle(Box::into_raw(Box::new(tokenizer)))
    }
}

/// # Safety
/// The pointers are valid for their sizes.
#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_new(
    json: *const u8,
    size: usize,
    tokenizer: *mut *mut Tokenizer,
    error: *mut FoveaBytes,
) -> i32 {
    let json = bytes_of(json, size);
    let mut handle = Handle(std::ptr::null_mut());
    let status = answer(&mut handle, error, || plain(text_tokenizer::load(json)));
    tokenizer.write(handle.0);
    status
}

/// # Safety
/// `tokenizer` came from fovea_tokenizer_new and is not used again.
#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_free(tokenizer: *mut Tokenizer) {
    if !tokenizer.is_null() {
        drop(Box::from_raw(tokenizer));
    }
}

/// # Safety
/// The pointers are valid for their sizes.
#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_encode(
    tokenizer: *const Tokenizer,
    text: *const u8,
    size: usize,
    add_special_tokens: i32,
    ids: *mut FoveaIds,
    error: *mut FoveaBytes,
) -> i32 {
    let (tokenizer, text) = (&*tokenizer, bytes_of(text, size));
    answer(ids, error, || {
        plain(text_of(text).and_then(|t| text_tokenizer::encode(tokenizer, t, add_special_tokens != 0)))
    })
}

/// # Safety
/// The pointers are valid for their sizes.
#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_decode(
    tokenizer: *const Tokenizer,
    ids: *const u32,
    count: usize,
    skip_special_tokens: i32,
    text: *mut FoveaBytes,
    error: *mut FoveaBytes,
) -> i32 {
    let tokenizer = &*tokenizer;
    let ids = if count == 0 { &[] } else { slice::from_raw_parts(ids, count) };
    answer(text, error, || plain(text_tokenizer::decode(tokenizer, ids, skip_special_tokens != 0)))
}

/// # Safety
/// The pointers are valid for their sizes.
#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_token_to_id(
    tokenizer: *const Tokenizer,
    token: *const u8,
    size: usize,
) -> i64 {
    let id = text_of(bytes_of(token, size)).ok().and_then(|t| (*tokenizer).token_to_id(t));
    id.map_or(-1, i64::from)
}

/// # Safety
/// The pointers are valid.
#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_id_to_token(
    tokenizer: *const Tokenizer,
    id: u32,
    token: *mut FoveaBytes,
) -> i32 {
    match (*tokenizer).id_to_token(id) {
        Some(text) => {
            token.write(text.into());
            0
        }
        None => 1,
    }
}

/// # Safety
/// The pointer is valid.
#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_vocab_size(tokenizer: *const Tokenizer) -> usize {
    (*tokenizer).get_vocab_size(true)
}

/// # Safety
/// The pointer is valid.
#[no_mangle]
pub unsafe extern "C" fn fovea_tokenizer_special_ids(tokenizer: *const Tokenizer) -> FoveaIds {
    text_tokenizer::special_ids(&*tokenizer).into()
}

/// # Safety
/// The pointers are valid for their sizes.
#[no_mangle]
pub unsafe extern "C" fn fovea_template_render(
    source: *const u8,
    source_size: usize,
    context: *const u8,
    context_size: usize,
    local_seconds: i64,
    limits: *const Limits,
    text: *mut FoveaBytes,
    error: *mut FoveaBytes,
) -> i32 {
    let (source, context) = (bytes_of(source, source_size), bytes_of(context, context_size));
    let limits = *limits;
    answer(text, error, || {
        let (source, context) = (plain(text_of(source))?, plain(text_of(context))?);
        let rendered = chat_template::render(source, context, local_seconds, limits);
        rendered.map_err(|failure| match failure {
            Failure::Raised(message) => (2, message),
            Failure::Other(message) => (1, message),
        })
    })
}

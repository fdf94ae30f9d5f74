//! The C ABI of `include/fovea_rust.h`; each module holds the plain Rust behind a part of it.

mod abi;
mod chat_template;
mod limits;
mod python_filters;
mod python_methods;
mod python_text;
mod python_values;
mod tensor_file;
mod text_tokenizer;

//! tokenizer.json.

use tokenizers::Tokenizer;

/// Reads tokenizer.json; padding and truncation written in it are switched off, since a prompt is
/// never padded or cut here.
pub fn load(json: &[u8]) -> Result<Tokenizer, String> {
    let mut tokenizer = Tokenizer::from_bytes(json).map_err(|e| e.to_string())?;
    tokenizer.with_padding(None);
    tokenizer.with_truncation(None).map_err(|e| e.to_string())?;
    Ok(tokenizer)
}

pub fn encode(tokenizer: &Tokenizer, text: &str, special: bool) -> Result<Vec<u32>, String> {
    let encoding = tokenizer.encode_fast(text, special).map_err(|e| e.to_string())?;
    Ok(encoding.get_ids().to_vec())
}

pub fn decode(tokenizer: &Tokenizer, ids: &[u32], skip_special: bool) -> Result<String, String> {
    tokenizer.decode(ids, skip_special).map_err(|e| e.to_string())
}

pub fn special_ids(tokenizer: &Tokenizer) -> Vec<u32> {
    let added = tokenizer.get_added_tokens_decoder();
    let mut ids: Vec<u32> = added.iter().filter(|(_, t)| t.special).map(|(id, _)| *id).collect();
    ids.sort_unstable();
    ids
}

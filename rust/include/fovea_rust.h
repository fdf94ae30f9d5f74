/* The C face of the Rust crates tokenizers, minijinja and safetensors. Every function may be called
 * from any thread; handles are immutable. Text is UTF-8 with an explicit length. Functions return 0
 * for success; otherwise `error` holds a sentence. Whatever a function hands out is freed with the
 * matching fovea_free_* call. No panic crosses this border. */
#ifndef FOVEA_RUST_H
#define FOVEA_RUST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
  char* data;
  size_t size;
} FoveaBytes;

typedef struct {
  uint32_t* data;
  size_t size;
} FoveaIds;

void fovea_free_bytes(FoveaBytes bytes);
void fovea_free_ids(FoveaIds ids);

/* Validates the header of a whole safetensors file. `json` is a list of objects
 * {"name", "dtype", "shape", "begin", "end"}, offsets in bytes from the start of the file. */
int32_t fovea_safetensors_parse(const uint8_t* file, size_t size, FoveaBytes* json,
                                FoveaBytes* error);

typedef struct FoveaTokenizer FoveaTokenizer;

int32_t fovea_tokenizer_new(const char* json, size_t size, FoveaTokenizer** tokenizer,
                            FoveaBytes* error);
void fovea_tokenizer_free(FoveaTokenizer* tokenizer);
int32_t fovea_tokenizer_encode(const FoveaTokenizer* tokenizer, const char* text, size_t size,
                               int32_t add_special_tokens, FoveaIds* ids, FoveaBytes* error);
int32_t fovea_tokenizer_decode(const FoveaTokenizer* tokenizer, const uint32_t* ids, size_t count,
                               int32_t skip_special_tokens, FoveaBytes* text, FoveaBytes* error);
/* The id, or -1. */
int64_t fovea_tokenizer_token_to_id(const FoveaTokenizer* tokenizer, const char* token,
                                    size_t size);
/* 0 and the token's text, or 1 when no token has this id. */
int32_t fovea_tokenizer_id_to_token(const FoveaTokenizer* tokenizer, uint32_t id,
                                    FoveaBytes* token);
/* Added tokens included. */
size_t fovea_tokenizer_vocab_size(const FoveaTokenizer* tokenizer);
/* The ids of all special tokens, ascending. */
FoveaIds fovea_tokenizer_special_ids(const FoveaTokenizer* tokenizer);

/* What one rendering may use. */
typedef struct {
  uint64_t fuel;         /* instructions of the template */
  uint64_t output_bytes; /* of the whole text, of one value's text; items of one list */
  uint64_t indent;       /* spaces a level, of tojson and indent */
  uint64_t width;        /* characters of a padded field */
} FoveaTemplateLimits;

/* Renders a chat template as transformers does. `context` is a JSON object; `local_seconds` is the
 * clock that strftime_now reads, in seconds since 1970 of local time. Returns 2 when the template
 * itself raised; `error` is then its sentence. */
int32_t fovea_template_render(const char* source, size_t source_size, const char* context,
                              size_t context_size, int64_t local_seconds,
                              const FoveaTemplateLimits* limits, FoveaBytes* text,
                              FoveaBytes* error);

#ifdef __cplusplus
}
#endif

#endif

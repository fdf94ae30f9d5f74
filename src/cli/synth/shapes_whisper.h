// Whisper: config.json of openai/whisper-*. The vocabulary has the real one's size and ids of what
// stands before a text; of its languages only the first has a name.
#pragma once

namespace fovea::cli {

constexpr const char* kWhisper = R"json({
  "config.json": {
    "architectures": ["WhisperForConditionalGeneration"], "model_type": "whisper",
    "activation_function": "gelu", "bos_token_id": 50257, "eos_token_id": 50257,
    "pad_token_id": 50257, "decoder_start_token_id": 50258, "max_source_positions": 1500,
    "max_target_positions": 448, "num_mel_bins": 80, "scale_embedding": false,
    "vocab_size": 51865},
  "generation_config.json": {"begin_suppress_tokens": [220, 50257], "eos_token_id": 50257,
    "is_multilingual": true, "max_length": 448, "no_timestamps_token_id": 50363},
  "preprocessor_config.json": {"feature_extractor_type": "WhisperFeatureExtractor",
    "feature_size": 80, "chunk_length": 30, "hop_length": 160, "n_fft": 400,
    "sampling_rate": 16000},
  "vocabulary": {"text": 50257,
    "last": ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", 98, "<|translate|>",
      "<|transcribe|>", "<|startoflm|>", "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
      1501],
    "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"}
})json";

}  // namespace fovea::cli

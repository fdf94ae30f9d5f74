// Part of body.h: rows of keys and values in 8 bits (kernels/kv_bytes.h).

void quantize_kv(const float* x, int dim, int group, std::byte* row) {
  const int columns = (dim + kChunk - 1) / kChunk * kChunk;
  auto* codes = reinterpret_cast<uint8_t*>(row);
  auto* scales = reinterpret_cast<float*>(row + columns);
  std::fill(codes, codes + columns, uint8_t{0});
  for (int at = 0; at < dim; at += group, scales += 2) {
    const int end = std::min(at + group, dim);
    const auto [low, high] = std::minmax_element(x + at, x + end);
    const bool finite =
        std::all_of(x + at, x + end, [](float value) { return std::isfinite(value); });
    const float range = *high - *low;
    scales[0] = finite ? range / 255 : std::numeric_limits<float>::quiet_NaN();
    scales[1] = *low;
    const float codes_per_unit = range > 0 ? 255 / range : 0;
    if (!finite || !std::isfinite(codes_per_unit)) continue;
    for (int i = at; i < end; ++i) {
      const float code = std::nearbyint((x[i] - *low) * codes_per_unit);
      codes[i] = static_cast<uint8_t>(std::min(code, 255.0f));
    }
  }
}

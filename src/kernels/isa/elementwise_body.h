// Part of body.h: norms, activations and rotary positions.

// Calls step(i, load, store) for the whole vectors V of n floats and for the rest.
template <class V, class Step>
void for_each(size_t n, Step step) {
  constexpr size_t lanes = sizeof(V) / sizeof(float);
  size_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    step(
        i, [](const float* p) { return V::load(p); }, [](V v, float* p) { v.store(p); });
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    step(
        i, [=](const float* p) { return V::load_partial(p, rest); },
        [=](V v, float* p) { v.store_partial(p, rest); });
  }
}

// For sums, whose order is that of 8 lanes.
template <class Step>
void for_each_vec(size_t n, Step step) {
  for_each<Vec>(n, step);
}

// For maps: an element's bits do not depend on its lane.
template <class Step>
void for_each_vec16(size_t n, Step step) {
  for_each<Vec16>(n, step);
}

void rms_norm(const float* x, const float* weight, float offset, float eps, int n, float* y) {
  Vec squares = Vec::zero();
  for_each_vec(static_cast<size_t>(n), [&](size_t i, auto load, auto) {
    const Vec v = load(x + i);
    squares = Vec::fma(v, v, squares);
  });
  const Vec16 scale = Vec16::set1(1.0f / std::sqrt(squares.sum() / static_cast<float>(n) + eps));
  const Vec16 add = Vec16::set1(offset);
  for_each_vec16(static_cast<size_t>(n), [&](size_t i, auto load, auto store) {
    store(load(x + i) * scale * (load(weight + i) + add), y + i);
  });
}

void layer_norm(const float* x, const float* weight, const float* bias, float eps, int n,
                float* y) {
  Vec total = Vec::zero();
  for_each_vec(static_cast<size_t>(n),
               [&](size_t i, auto load, auto) { total = total + load(x + i); });
  const float mean = total.sum() / static_cast<float>(n);
  // The mean is taken off before squaring; the lanes past the end are left out.
  Vec squares = Vec::zero();
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const Vec v = Vec::load(x + i) - Vec::set1(mean);
    squares = Vec::fma(v, v, squares);
  }
  float variance = squares.sum();
  for (; i < n; ++i) variance += (x[i] - mean) * (x[i] - mean);
  const Vec16 scale = Vec16::set1(1.0f / std::sqrt(variance / static_cast<float>(n) + eps));
  const Vec16 middle = Vec16::set1(mean);
  for_each_vec16(static_cast<size_t>(n), [&](size_t at, auto load, auto store) {
    store(Vec16::fma((load(x + at) - middle) * scale, load(weight + at), load(bias + at)), y + at);
  });
}

// exp by 2^n * e^r with |r| <= ln2 / 2 and a polynomial of degree 6 (Cephes' coefficients, relative
// error 2e-7); inputs are clamped to where the result is a normal number. A maximum gives its
// second operand when they do not compare, so that NaN goes through.
template <class V>
V exp_vec(V x) {
  x = V::max(V::set1(-87.3f), V::zero() - V::max(V::set1(-88.0f), V::zero() - x));
  const V n = V::round(x * V::set1(1.44269504f));
  V r = V::fma(n, V::set1(-0.693359375f), x);
  r = V::fma(n, V::set1(2.12194440e-4f), r);
  V p = V::set1(1.9875691500e-4f);
  p = V::fma(p, r, V::set1(1.3981999507e-3f));
  p = V::fma(p, r, V::set1(8.3334519073e-3f));
  p = V::fma(p, r, V::set1(4.1665795894e-2f));
  p = V::fma(p, r, V::set1(1.6666665459e-1f));
  p = V::fma(p, r, V::set1(5.0000001201e-1f));
  p = V::fma(p, r * r, r + V::set1(1));
  return p * V::pow2(n);
}

template <class V>
V sigmoid(V x) {
  return V::set1(1) / (V::set1(1) + exp_vec(V::zero() - x));
}

void swiglu(const float* gate, const float* up, size_t n, float* y) {
  for_each_vec16(n, [&](size_t i, auto load, auto store) {
    const Vec16 g = load(gate + i);
    store(g * sigmoid(g) * load(up + i), y + i);
  });
}

// The activations of one vector; the loops below and the ends of products share them.
template <class V>
V silu_of(V v) {
  return v * sigmoid(v);
}

template <class V>
V gelu_quick_of(V v) {
  return v * sigmoid(V::set1(1.702f) * v);
}

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
template <class V>
V gelu_tanh_of(V v) {
  const V u = V::fma(v * v * v, V::set1(0.044715f), v);
  return v * sigmoid(V::set1(1.5957691216f) * u);
}

// a * Phi(-a) for a >= 0, Phi the normal distribution. exp(a^2 / 2) * Phi(-a) is smooth: t * P(t)
// with t = 1 / (1 + a / 4) and P fitted for the least relative error on [0, 14] (3e-7 in float32).
// The rounding of a^2 / 2, which exp would blow up, is put back.
template <class V>
V normal_tail(V a) {
  constexpr float kFit[] = {0.0997974843f, 0.0985167919f, 0.103747057f,  0.0329264674f, 0.20176165f,
                            -0.205788137f, 0.29612621f,   -0.152811501f, 0.025723949f};
  const V t = V::set1(1) / V::fma(a, V::set1(0.25f), V::set1(1));
  V p = V::set1(kFit[8]);
  for (int i = 7; i >= 0; --i) p = V::fma(p, t, V::set1(kFit[i]));
  const V half = V::set1(0.5f) * a;
  const V square = half * a;
  const V lost = V::fma(half, a, V::zero() - square);
  return a * t * p * exp_vec(V::zero() - square) * (V::set1(1) - lost);
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|): no difference of near values, whatever the sign.
template <class V>
V gelu_exact_of(V v) {
  const V a = V::max(V::zero() - v, v);
  const V bounded = V::zero() - V::max(V::set1(-14.0f), V::zero() - a);
  return V::max(V::zero(), v) - normal_tail(bounded);
}

// y[i] = f(x[i]).
template <class F>
void map_vec16(const float* x, size_t n, float* y, F f) {
  for_each_vec16(n, [&](size_t i, auto load, auto store) { store(f(load(x + i)), y + i); });
}

void silu(const float* x, size_t n, float* y) {
  map_vec16(x, n, y, [](Vec16 v) { return silu_of(v); });
}

void gelu_exact(const float* x, size_t n, float* y) {
  map_vec16(x, n, y, [](Vec16 v) { return gelu_exact_of(v); });
}

void gelu_tanh(const float* x, size_t n, float* y) {
  map_vec16(x, n, y, [](Vec16 v) { return gelu_tanh_of(v); });
}

void gelu_quick(const float* x, size_t n, float* y) {
  map_vec16(x, n, y, [](Vec16 v) { return gelu_quick_of(v); });
}

// One row's H heads of D floats, of which 2 R turn by the row's R angles.
void rotate(const float* x, const float* cos, const float* sin, int heads, int head_dim, int r,
            float* y) {
  for (int h = 0; h < heads; ++h, x += head_dim, y += head_dim) {
    for_each_vec16(static_cast<size_t>(r), [&](size_t i, auto load, auto store) {
      const Vec16 a = load(x + i);
      const Vec16 b = load(x + r + i);
      const Vec16 c = load(cos + i);
      const Vec16 s = load(sin + i);
      store(a * c - b * s, y + i);
      store(b * c + a * s, y + r + i);
    });
    std::copy(x + 2 * r, x + head_dim, y + 2 * r);
  }
}

// In whole numbers, so that every variant rounds alike: the instruction for it would flush numbers
// that are not normal.
void round_to_bf16(const float* x, size_t n, uint16_t* y) {
  for (size_t i = 0; i < n; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const bool nan = (bits & 0x7fffffff) > 0x7f800000;
    y[i] = static_cast<uint16_t>(nan ? bits >> 16 | 0x40 : rounded);
  }
}

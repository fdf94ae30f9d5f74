// Part of body.h: norms, activations and rotary positions.

// Calls step(i, load, store) for the whole vectors of n floats and for the rest.
template <class Step>
void for_each_vec(size_t n, Step step) {
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    step(
        i, [](const float* p) { return Vec::load(p); }, [](Vec v, float* p) { v.store(p); });
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    step(
        i, [=](const float* p) { return Vec::load_partial(p, rest); },
        [=](Vec v, float* p) { v.store_partial(p, rest); });
  }
}

void rms_norm(const float* x, const float* weight, float offset, float eps, int n, float* y) {
  Vec squares = Vec::zero();
  for_each_vec(static_cast<size_t>(n), [&](size_t i, auto load, auto) {
    const Vec v = load(x + i);
    squares = Vec::fma(v, v, squares);
  });
  const Vec scale = Vec::set1(1.0f / std::sqrt(squares.sum() / static_cast<float>(n) + eps));
  const Vec add = Vec::set1(offset);
  for_each_vec(static_cast<size_t>(n), [&](size_t i, auto load, auto store) {
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
  const Vec scale = Vec::set1(1.0f / std::sqrt(variance / static_cast<float>(n) + eps));
  for_each_vec(static_cast<size_t>(n), [&](size_t at, auto load, auto store) {
    store(Vec::fma((load(x + at) - Vec::set1(mean)) * scale, load(weight + at), load(bias + at)),
          y + at);
  });
}

// exp by 2^n * e^r with |r| <= ln2 / 2 and a polynomial of degree 6 (Cephes' coefficients, relative
// error 2e-7); inputs are clamped to where the result is a normal number. A maximum gives its
// second operand when they do not compare, so that NaN goes through.
Vec exp_vec(Vec x) {
  x = Vec::max(Vec::set1(-87.3f), Vec::zero() - Vec::max(Vec::set1(-88.0f), Vec::zero() - x));
  const Vec n = Vec::round(x * Vec::set1(1.44269504f));
  Vec r = Vec::fma(n, Vec::set1(-0.693359375f), x);
  r = Vec::fma(n, Vec::set1(2.12194440e-4f), r);
  Vec p = Vec::set1(1.9875691500e-4f);
  p = Vec::fma(p, r, Vec::set1(1.3981999507e-3f));
  p = Vec::fma(p, r, Vec::set1(8.3334519073e-3f));
  p = Vec::fma(p, r, Vec::set1(4.1665795894e-2f));
  p = Vec::fma(p, r, Vec::set1(1.6666665459e-1f));
  p = Vec::fma(p, r, Vec::set1(5.0000001201e-1f));
  p = Vec::fma(p, r * r, r + Vec::set1(1));
  return p * Vec::pow2(n);
}

Vec sigmoid(Vec x) { return Vec::set1(1) / (Vec::set1(1) + exp_vec(Vec::zero() - x)); }

void swiglu(const float* gate, const float* up, size_t n, float* y) {
  for_each_vec(n, [&](size_t i, auto load, auto store) {
    const Vec g = load(gate + i);
    store(g * sigmoid(g) * load(up + i), y + i);
  });
}

void silu(const float* x, size_t n, float* y) {
  for_each_vec(n, [&](size_t i, auto load, auto store) {
    const Vec v = load(x + i);
    store(v * sigmoid(v), y + i);
  });
}

void gelu_quick(const float* x, size_t n, float* y) {
  for_each_vec(n, [&](size_t i, auto load, auto store) {
    const Vec v = load(x + i);
    store(v * sigmoid(Vec::set1(1.702f) * v), y + i);
  });
}

// 0.5 x (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
void gelu_tanh(const float* x, size_t n, float* y) {
  for_each_vec(n, [&](size_t i, auto load, auto store) {
    const Vec v = load(x + i);
    const Vec u = Vec::fma(v * v * v, Vec::set1(0.044715f), v);
    store(v * sigmoid(Vec::set1(1.5957691216f) * u), y + i);
  });
}

// a * Phi(-a) for a >= 0, Phi the normal distribution. exp(a^2 / 2) * Phi(-a) is smooth: t * P(t)
// with t = 1 / (1 + a / 4) and P fitted for the least relative error on [0, 14] (3e-7 in float32).
// The rounding of a^2 / 2, which exp would blow up, is put back.
Vec normal_tail(Vec a) {
  constexpr float kFit[] = {0.0997974843f, 0.0985167919f, 0.103747057f,  0.0329264674f, 0.20176165f,
                            -0.205788137f, 0.29612621f,   -0.152811501f, 0.025723949f};
  const Vec t = Vec::set1(1) / Vec::fma(a, Vec::set1(0.25f), Vec::set1(1));
  Vec p = Vec::set1(kFit[8]);
  for (int i = 7; i >= 0; --i) p = Vec::fma(p, t, Vec::set1(kFit[i]));
  const Vec half = Vec::set1(0.5f) * a;
  const Vec square = half * a;
  const Vec lost = Vec::fma(half, a, Vec::zero() - square);
  return a * t * p * exp_vec(Vec::zero() - square) * (Vec::set1(1) - lost);
}

// x Phi(x) = max(x, 0) - |x| Phi(-|x|): no difference of near values, whatever the sign.
void gelu_exact(const float* x, size_t n, float* y) {
  for_each_vec(n, [&](size_t i, auto load, auto store) {
    const Vec v = load(x + i);
    const Vec a = Vec::max(Vec::zero() - v, v);
    const Vec bounded = Vec::zero() - Vec::max(Vec::set1(-14.0f), Vec::zero() - a);
    store(Vec::max(Vec::zero(), v) - normal_tail(bounded), y + i);
  });
}

// One row's H heads of D floats, of which 2 R turn by the row's R angles.
void rotate(const float* x, const float* cos, const float* sin, int heads, int head_dim, int r,
            float* y) {
  for (int h = 0; h < heads; ++h, x += head_dim, y += head_dim) {
    for_each_vec(static_cast<size_t>(r), [&](size_t i, auto load, auto store) {
      const Vec a = load(x + i);
      const Vec b = load(x + r + i);
      const Vec c = load(cos + i);
      const Vec s = load(sin + i);
      store(a * c - b * s, y + i);
      store(b * c + a * s, y + r + i);
    });
    std::copy(x + 2 * r, x + head_dim, y + 2 * r);
  }
}

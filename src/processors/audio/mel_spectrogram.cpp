#include "processors/audio/mel_spectrogram.h"

#include <cassert>
#include <cmath>
#include <complex>
#include <kissfft/kissfft.hh>

#include "base/thread_pool.h"

namespace fovea::processors {
namespace {

constexpr int kFramesAtOnce = 64;  // of a thread

// One mel's weights: those of `bins` from `first` on.
struct Triangle {
  int first = 0;
  std::vector<double> weights;
};

double mel_of(MelScale scale, double hertz) {
  if (scale == MelScale::kHtk) return 2595 * std::log10(1 + hertz / 700);
  if (scale == MelScale::kSpeechLib) return 1127 * std::log(1 + hertz / 700);
  return hertz < 1000 ? 3 * hertz / 200 : 15 + std::log(hertz / 1000) * 27 / std::log(6.4);
}

double hertz_of(MelScale scale, double mel) {
  if (scale == MelScale::kHtk) return 700 * (std::pow(10, mel / 2595) - 1);
  if (scale == MelScale::kSpeechLib) return 700 * (std::exp(mel / 1127) - 1);
  return mel < 15 ? 200 * mel / 3 : 1000 * std::exp(std::log(6.4) / 27 * (mel - 15));
}

std::vector<Triangle> mel_filters(const MelSpec& spec) {
  const bool in_mel = spec.mel_scale == MelScale::kSpeechLib;
  const double low = mel_of(spec.mel_scale, spec.low);
  const double high = mel_of(spec.mel_scale, spec.high);
  const auto corner = [&](int i) {
    const double mel = low + (high - low) * i / (spec.mels + 1);
    return in_mel ? mel : hertz_of(spec.mel_scale, mel);
  };
  const double bin_hertz = static_cast<double>(spec.rate) / spec.fft;
  const auto bin_near = [&](double hertz) { return static_cast<int>(hertz / bin_hertz + 0.5); };
  const int first_bin = in_mel ? bin_near(spec.low) + 1 : 0;
  const int last_bin = in_mel ? bin_near(spec.high) - 1 : spec.fft / 2;
  std::vector<Triangle> filters;
  for (int mel = 0; mel < spec.mels; ++mel) {
    const double left = corner(mel);
    const double centre = corner(mel + 1);
    const double right = corner(mel + 2);
    const double height = spec.mel_scale == MelScale::kSlaney ? 2 / (right - left) : 1;
    Triangle triangle;
    for (int bin = first_bin; bin <= last_bin; ++bin) {
      const double hertz = bin * bin_hertz;
      const double at = in_mel ? mel_of(spec.mel_scale, hertz) : hertz;
      const double weight =
          std::min((at - left) / (centre - left), (right - at) / (right - centre));
      if (weight <= 0) continue;
      if (triangle.weights.empty()) triangle.first = bin;
      triangle.weights.push_back(height * weight);
    }
    filters.push_back(std::move(triangle));
  }
  return filters;
}

std::vector<double> window(const MelSpec& spec) {
  std::vector<double> values;
  for (int i = 0; i < spec.frame; ++i) {
    values.push_back(spec.hamming ? 0.54 - 0.46 * std::cos(2 * M_PI * i / (spec.frame - 1))
                                  : 0.5 - 0.5 * std::cos(2 * M_PI * i / spec.frame));
  }
  return values;
}

class FrameSpectrum {
 public:
  FrameSpectrum(const MelSpec& spec, const kissfft<double>& fft, const std::vector<double>& window)
      : spec_(spec),
        fft_(fft),
        window_(window),
        padded_(static_cast<size_t>(spec.fft), 0),
        bins_(static_cast<size_t>(spec.fft) / 2 + 1) {}

  // Magnitudes or their squares of fft / 2 + 1 frequencies.
  const std::vector<double>& of(const float* samples) {
    const double emphasis = spec_.preemphasis;
    double before = samples[0];
    for (size_t i = 0; i < window_.size(); ++i) {
      const double sample = samples[i];
      padded_[i] = (sample - emphasis * before) * spec_.scale * window_[i];
      before = sample;
    }
    complex_.resize(bins_.size());
    fft_.transform_real(padded_.data(), complex_.data());
    const double last = complex_[0].imag();  // where the library puts it
    complex_[0] = complex_[0].real();
    complex_.back() = last;
    for (size_t i = 0; i < bins_.size(); ++i) {
      bins_[i] = spec_.power ? std::norm(complex_[i]) : std::abs(complex_[i]);
    }
    return bins_;
  }

 private:
  const MelSpec& spec_;
  const kissfft<double>& fft_;
  const std::vector<double>& window_;
  std::vector<double> padded_;
  std::vector<double> bins_;
  std::vector<std::complex<double>> complex_;
};

}  // namespace

int frame_count(const MelSpec& spec, size_t samples, int behind) {
  const auto size = static_cast<size_t>(spec.frame + behind);
  return samples < size ? 0
                        : static_cast<int>((samples - size) / static_cast<size_t>(spec.hop)) + 1;
}

std::vector<double> mel_spectrogram(const MelSpec& spec, std::span<const float> samples,
                                    int frames) {
  assert(spec.fft % 2 == 0 && spec.frame <= spec.fft);
  assert(frames <= frame_count(spec, samples.size()));
  const kissfft<double> fft(static_cast<size_t>(spec.fft) / 2, false);
  const auto filters = mel_filters(spec);
  const auto weights = window(spec);
  std::vector<double> energies(static_cast<size_t>(frames) * filters.size());
  parallel_for(frames, kFramesAtOnce, [&](int begin, int end) {
    FrameSpectrum spectrum(spec, fft, weights);
    for (int frame = begin; frame < end; ++frame) {
      const auto& bins = spectrum.of(samples.data() + int64_t{frame} * spec.hop);
      double* to = energies.data() + static_cast<size_t>(frame) * filters.size();
      for (const auto& filter : filters) {
        double sum = 0;
        for (size_t i = 0; i < filter.weights.size(); ++i) {
          sum += filter.weights[i] * bins[static_cast<size_t>(filter.first) + i];
        }
        *to++ = sum;
      }
    }
  });
  return energies;
}

}  // namespace fovea::processors

// The kernels of operator.py for the CPU. Shapes, gradients and autocast are told in Python, once for both.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace {

using at::Tensor;

constexpr int64_t kRows = 1024;  // of one task: less is not worth handing over

// c_k of x, and what a knot adds to the curve there. NaN stays NaN.
template <typename T>
T position(T x, int64_t k, T first, T step) {
  return std::clamp((x - (first + static_cast<T>(k) * step)) / step, T(-1), T(1));
}

template <typename T>
T ramp(T c) {
  return c - c * std::abs(c) / 2;
}

// operator.py says this in better words; here it keeps a direct call from reading beyond its arrays.
void check(const Tensor& x, const Tensor& slopes) {
  TORCH_CHECK(x.dim() == 2 && slopes.dim() == 2 && x.size(1) == slopes.size(0),
              "spline: x must be (N, F) and slopes (F, K), got ", x.sizes(), " and ", slopes.sizes());
  TORCH_CHECK(x.scalar_type() == slopes.scalar_type(),
              "spline: x and slopes must be of one type, got ", x.scalar_type(), " and ", slopes.scalar_type());
}

Tensor spline(const Tensor& x_in, const Tensor& slopes_in, double first, double step) {
  check(x_in, slopes_in);
  const Tensor x = x_in.contiguous(), slopes = slopes_in.contiguous();
  Tensor curves = at::empty(x.sizes(), x.options());
  const int64_t num_rows = x.size(0), num_features = x.size(1), num_knots = slopes.size(1);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "spline", [&] {
    const scalar_t* in = x.const_data_ptr<scalar_t>();
    const scalar_t* slope = slopes.const_data_ptr<scalar_t>();
    scalar_t* out = curves.mutable_data_ptr<scalar_t>();
    const scalar_t t = static_cast<scalar_t>(first), h = static_cast<scalar_t>(step);
    at::parallel_for(0, num_rows, kRows, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin * num_features; i < end * num_features; ++i) {
        const scalar_t* a = slope + (i % num_features) * num_knots;
        scalar_t sum = 0;
        for (int64_t k = 0; k < num_knots; ++k) sum += a[k] * ramp(position(in[i], k, t, h));
        out[i] = sum * h;
      }
    });
  });
  return curves;
}

std::tuple<Tensor, Tensor> spline_backward(const Tensor& grad_in, const Tensor& x_in, const Tensor& slopes_in,
                                           double first, double step) {
  check(x_in, slopes_in);
  TORCH_CHECK(grad_in.sizes() == x_in.sizes() && grad_in.scalar_type() == x_in.scalar_type(),
              "spline_backward: grad must be like x");
  const Tensor grad = grad_in.contiguous(), x = x_in.contiguous(), slopes = slopes_in.contiguous();
  Tensor grad_x = at::empty(x.sizes(), x.options()), grad_slopes = at::empty(slopes.sizes(), slopes.options());
  const int64_t num_rows = x.size(0), num_features = x.size(1), num_knots = slopes.size(1);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "spline_backward", [&] {
    const scalar_t* g = grad.const_data_ptr<scalar_t>();
    const scalar_t* in = x.const_data_ptr<scalar_t>();
    const scalar_t* slope = slopes.const_data_ptr<scalar_t>();
    scalar_t* to_x = grad_x.mutable_data_ptr<scalar_t>();
    scalar_t* to_slopes = grad_slopes.mutable_data_ptr<scalar_t>();
    const scalar_t t = static_cast<scalar_t>(first), h = static_cast<scalar_t>(step);
    // A task owns whole features: their slopes are summed without locks, in the same order each time.
    const int64_t features_per_task = std::max<int64_t>(1, kRows / std::max<int64_t>(1, num_rows));
    at::parallel_for(0, num_features, features_per_task, [&](int64_t begin, int64_t end) {
      std::fill(to_slopes + begin * num_knots, to_slopes + end * num_knots, scalar_t(0));
      for (int64_t n = 0; n < num_rows; ++n) {
        for (int64_t f = begin; f < end; ++f) {
          const int64_t i = n * num_features + f;
          const scalar_t* a = slope + f * num_knots;
          scalar_t rate = 0;
          for (int64_t k = 0; k < num_knots; ++k) {
            const scalar_t c = position(in[i], k, t, h);
            rate += a[k] * (1 - std::abs(c));
            to_slopes[f * num_knots + k] += h * g[i] * ramp(c);
          }
          to_x[i] = g[i] * rate;
        }
      }
    });
  });
  return {grad_x, grad_slopes};
}

}  // namespace

TORCH_LIBRARY(monotone_splines_native, library) {
  library.def("spline(Tensor x, Tensor slopes, float first, float step) -> Tensor");
  library.def("spline_backward(Tensor grad, Tensor x, Tensor slopes, float first, float step) -> (Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(monotone_splines_native, CPU, library) {
  library.impl("spline", spline);
  library.impl("spline_backward", spline_backward);
}

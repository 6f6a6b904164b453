// The kernels of operator.py for torch on the CPU. Shapes, gradients and autocast are told in Python, once for both.
// The mathematics stands in curve.h.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

#include "curve.h"

namespace {

using at::Tensor;
using monotone_splines::Place;
using monotone_splines::tables;

constexpr int64_t kRows = 1024;  // of one task: less is not worth handing over

// operator.py says this in better words; here it keeps a direct call from reading beyond its arrays.
void check(const Tensor& x, const Tensor& slopes) {
  TORCH_CHECK(x.dim() == 2 && slopes.dim() == 2 && x.size(1) == slopes.size(0) && slopes.size(1) > 0,
              "spline: x must be (N, F) and slopes (F, K), got ", x.sizes(), " and ", slopes.sizes());
  TORCH_CHECK(x.scalar_type() == slopes.scalar_type(),
              "spline: x and slopes must be of one type, got ", x.scalar_type(), " and ", slopes.scalar_type());
}

Tensor spline(const Tensor& x_in, const Tensor& slopes_in, double first, double step) {
  check(x_in, slopes_in);
  const Tensor x = x_in.contiguous(), slopes = slopes_in.contiguous();
  Tensor curves = at::empty(x.sizes(), x.options());
  const int64_t num_features = x.size(1), num_knots = slopes.size(1);
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "spline", [&] {
    const scalar_t* in = x.const_data_ptr<scalar_t>();
    scalar_t* out = curves.mutable_data_ptr<scalar_t>();
    const scalar_t t = static_cast<scalar_t>(first), h = static_cast<scalar_t>(step);
    const auto table = tables(slopes.const_data_ptr<scalar_t>(), num_features, num_knots);
    at::parallel_for(0, x.size(0), kRows, [&](int64_t begin, int64_t end) {
      monotone_splines::write_curves(in, table.data(), out, begin, end, num_features, num_knots, t, h);
    });
  });
  return curves;
}

// By knot from sums by cell: of g, of g (r - r^2 / 2) and of g r^2 / 2.
template <typename T>
void by_knot(const double* sums, double step, int64_t num_knots, T* to) {
  double below = 0, above = 0;
  for (int64_t j = 1; j <= num_knots; ++j) above += sums[j * 3];
  for (int64_t k = 1; k <= num_knots; ++k) {
    below += sums[(k - 1) * 3];
    above -= sums[k * 3];
    to[k - 1] = static_cast<T>(step * ((above - below) / 2 + sums[k * 3 + 1] + sums[(k - 1) * 3 + 2]));
  }
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
    scalar_t* to_x = grad_x.mutable_data_ptr<scalar_t>();
    scalar_t* to_slopes = grad_slopes.mutable_data_ptr<scalar_t>();
    const scalar_t t = static_cast<scalar_t>(first), h = static_cast<scalar_t>(step);
    const auto table = tables(slopes.const_data_ptr<scalar_t>(), num_features, num_knots);
    std::vector<double> sums(table.size());
    // A task owns whole features: their sums need no locks, and are taken in the same order each time.
    const int64_t features_per_task = std::max<int64_t>(1, kRows / std::max<int64_t>(1, num_rows));
    at::parallel_for(0, num_features, features_per_task, [&](int64_t begin, int64_t end) {
      for (int64_t n = 0; n < num_rows; ++n) {
        for (int64_t f = begin; f < end; ++f) {
          const int64_t i = n * num_features + f;
          const Place<scalar_t> place(in[i], t, h, num_knots);
          const int64_t at = (f * (num_knots + 1) + place.cell) * 3;
          const scalar_t r = place.part, square = r * r / 2;
          to_x[i] = g[i] * (table[at + 1] * (1 - r) + table[at + 2] * r);
          sums[at] += g[i] + 0 * r;  // so that NaN reaches every knot
          sums[at + 1] += g[i] * (r - square);
          sums[at + 2] += g[i] * square;
        }
      }
      for (int64_t f = begin; f < end; ++f) {
        by_knot(&sums[f * (num_knots + 1) * 3], step, num_knots, to_slopes + f * num_knots);
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

// The kernels of operator.py for the CPU. Shapes, gradients and autocast are told in Python, once for both.
//
// operator.py visits every knot for every number. But a number lies between two knots, and the others stand at -1 or 1:
// what they add is known before the first number is read. With u = (x - first) / step + 1, cut to [0, K + 1], j = floor(u),
// r = u - j, and slopes a_0 = 0, a_1 ... a_K, a_(K+1) = 0:
//
//     y / step         = start_j + a_j (r - r^2 / 2) + a_(j+1) r^2 / 2,   start_j = sum_(i<j) (a_i + a_(i+1)) / 2 - sum_i a_i / 2
//     dy/dx            = a_j (1 - r) + a_(j+1) r
//     dy/da_k / step   = r - r^2 / 2 for k = j,   (r^2 - 1) / 2 for k = j + 1,   1/2 below them,   -1/2 above
//
// so the cost does not depend on K, which no compiler finds out from the formula.

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <torch/library.h>

#include <algorithm>
#include <tuple>
#include <vector>

namespace {

using at::Tensor;

constexpr int64_t kRows = 1024;  // of one task: less is not worth handing over

// operator.py says this in better words; here it keeps a direct call from reading beyond its arrays.
void check(const Tensor& x, const Tensor& slopes) {
  TORCH_CHECK(x.dim() == 2 && slopes.dim() == 2 && x.size(1) == slopes.size(0) && slopes.size(1) > 0,
              "spline: x must be (N, F) and slopes (F, K), got ", x.sizes(), " and ", slopes.sizes());
  TORCH_CHECK(x.scalar_type() == slopes.scalar_type(),
              "spline: x and slopes must be of one type, got ", x.scalar_type(), " and ", slopes.scalar_type());
}

// Where a number lies: between the knots `cell` and `cell` + 1, `part` of the way. NaN is in cell 0 with part NaN.
template <typename T>
struct Place {
  int64_t cell;
  T part;

  Place(T x, T first, T step, int64_t num_knots) {
    const T u = std::clamp((x - first) / step + 1, T(0), static_cast<T>(num_knots + 1));
    cell = u > 0 ? std::min(static_cast<int64_t>(u), num_knots) : 0;
    part = u - static_cast<T>(cell);
  }
};

// For each cell of each feature: start_j, a_j and a_(j+1).
template <typename T>
std::vector<T> tables(const T* slopes, int64_t num_features, int64_t num_knots) {
  std::vector<T> made;
  made.reserve(num_features * (num_knots + 1) * 3);
  for (int64_t f = 0; f < num_features; ++f, slopes += num_knots) {
    T start = 0;
    for (int64_t k = 0; k < num_knots; ++k) start -= slopes[k] / 2;
    for (int64_t j = 0; j <= num_knots; ++j) {
      const T low = j > 0 ? slopes[j - 1] : T(0), high = j < num_knots ? slopes[j] : T(0);
      made.insert(made.end(), {start, low, high});
      start += (low + high) / 2;
    }
  }
  return made;
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
      for (int64_t n = begin; n < end; ++n) {
        for (int64_t f = 0; f < num_features; ++f) {
          const int64_t i = n * num_features + f;
          const Place<scalar_t> place(in[i], t, h, num_knots);
          const scalar_t* a = &table[(f * (num_knots + 1) + place.cell) * 3];
          const scalar_t r = place.part, square = r * r / 2;
          out[i] = h * (a[0] + a[1] * (r - square) + a[2] * square);
        }
      }
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

// The algorithm that operator.cpp (torch) and kernel_onnx.cpp (onnxruntime) share, in plain C++.
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

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace monotone_splines {

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
  std::vector<T> cells;
  cells.reserve(num_features * (num_knots + 1) * 3);
  for (int64_t f = 0; f < num_features; ++f, slopes += num_knots) {
    T start = 0;
    for (int64_t k = 0; k < num_knots; ++k) start -= slopes[k] / 2;
    for (int64_t j = 0; j <= num_knots; ++j) {
      const T low = j > 0 ? slopes[j - 1] : T(0), high = j < num_knots ? slopes[j] : T(0);
      cells.insert(cells.end(), {start, low, high});
      start += (low + high) / 2;
    }
  }
  return cells;
}

// Rows `begin` to `end` of the curves (N, F) of x (N, F); `table` is that of tables().
template <typename T>
void write_curves(const T* x, const T* table, T* curves, int64_t begin, int64_t end, int64_t num_features,
                  int64_t num_knots, T first, T step) {
  for (int64_t n = begin; n < end; ++n) {
    for (int64_t f = 0; f < num_features; ++f) {
      const int64_t i = n * num_features + f;
      const Place<T> place(x[i], first, step, num_knots);
      const T* a = &table[(f * (num_knots + 1) + place.cell) * 3];
      const T r = place.part, square = r * r / 2;
      curves[i] = step * (a[0] + a[1] * (r - square) + a[2] * square);
    }
  }
}

}  // namespace monotone_splines

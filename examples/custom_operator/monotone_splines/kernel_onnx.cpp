// The operator for onnxruntime: a library that a bundle can carry, signed. Only the C interface is used, which every
// later release of onnxruntime keeps, so one build serves all of them.
//
//     MonotoneSpline(z (N, F), slopes (F, K), knots (K), step ()) -> curves (N, F)          all float32
//
// Knots are evenly spaced. Nothing may be thrown across the interface: every problem is returned as a status.

#include <cmath>
#include <exception>
#include <vector>

#include "curve.h"
#include "onnxruntime_operators.h"

namespace {

const char* const kDomain = "monotone_splines";
const char* const kName = "MonotoneSpline";
constexpr size_t kInputs = 4;

const OrtApi* api = nullptr;  // set once, when the library is registered

OrtStatus* refuse(const char* what) { return api->CreateStatus(ORT_INVALID_ARGUMENT, what); }

// One tensor of a call: its shape and its numbers.
struct Tensor {
  std::vector<int64_t> shape;
  const float* numbers = nullptr;
};

OrtStatus* read(OrtKernelContext* context, size_t place, Tensor& tensor) {
  const OrtValue* value = nullptr;
  if (OrtStatus* status = api->KernelContext_GetInput(context, place, &value)) return status;
  OrtTensorTypeAndShapeInfo* info = nullptr;
  if (OrtStatus* status = api->GetTensorTypeAndShape(value, &info)) return status;
  size_t num_axes = 0;
  OrtStatus* status = api->GetDimensionsCount(info, &num_axes);
  if (status == nullptr) {
    tensor.shape.resize(num_axes);
    status = api->GetDimensions(info, tensor.shape.data(), num_axes);
  }
  api->ReleaseTensorTypeAndShapeInfo(info);
  if (status != nullptr) return status;
  void* numbers = nullptr;
  status = api->GetTensorMutableData(const_cast<OrtValue*>(value), &numbers);
  tensor.numbers = static_cast<const float*>(numbers);
  return status;
}

OrtStatus* compute(OrtKernelContext* context) {
  Tensor inputs[kInputs];
  for (size_t place = 0; place < kInputs; ++place) {
    if (OrtStatus* status = read(context, place, inputs[place])) return status;
  }
  const auto& [z, slopes, knots, step] = inputs;
  if (z.shape.size() != 2 || slopes.shape.size() != 2 || slopes.shape[0] != z.shape[1] || slopes.shape[1] < 1)
    return refuse("MonotoneSpline: z must be (N, F) and slopes (F, K), K at least 1");
  const int64_t num_knots = slopes.shape[1];
  if (knots.shape.size() != 1 || knots.shape[0] != num_knots || step.shape.size() > 1 ||
      (step.shape.size() == 1 && step.shape[0] != 1))
    return refuse("MonotoneSpline: knots must be (K) and step one number");
  if (!std::isfinite(knots.numbers[0]) || !(step.numbers[0] > 0) || !std::isfinite(step.numbers[0]))
    return refuse("MonotoneSpline: the first knot must be finite, and step finite and above 0");
  OrtValue* output = nullptr;
  if (OrtStatus* status = api->KernelContext_GetOutput(context, 0, z.shape.data(), 2, &output)) return status;
  void* curves = nullptr;
  if (OrtStatus* status = api->GetTensorMutableData(output, &curves)) return status;
  const auto table = monotone_splines::tables(slopes.numbers, z.shape[1], num_knots);
  monotone_splines::write_curves(z.numbers, table.data(), static_cast<float*>(curves), 0, z.shape[0], z.shape[1],
                                 num_knots, knots.numbers[0], step.numbers[0]);
  return nullptr;
}

OrtStatus* compute_guarded(void*, OrtKernelContext* context) {
  try {
    return compute(context);
  } catch (const std::exception& error) {
    return api->CreateStatus(ORT_RUNTIME_EXCEPTION, error.what());
  }
}

OrtCustomOp describe() {
  OrtCustomOp op{};  // what is left out is null, which onnxruntime takes for its defaults
  op.version = ORT_API_VERSION;
  op.GetName = [](const OrtCustomOp*) { return kName; };
  op.GetExecutionProviderType = [](const OrtCustomOp*) -> const char* { return nullptr; };  // the CPU
  op.GetInputTypeCount = [](const OrtCustomOp*) { return kInputs; };
  op.GetInputType = [](const OrtCustomOp*, size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
  op.GetInputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  op.GetInputMemoryType = [](const OrtCustomOp*, size_t) { return OrtMemTypeDefault; };
  op.GetOutputTypeCount = [](const OrtCustomOp*) { return size_t{1}; };
  op.GetOutputType = [](const OrtCustomOp*, size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT; };
  op.GetOutputCharacteristic = [](const OrtCustomOp*, size_t) { return INPUT_OUTPUT_REQUIRED; };
  op.GetVariadicInputMinArity = [](const OrtCustomOp*) { return 1; };
  op.GetVariadicInputHomogeneity = [](const OrtCustomOp*) { return 1; };
  op.GetVariadicOutputMinArity = [](const OrtCustomOp*) { return 1; };
  op.GetVariadicOutputHomogeneity = [](const OrtCustomOp*) { return 1; };
  op.CreateKernelV2 = [](const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void** kernel) -> OrtStatus* {
    *kernel = nullptr;  // the operator has no state
    return nullptr;
  };
  op.KernelComputeV2 = compute_guarded;
  op.KernelDestroy = [](void*) {};
  op.GetStartVersion = [](const OrtCustomOp*) { return 1; };
  op.GetEndVersion = [](const OrtCustomOp*) { return 1; };
  return op;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) OrtStatus* RegisterCustomOps(OrtSessionOptions* options,
                                                                               const OrtApiBase* base) {
  api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) return base->GetApi(1)->CreateStatus(ORT_FAIL, "this onnxruntime is older than the library");
  static const OrtCustomOp op = describe();
  OrtCustomOpDomain* domain = nullptr;
  if (OrtStatus* status = api->CreateCustomOpDomain(kDomain, &domain)) return status;
  if (OrtStatus* status = api->CustomOpDomain_Add(domain, &op)) return status;
  return api->AddCustomOpDomain(options, domain);  // lives as long as the process
}

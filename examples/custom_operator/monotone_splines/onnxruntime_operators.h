// The part of onnxruntime's C interface that an operator needs, declared by its places.
//
// The interface is a table of functions to which each release appends, and of which it moves none, so each function has
// its place for good; the same goes for the record that describes an operator. Places and signatures are facts of
// onnxruntime_c_api.h (https://onnxruntime.ai/docs/api/c), struct OrtApi and struct OrtCustomOp, API version 21. A
// library that calls more than this is better built against that file, which the releases of onnxruntime bring.

#pragma once

#include <cstddef>
#include <cstdint>

constexpr uint32_t ORT_API_VERSION = 21;

enum OrtErrorCode : int { ORT_FAIL = 1, ORT_INVALID_ARGUMENT = 2, ORT_RUNTIME_EXCEPTION = 6 };
enum ONNXTensorElementDataType : int { ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT = 1 };
enum OrtCustomOpInputOutputCharacteristic : int { INPUT_OUTPUT_REQUIRED = 0 };
enum OrtMemType : int { OrtMemTypeDefault = 0 };

struct OrtStatus;
struct OrtValue;
struct OrtTensorTypeAndShapeInfo;
struct OrtKernelContext;
struct OrtKernelInfo;
struct OrtCustomOpDomain;
struct OrtSessionOptions;
struct OrtCustomOp;

struct OrtApi {
  OrtStatus* (*CreateStatus)(OrtErrorCode code, const char* message);  // 0
  void* others_1[25];
  OrtStatus* (*CreateCustomOpDomain)(const char* name, OrtCustomOpDomain** domain);                // 26
  OrtStatus* (*CustomOpDomain_Add)(OrtCustomOpDomain* domain, const OrtCustomOp* op);              // 27
  OrtStatus* (*AddCustomOpDomain)(OrtSessionOptions* options, OrtCustomOpDomain* domain);          // 28
  void* others_29[22];
  OrtStatus* (*GetTensorMutableData)(OrtValue* value, void** numbers);  // 51
  void* others_52[9];
  OrtStatus* (*GetDimensionsCount)(const OrtTensorTypeAndShapeInfo* info, size_t* num_axes);             // 61
  OrtStatus* (*GetDimensions)(const OrtTensorTypeAndShapeInfo* info, int64_t* shape, size_t num_axes);   // 62
  void* others_63[2];
  OrtStatus* (*GetTensorTypeAndShape)(const OrtValue* value, OrtTensorTypeAndShapeInfo** info);  // 65
  void* others_66[24];
  OrtStatus* (*KernelContext_GetInput)(const OrtKernelContext* context, size_t place, const OrtValue** value);  // 90
  OrtStatus* (*KernelContext_GetOutput)(OrtKernelContext* context, size_t place, const int64_t* shape, size_t num_axes,
                                        OrtValue** value);  // 91
  void* others_92[7];
  void (*ReleaseTensorTypeAndShapeInfo)(OrtTensorTypeAndShapeInfo* info);  // 99
};

struct OrtApiBase {
  const OrtApi* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

struct OrtCustomOp {
  uint32_t version;
  void* (*CreateKernel)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*);
  const char* (*GetName)(const OrtCustomOp*);
  const char* (*GetExecutionProviderType)(const OrtCustomOp*);
  ONNXTensorElementDataType (*GetInputType)(const OrtCustomOp*, size_t place);
  size_t (*GetInputTypeCount)(const OrtCustomOp*);
  ONNXTensorElementDataType (*GetOutputType)(const OrtCustomOp*, size_t place);
  size_t (*GetOutputTypeCount)(const OrtCustomOp*);
  void (*KernelCompute)(void* kernel, OrtKernelContext*);
  void (*KernelDestroy)(void* kernel);
  OrtCustomOpInputOutputCharacteristic (*GetInputCharacteristic)(const OrtCustomOp*, size_t place);
  OrtCustomOpInputOutputCharacteristic (*GetOutputCharacteristic)(const OrtCustomOp*, size_t place);
  OrtMemType (*GetInputMemoryType)(const OrtCustomOp*, size_t place);
  int (*GetVariadicInputMinArity)(const OrtCustomOp*);
  int (*GetVariadicInputHomogeneity)(const OrtCustomOp*);
  int (*GetVariadicOutputMinArity)(const OrtCustomOp*);
  int (*GetVariadicOutputHomogeneity)(const OrtCustomOp*);
  OrtStatus* (*CreateKernelV2)(const OrtCustomOp*, const OrtApi*, const OrtKernelInfo*, void** kernel);
  OrtStatus* (*KernelComputeV2)(void* kernel, OrtKernelContext*);
  void* InferOutputShape;
  int (*GetStartVersion)(const OrtCustomOp*);
  int (*GetEndVersion)(const OrtCustomOp*);
  void* others[4];  // aliases and work in place, which an operator may leave out
};

static_assert(offsetof(OrtApi, ReleaseTensorTypeAndShapeInfo) == 99 * sizeof(void*));
static_assert(sizeof(OrtCustomOp) == 26 * sizeof(void*));

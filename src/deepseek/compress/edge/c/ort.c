/* The few functions of onnxruntime's C API that one graph needs. The API is a table of functions of which a version only
   appends to the one before, so each has its place for good (onnxruntime_c_api.h, struct OrtApi, API version 1; its
   AddSessionConfigEntry, version 6 and later). */
typedef struct OrtStatus OrtStatus;
typedef struct OrtEnv OrtEnv;
typedef struct OrtOptions OrtOptions;
typedef struct OrtSession OrtSession;
typedef struct OrtMemory OrtMemory;
typedef struct OrtValue OrtValue;
struct ort_api {
    void *a[2];
    const char *(*GetErrorMessage)(const OrtStatus *); /* 2 */
    OrtStatus *(*CreateEnv)(int level, const char *name, OrtEnv **);
    void *b[3];
    OrtStatus *(*CreateSession)(const OrtEnv *, const char *path, const OrtOptions *, OrtSession **); /* 7 */
    void *c[1];
    OrtStatus *(*Run)(OrtSession *, const void *, const char *const *in_names, const OrtValue *const *in, size_t num_in,
                      const char *const *out_names, size_t num_out, OrtValue **out); /* 9 */
    OrtStatus *(*CreateSessionOptions)(OrtOptions **);
    void *d[13];
    OrtStatus *(*SetIntraOpNumThreads)(OrtOptions *, int); /* 24 */
    void *e[24];
    OrtStatus *(*CreateTensorWithDataAsOrtValue)(const OrtMemory *, void *, size_t num_bytes, const int64_t *shape,
                                                 size_t rank, int type, OrtValue **); /* 49 */
    void *f[19];
    OrtStatus *(*CreateCpuMemoryInfo)(int allocator, int type, OrtMemory **); /* 69 */
    void *g[60];
    OrtStatus *(*AddSessionConfigEntry)(OrtOptions *, const char *key, const char *value); /* 130 */
};
struct ort_base {
    const struct ort_api *(*GetApi)(uint32_t version);
    const char *(*GetVersionString)(void);
};
extern const struct ort_base *OrtGetApiBase(void);

static const struct ort_api *ort;
static OrtSession *session;
static OrtValue *tensor_in, *tensor_out;
static float numbers_in[NUM_FEATURES], numbers_out[MODEL_NUM_OUTPUTS];
static char model_path[4096];

/* What was wrong, or 0. Call it once. `folder` holds model.onnx. */
const char *model_open(const char *folder)
{
    static const int64_t shape_in[] = INPUT_SHAPE, shape_out[] = OUTPUT_SHAPE;
    OrtEnv *env;
    OrtOptions *options;
    OrtMemory *memory;
    OrtStatus *wrong;
    if (snprintf(model_path, sizeof model_path, "%s/model.onnx", folder) >= (int)sizeof model_path)
        return "the path is too long";
    ort = OrtGetApiBase()->GetApi(10);
    if (ort == 0)
        return "this libonnxruntime is older than 1.10";
    if ((wrong = ort->CreateEnv(3, "model", &env)) != 0 || (wrong = ort->CreateSessionOptions(&options)) != 0 ||
        (wrong = ort->SetIntraOpNumThreads(options, 1)) != 0 ||
        (wrong = ort->AddSessionConfigEntry(options, "session.disable_quant_qdq", DISABLE_QDQ)) != 0 ||
        (wrong = ort->CreateSession(env, model_path, options, &session)) != 0 ||
        (wrong = ort->CreateCpuMemoryInfo(1, 0, &memory)) != 0 ||
        (wrong = ort->CreateTensorWithDataAsOrtValue(memory, numbers_in, sizeof numbers_in, shape_in,
                                                     sizeof shape_in / sizeof *shape_in, 1, &tensor_in)) != 0 ||
        (wrong = ort->CreateTensorWithDataAsOrtValue(memory, numbers_out, sizeof numbers_out, shape_out,
                                                     sizeof shape_out / sizeof *shape_out, 1, &tensor_out)) != 0)
        return ort->GetErrorMessage(wrong);
    return 0;
}

/* From numbers_in to the output; NAN where the runtime refuses. */
static void run_graph(float *output)
{
    static const char *const names_in[] = {INPUT_NAME}, *const names_out[] = {OUTPUT_NAME};
    const OrtValue *in = tensor_in;
    OrtValue *out = tensor_out;
    const int is_wrong = ort->Run(session, 0, names_in, &in, 1, names_out, 1, &out) != 0;
    int i;
    for (i = 0; i < MODEL_NUM_OUTPUTS; i++)
        output[i] = is_wrong ? NAN : numbers_out[i];
}


/* Numbers scaled and clipped beside embeddings of codes, hidden layers, and a linear path past them. */
struct perceptron {
    int num_numbers, num_codes, num_layers;
    const int16_t *number, *code;   /* features */
    const uint8_t *logged;          /* numbers that enter as sign(x) log(1 + |x|) */
    const float *centre, *scale;
    float clip;                     /* 0: as they are */
    const int16_t *levels, *width;  /* of each embedding */
    const float *const *embedding;
    const int16_t *size;            /* of what each layer takes, and of what the last gives */
    const float *const *weight, *const *bias;
    const float *skip;
};

static int join(const struct perceptron *p, const float *x, float *out)
{
    int i, j, n = 0;
    for (i = 0; i < p->num_numbers; i++) {
        float z = x[p->number[i]];
        if (p->logged[i])
            z = (float)((z > 0) - (z < 0)) * logf(1.0f + fabsf(z));
        z = (z - p->centre[i]) / p->scale[i];
        if (p->clip > 0) {
            z = z < -1e15f ? -1e15f : z > 1e15f ? 1e15f : z;
            z = z / sqrtf(1.0f + (z / p->clip) * (z / p->clip));
        }
        out[n++] = z;
    }
    for (i = 0; i < p->num_codes; i++) {
        const float given = x[p->code[i]];
        const int level = given >= 0 && given < (float)p->levels[i] ? (int)given : 0;
        for (j = 0; j < p->width[i]; j++)
            out[n++] = p->embedding[i][level * p->width[i] + j];
    }
    return n;
}

/* y (num_out) = x (num_in) w (num_in, num_out) */
static void multiply(const float *x, const float *w, int num_in, int num_out, float *y)
{
    int i, j;
    for (j = 0; j < num_out; j++)
        y[j] = 0;
    for (i = 0; i < num_in; i++)
        for (j = 0; j < num_out; j++)
            y[j] += x[i] * w[i * num_out + j];
}

static void run_perceptron(const struct perceptron *p, const float *x, double *raw)
{
    static float joined[MAX_WIDTH], hidden[2][MAX_WIDTH];
    const float *from = joined;
    int i, k;
    const int num_joined = join(p, x, joined);
    for (i = 0; i < p->num_layers; i++) {
        float *to = hidden[i % 2];
        multiply(from, p->weight[i], p->size[i], p->size[i + 1], to);
        for (k = 0; k < p->size[i + 1]; k++) {
            to[k] += p->bias[i][k];
            if (i < p->num_layers - 1 && !(to[k] > 0))
                to[k] = 0;
        }
        from = to;
    }
    multiply(joined, p->skip, num_joined, NUM_MARGINS, hidden[p->num_layers % 2]);
    for (k = 0; k < NUM_MARGINS; k++)
        raw[k] = from[k] + hidden[p->num_layers % 2][k];
}


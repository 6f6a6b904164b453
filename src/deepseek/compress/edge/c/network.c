/*** conv ***/
struct conv {
    int in_c, in_h, in_w, out_c, out_h, out_w, kernel_h, kernel_w;
    int stride_y, stride_x, pad_y, pad_x, dilation_y, dilation_x, groups;
    float low, high; /* what is beyond is cut: ReLU, ReLU6 */
};

/* The outputs [from, to) that a shift of the kernel reaches: 0 <= i * stride + shift < size. */
static int first_inside(int shift, int stride)
{
    return shift >= 0 ? 0 : (-shift + stride - 1) / stride;
}

static int end_inside(int shift, int stride, int size, int num_out)
{
    const int end = shift >= size ? 0 : (size - 1 - shift) / stride + 1;
    return end < num_out ? end : num_out;
}

static void add_shifted(const struct conv *p, const float *in, float k, int shift_y, int shift_x, float *out)
{
    const int y0 = first_inside(shift_y, p->stride_y), y1 = end_inside(shift_y, p->stride_y, p->in_h, p->out_h);
    const int x0 = first_inside(shift_x, p->stride_x), x1 = end_inside(shift_x, p->stride_x, p->in_w, p->out_w);
    int y, x;
    for (y = y0; y < y1; y++) {
        const int at = (y * p->stride_y + shift_y) * p->in_w + shift_x;
        float *row = out + y * p->out_w;
        if (p->stride_x == 1)
            for (x = x0; x < x1; x++)
                row[x] += k * in[at + x];
        else
            for (x = x0; x < x1; x++)
                row[x] += k * in[at + x * p->stride_x];
    }
}

/* (C, H, W) to (C', H', W'); w is (C', C / groups, kernel_h, kernel_w), times scale (C') where there is one. */
static void conv(const struct conv *p, const float *in, const weight_t *w, const float *scale, const float *bias,
                 float *out)
{
    const int num_in = p->in_c / p->groups, num_out = p->out_c / p->groups, size = p->out_h * p->out_w;
    int o, i, y, x;
    for (o = 0; o < p->out_c; o++) {
        float *plane = out + o * size;
        for (i = 0; i < size; i++)
            plane[i] = 0;
        for (i = 0; i < num_in; i++)
            for (y = 0; y < p->kernel_h; y++)
                for (x = 0; x < p->kernel_w; x++)
                    add_shifted(p, in + (o / num_out * num_in + i) * p->in_h * p->in_w, (float)*w++,
                                y * p->dilation_y - p->pad_y, x * p->dilation_x - p->pad_x, plane);
        for (i = 0; i < size; i++) {
            const float v = plane[i] * (scale ? scale[o] : 1.0f) + bias[o];
            plane[i] = v < p->low ? p->low : v > p->high ? p->high : v;
        }
    }
}

/*** dense ***/
/* y (num_out) = w (num_out, num_in) x, times scale where there is one, plus bias, cut to [low, high]. */
static void dense(int num_in, int num_out, const float *x, const weight_t *w, const float *scale, const float *bias,
                  float low, float high, float *y)
{
    int i, o;
    for (o = 0; o < num_out; o++) {
        float v = 0;
        for (i = 0; i < num_in; i++)
            v += x[i] * (float)w[i];
        w += num_in;
        v = v * (scale ? scale[o] : 1.0f) + bias[o];
        y[o] = v < low ? low : v > high ? high : v;
    }
}

/*** pool ***/
struct pool {
    int channels, in_h, in_w, out_h, out_w, kernel_h, kernel_w, stride_y, stride_x, pad_y, pad_x;
    int is_max, counts_padding;
};

static void pool(const struct pool *p, const float *in, float *out)
{
    int c, oy, ox, y, x;
    for (c = 0; c < p->channels; c++, in += p->in_h * p->in_w)
        for (oy = 0; oy < p->out_h; oy++)
            for (ox = 0; ox < p->out_w; ox++) {
                float found = p->is_max ? -FLT_MAX : 0;
                int count = 0;
                for (y = oy * p->stride_y - p->pad_y; y < oy * p->stride_y - p->pad_y + p->kernel_h; y++)
                    for (x = ox * p->stride_x - p->pad_x; x < ox * p->stride_x - p->pad_x + p->kernel_w; x++)
                        if (y >= 0 && y < p->in_h && x >= 0 && x < p->in_w) {
                            const float v = in[y * p->in_w + x];
                            found = !p->is_max ? found + v : v > found ? v : found;
                            count++;
                        }
                if (!p->is_max)
                    found /= (float)(p->counts_padding ? p->kernel_h * p->kernel_w : count);
                *out++ = found;
            }
}

/*** add ***/
static void add(int size, const float *a, const float *b, float low, float high, float *out)
{
    int i;
    for (i = 0; i < size; i++) {
        const float v = a[i] + b[i];
        out[i] = v < low ? low : v > high ? high : v;
    }
}

/*** multiply ***/
/* b has one number for each channel, or for each of the `size` numbers of one. */
static void multiply(int channels, int size, const float *a, const float *b, int is_per_channel, float *out)
{
    int i;
    for (i = 0; i < channels * size; i++)
        out[i] = a[i] * b[is_per_channel ? i / size : i];
}

/*** affine ***/
static void affine(int channels, int size, const float *in, const float *factor, const float *shift, float low,
                   float high, float *out)
{
    int i;
    for (i = 0; i < channels * size; i++) {
        const float v = in[i] * factor[i / size] + shift[i / size];
        out[i] = v < low ? low : v > high ? high : v;
    }
}

/*** clamp ***/
static void clamp(int size, const float *in, float low, float high, float *out)
{
    int i;
    for (i = 0; i < size; i++)
        out[i] = in[i] < low ? low : in[i] > high ? high : in[i];
}

/*** hard_sigmoid ***/
/* cut(alpha x + beta) to [0, 1], times x for a hard swish. */
static void hard_sigmoid(int size, const float *in, float alpha, float beta, int is_swish, float *out)
{
    int i;
    for (i = 0; i < size; i++) {
        const float x = in[i], v = alpha * x + beta, share = v < 0 ? 0 : v > 1 ? 1 : v;
        out[i] = is_swish ? x * share : share;
    }
}

/*** sigmoid ***/
static void sigmoid(int size, const float *in, float *out)
{
    int i;
    for (i = 0; i < size; i++)
        out[i] = 1.0f / (1.0f + expf(-in[i]));
}

/*** softmax ***/
static void softmax(int size, const float *in, float *out)
{
    float most = in[0], sum = 0;
    int i;
    for (i = 1; i < size; i++)
        most = in[i] > most ? in[i] : most;
    for (i = 0; i < size; i++)
        sum += out[i] = expf(in[i] - most);
    for (i = 0; i < size; i++)
        out[i] /= sum;
}


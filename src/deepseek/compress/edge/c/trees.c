/* Trees in preorder: a left child is the next node, `skip` leads to the right one. A leaf has feature -1, and holds its
   value in `value`, or the number of its row of `leaves` in `skip`. */
struct trees {
    int num_trees;
    const int32_t *root;
    const int16_t *output; /* the margin that a tree adds to; -1: its leaves have one number for each */
    const int16_t *feature;
    const skip_t *skip;
    const float *value;
    const float *leaves;
    const double *bias;
};

static void run_trees(const struct trees *t, const float *x, double *raw)
{
    int i, k;
    for (k = 0; k < NUM_MARGINS; k++)
        raw[k] = t->bias[k];
    for (i = 0; i < t->num_trees; i++) {
        int32_t n = t->root[i];
        while (t->feature[n] >= 0)
            n += x[t->feature[n]] <= t->value[n] ? 1 : (int32_t)t->skip[n];
        if (t->output[i] >= 0)
            raw[t->output[i]] += t->value[n];
        else
            for (k = 0; k < NUM_MARGINS; k++)
                raw[k] += t->leaves[(int32_t)t->skip[n] * NUM_MARGINS + k];
    }
}


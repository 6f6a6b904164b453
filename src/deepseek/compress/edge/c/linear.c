static void run_linear(const double *coef, const double *bias, const float *x, double *raw)
{
    int i, k;
    for (k = 0; k < NUM_MARGINS; k++) {
        raw[k] = 0;
        for (i = 0; i < NUM_FEATURES; i++)
            raw[k] += x[i] * coef[i * NUM_MARGINS + k];
        raw[k] += bias[k];
    }
}


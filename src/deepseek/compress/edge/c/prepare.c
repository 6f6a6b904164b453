/* A raw column to its features, as the bundle's preprocess.json says. NAN is a missing value. */
enum { NUMBER, CATEGORY, BOOLEAN, MOMENT };
struct column {
    int kind, has_missing; /* has_missing: "is missing" is a feature */
    double fallback;       /* stands for a missing value */
    double offset;         /* subtracted from a number; the first moment of training */
    int num_levels, first_hot, num_hot;
    const double *levels; /* of a number that is one of a few */
    const int16_t *ranks; /* codes of the levels, where they are not their numbers */
    unsigned used;        /* of a moment: days 1, hour 2, weekday 4, month 8 */
};

static long long floor_div(long long a, long long b)
{
    return a / b - (a % b < 0);
}

static float *moment_features(const struct column *c, double value, float *out)
{
    const long long day_ms = 86400000LL, ms = (long long)value, day = floor_div(ms, day_ms);
    if (c->used & 1u)
        *out++ = (float)((double)(ms - (long long)c->offset) / 86400000.0);
    if (c->used & 2u)
        *out++ = (float)((double)(ms - day * day_ms) / 3600000.0);
    if (c->used & 4u)
        *out++ = (float)(day + 3 - 7 * floor_div(day + 3, 7));
    if (c->used & 8u) { /* a year that starts in March has its leap day last */
        const long long since = day + 719468, era = since - 146097 * floor_div(since, 146097);
        const long long year = (era - era / 1460 + era / 36524 - era / 146096) / 365;
        const long long of_year = era - (365 * year + year / 4 - year / 100);
        *out++ = (float)(((5 * of_year + 2) / 153 + 2) % 12 + 1);
    }
    return out;
}

static float *column_features(const struct column *c, double value, float *out)
{
    int i, is_missing = 0, code = 0;
    switch (c->kind) {
    case NUMBER: /* infinite, or too large for a float: missing, too */
        is_missing = !(fabs(value - c->offset) <= FLT_MAX);
        value = is_missing ? c->fallback : value;
        *out++ = (float)((value - c->offset) + 0.0);
        for (i = 0; i < c->num_hot; i++)
            *out++ = value == c->levels[i] ? 1.0f : 0.0f;
        break;
    case CATEGORY: /* a number that no level has is 0, as in training */
        is_missing = isnan(value) != 0;
        if (value >= 1 && value <= c->num_levels && value == floor(value))
            code = (int)value;
        *out++ = (float)(code && c->ranks ? c->ranks[code - 1] : code);
        for (i = 0; i < c->num_hot; i++)
            *out++ = code == c->first_hot + i ? 1.0f : 0.0f;
        break;
    case BOOLEAN:
        is_missing = isnan(value) != 0;
        *out++ = (float)(value == 0.0 || value == 1.0 ? value + 0.0 : c->fallback);
        break;
    default:
        is_missing = !(fabs(value) <= 9007199254740992.0);
        out = moment_features(c, is_missing ? c->fallback : value, out);
    }
    if (c->has_missing)
        *out++ = is_missing ? 1.0f : 0.0f;
    return out;
}


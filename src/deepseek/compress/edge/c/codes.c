static int is_same(const char *a, const char *b)
{
    while (*a != 0 && *a == *b)
        a++, b++;
    return *a == *b;
}

double model_code(int input, const char *level)
{
    int i;
    if (input < 0 || input >= MODEL_NUM_INPUTS || level == 0 || *level == 0)
        return NAN;
    for (i = 0; i < input_levels[input].count; i++)
        if (is_same(input_levels[input].names[i], level))
            return i + 1;
    return 0;
}


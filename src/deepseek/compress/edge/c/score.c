static void to_log_odds(double *raw, double floor_share)
{
    int k;
    for (k = 0; k < NUM_MARGINS; k++) {
        const double share = floor_share + (1 - (NUM_MARGINS > 1 ? NUM_MARGINS : 2) * floor_share) * raw[k];
        raw[k] = NUM_MARGINS > 1 ? log(share) : log(share / (1 - share));
    }
}


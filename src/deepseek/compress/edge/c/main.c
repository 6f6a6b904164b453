/* Rows from stdin, MODEL_NUM_INPUTS numbers each ("nan" is missing); for each row its outputs and its class. */
#include <stdio.h>
#include "model.h"

int main(void)
{
    static model_number row[MODEL_NUM_INPUTS];
    static float out[MODEL_NUM_OUTPUTS];
    const char *problem = model_open(".");
    if (problem != 0)
        return fprintf(stderr, "%s\n", problem), 1;
    for (int i = 0;; i++) {
        double value;
        if (scanf("%lf%*[ ,;\t\r\n]", &value) < 1)
            return i != 0;
        row[i] = (model_number)value;
        if (i < MODEL_NUM_INPUTS - 1)
            continue;
        model_run(row, out);
        for (i = 0; i < MODEL_NUM_OUTPUTS; i++)
            printf("%.9g,", out[i]);
        printf("%d\n", model_decide(out));
        i = -1;
    }
}

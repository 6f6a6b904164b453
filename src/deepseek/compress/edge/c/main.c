/* Rows from stdin, a line each: MODEL_NUM_INPUTS numbers between commas, semicolons, tabs or spaces; an empty field and
   "nan" are missing. A first line that does not begin with a number is a header. For each row its outputs and its class;
   exit code 1, and a word on stderr, for a row that does not fit. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "model.h"

#define LONGEST 64 /* characters of a field */

/* Reads a field into `text`, without the spaces around it. Returns what ended it: ',' (any separator), '\n' or EOF. */
static int read_field(char *text)
{
    int c, length = 0;
    do
        c = getchar();
    while (c == ' ' || c == '\r');
    for (; c != EOF && c != '\n' && c != ',' && c != ';' && c != '\t' && c != ' ' && c != '\r'; c = getchar())
        if (length < LONGEST - 1)
            text[length++] = (char)c;
    text[length] = 0;
    while (c == ' ' || c == '\r')
        c = getchar();
    if (c == EOF || c == '\n')
        return c;
    if (c != ',' && c != ';' && c != '\t')
        ungetc(c, stdin);
    return ',';
}

/* The number of a field; an empty one is missing. Returns 0 for anything else. */
static int read_number(const char *text, double *value)
{
    char *end;
    *value = text[0] ? strtod(text, &end) : NAN;
    return !text[0] || *end == 0;
}

int main(void)
{
    static model_number row[MODEL_NUM_INPUTS];
    static float out[MODEL_NUM_OUTPUTS];
    char text[LONGEST];
    const char *problem = model_open(".");
    int ended = '\n';
    if (problem != 0)
        return fprintf(stderr, "%s\n", problem), 1;
    for (long line = 1; ended != EOF; line++) {
        int num = 0, is_header = 0;
        do {
            double value;
            ended = read_field(text);
            if (num == 0 && ended != ',' && text[0] == 0)
                break; /* an empty line, or the end */
            if (is_header || (is_header = line == 1 && num == 0 && !read_number(text, &value)))
                continue;
            if (!read_number(text, &value))
                return fprintf(stderr, "line %ld: '%s' is no number (nan is missing)\n", line, text), 1;
            if (num < MODEL_NUM_INPUTS)
                row[num] = (model_number)value;
            num++;
        } while (ended == ',');
        if (num == 0)
            continue;
        if (num != MODEL_NUM_INPUTS)
            return fprintf(stderr, "line %ld has %d numbers; the model reads %d\n", line, num, MODEL_NUM_INPUTS), 1;
        model_run(row, out);
        for (int i = 0; i < MODEL_NUM_OUTPUTS; i++)
            printf("%.9g,", out[i]);
        printf("%d\n", model_decide(out));
    }
    return 0;
}

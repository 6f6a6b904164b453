/* Boxes of a detector's outputs. After MODEL_NUM_CLASSES + 1 scores of the picture come NUM_PLACES x MODEL_NUM_CLASSES
   scores and NUM_PLACES x 4 sides. */
static model_box candidates[MAX_CANDIDATES];
static unsigned char is_joined[MAX_CANDIDATES];

/* Intersection over union. */
static float shared_area(const model_box *one, const model_box *other)
{
    const float left = one->left > other->left ? one->left : other->left;
    const float top = one->top > other->top ? one->top : other->top;
    const float right = one->right < other->right ? one->right : other->right;
    const float bottom = one->bottom < other->bottom ? one->bottom : other->bottom;
    const float inner = right > left && bottom > top ? (right - left) * (bottom - top) : 0;
    const float both = (one->right - one->left) * (one->bottom - one->top) +
                       (other->right - other->left) * (other->bottom - other->top) - inner;
    return both > 1e-9f ? inner / both : 0;
}

/* All places from LEAST_SCORE on into `candidates`, the highest score first; returns how many. */
static int sort_candidates(const float *scores, const float *sides)
{
    int num = 0, place, category, row;
    for (place = 0; place < NUM_PLACES; place++)
        for (category = 0; category < MODEL_NUM_CLASSES; category++) {
            const float score = scores[place * MODEL_NUM_CLASSES + category], *side = sides + 4 * place;
            if (!(score >= LEAST_SCORE) || (num == MAX_CANDIDATES && score <= candidates[num - 1].score))
                continue;
            row = num < MAX_CANDIDATES ? num++ : num - 1;
            for (; row > 0 && candidates[row - 1].score < score; row--)
                candidates[row] = candidates[row - 1];
            candidates[row].left = side[0];
            candidates[row].top = side[1];
            candidates[row].right = side[2];
            candidates[row].bottom = side[3];
            candidates[row].score = score;
            candidates[row].category = category;
        }
    return num;
}

int model_boxes(const float *output, model_box *boxes, int limit)
{
    const float *scores = output + MODEL_NUM_CLASSES + 1;
    const int num = sort_candidates(scores, scores + NUM_PLACES * MODEL_NUM_CLASSES);
    int num_boxes = 0, row, other;
    for (row = 0; row < num; row++)
        is_joined[row] = 0;
    for (row = 0; row < num && num_boxes < limit && candidates[row].score >= BOX_SCORE; row++) {
        double sum = 0, left = 0, top = 0, right = 0, bottom = 0;
        if (is_joined[row])
            continue;
        for (other = row; other < num; other++) { /* doubles vote for the border, by score and overlap */
            const float shared = shared_area(candidates + row, candidates + other);
            double weight;
            if (is_joined[other] || candidates[other].category != candidates[row].category ||
                (other != row && shared <= MAX_OVERLAP))
                continue;
            is_joined[other] = 1;
            weight = (double)candidates[other].score * shared;
            sum += weight;
            left += weight * candidates[other].left;
            top += weight * candidates[other].top;
            right += weight * candidates[other].right;
            bottom += weight * candidates[other].bottom;
        }
        boxes[num_boxes] = candidates[row];
        if (sum > 0) {
            boxes[num_boxes].left = (float)(left / sum);
            boxes[num_boxes].top = (float)(top / sum);
            boxes[num_boxes].right = (float)(right / sum);
            boxes[num_boxes].bottom = (float)(bottom / sum);
        }
        num_boxes++;
    }
    return num_boxes;
}

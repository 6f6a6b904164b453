"""Which places answer for which box, and what their answers cost.

Assignment (Feng et al. 2021, TOOD, section 3.2): of the places whose center lies in a box, the TOP_PLACES with the
largest score^0.5 IoU^6 answer for it; their target score is that number, scaled so that the best place of a box has its
IoU. Cost: binary cross entropy of every score to its target, weighed by how far it is off where there is no defect (Li
et al. 2020, quality focal loss, formula 5), and 1 - GIoU (Rezatofighi et al. 2019, formula 4) of the boxes.

Shapes: N pictures, A places, G boxes of a picture (padded), K classes.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from deepseek.nn.detector.detector import RawOutputs

TOP_PLACES = 10
SCORE_POWER, OVERLAP_POWER = 0.5, 6.0
FOCUS = 2.0  # power of the weight of an error of a score
BOX_WEIGHT, PRESENCE_WEIGHT, HEAT_WEIGHT = 2.0, 0.5, 0.5
EPSILON = 1e-7
SMALLEST = 1e-30  # float32 holds it


class Targets(NamedTuple):
    """Boxes of N pictures, padded to as many as the picture with most has."""

    boxes: Tensor  # (N, G, 4)
    classes: Tensor  # (N, G) int64
    exist: Tensor  # (N, G) bool
    presence: Tensor  # (N, K) 0 or 1
    heat: Tensor  # (N, 1, h, w) 0 or 1


class Assignment(NamedTuple):
    scores: Tensor  # (N, A, K)
    boxes: Tensor  # (N, A, 4)
    answers: Tensor  # (N, A) bool


def pairwise_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(N, G, 4), (N, A, 4) -> (N, G, A)."""
    corner = torch.maximum(boxes[:, :, None, :2], others[:, None, :, :2])
    sides = (torch.minimum(boxes[:, :, None, 2:], others[:, None, :, 2:]) - corner).clamp(min=0)
    inner = sides.prod(-1)
    area = (boxes[..., 2:] - boxes[..., :2]).clamp(min=0).prod(-1)
    other_area = (others[..., 2:] - others[..., :2]).clamp(min=0).prod(-1)
    return inner / (area[:, :, None] + other_area[:, None] - inner + EPSILON)


def generalized_iou(boxes: Tensor, others: Tensor) -> Tensor:
    """(M, 4), (M, 4) -> (M,), from -1 to 1."""
    sides = (torch.minimum(boxes[:, 2:], others[:, 2:]) - torch.maximum(boxes[:, :2], others[:, :2])).clamp(min=0)
    inner = sides.prod(-1)
    union = (boxes[:, 2:] - boxes[:, :2]).prod(-1) + (others[:, 2:] - others[:, :2]).prod(-1) - inner + EPSILON
    hull = torch.maximum(boxes[:, 2:], others[:, 2:]) - torch.minimum(boxes[:, :2], others[:, :2])
    whole = hull.prod(-1) + EPSILON
    return inner / union - (whole - union) / whole


@torch.no_grad()
def assign(scores: Tensor, boxes: Tensor, centers: Tensor, targets: Targets) -> Assignment:
    """Target scores and boxes of every place. scores (N, A, K), boxes (N, A, 4), centers (A, 2)."""
    num_pictures, num_places, num_classes = scores.shape
    if targets.boxes.shape[1] == 0:
        return Assignment(
            torch.zeros_like(scores), torch.zeros_like(boxes), scores.new_zeros(num_pictures, num_places).bool()
        )
    iou = pairwise_iou(targets.boxes, boxes).clamp(0, 1)  # (N, G, A)
    own = scores.transpose(1, 2).gather(1, targets.classes[..., None].expand(-1, -1, num_places))  # (N, G, A)
    left_top = centers[None, None] - targets.boxes[:, :, None, :2]
    right_bottom = targets.boxes[:, :, None, 2:] - centers[None, None]
    inside = (torch.cat([left_top, right_bottom], -1).amin(-1) > 0) & targets.exist[..., None]
    inside = inside | (_nearest(centers, targets) & targets.exist[..., None])  # a box between all centers has one, too
    align = own.clamp(min=EPSILON).pow(SCORE_POWER) * iou.pow(OVERLAP_POWER) * inside
    rank = align + inside * EPSILON
    top = rank.topk(min(TOP_PLACES, num_places), dim=-1)
    chosen = torch.zeros_like(rank).scatter_(-1, top.indices, 1.0).bool() & inside
    several = chosen.sum(1) > 1  # a place that several boxes want answers for the one it overlaps most
    best_box = (iou * chosen).argmax(1)  # (N, A)
    only = functional.one_hot(best_box, rank.shape[1]).transpose(1, 2).bool()
    chosen = torch.where(several[:, None], chosen & only, chosen)
    answers = chosen.any(1)
    box_of = chosen.float().argmax(1)  # (N, A)
    align = align * chosen
    # As a share of the best place's, however small that is: a small defect overlaps the first guesses by so little that
    # its sixth power is lost beside any fixed number, and then nothing would ever be learned of it.
    share = align / align.amax(-1, keepdim=True).clamp(min=SMALLEST)
    quality = (share * (iou * chosen).amax(-1, keepdim=True)).amax(1)  # (N, A)
    target_boxes = targets.boxes.gather(1, box_of[..., None].expand(-1, -1, 4))
    classes = targets.classes.gather(1, box_of)
    target_scores = functional.one_hot(classes, num_classes).float() * (quality * answers)[..., None]
    return Assignment(target_scores, target_boxes, answers)


def _nearest(centers: Tensor, targets: Targets) -> Tensor:
    """(N, G, A): the place whose center is nearest to the middle of the box."""
    middle = (targets.boxes[..., :2] + targets.boxes[..., 2:]) / 2
    distance = (middle[:, :, None] - centers[None, None]).abs().sum(-1)
    return torch.zeros_like(distance).scatter_(-1, distance.argmin(-1, keepdim=True), 1.0).bool()


def detection_loss(raw: RawOutputs, targets: Targets) -> Tensor:
    """The loss of a batch, a number."""
    scores = raw.logits.sigmoid()
    assigned = assign(scores.detach(), raw.boxes.detach(), raw.centers, targets)
    total = assigned.scores.sum().clamp(min=1.0)
    error = functional.binary_cross_entropy_with_logits(raw.logits, assigned.scores, reduction="none")
    score_loss = (error * (scores.detach() - assigned.scores).abs().pow(FOCUS)).sum() / total
    presence = functional.binary_cross_entropy_with_logits(raw.presence, targets.presence)
    heat = functional.binary_cross_entropy_with_logits(raw.heat, targets.heat)
    loss = score_loss + PRESENCE_WEIGHT * presence + HEAT_WEIGHT * heat
    if assigned.answers.any():
        weight = assigned.scores.sum(-1)[assigned.answers]
        giou = generalized_iou(raw.boxes[assigned.answers], assigned.boxes[assigned.answers])
        loss = loss + BOX_WEIGHT * ((1 - giou) * weight).sum() / total
    return loss

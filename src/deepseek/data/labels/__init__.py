"""Labels of pictures: boxes and classes, read from CSV, COCO and YOLO and written as COCO and YOLO.

labels = read_labels(Path("boxes.csv"), Path("pictures"))      # or coco.json, or a folder of YOLO
labels.pictures[0].boxes                                       # (N, 4) left, top, right, bottom in pixels

Main path: list the folder's pictures and their sizes -> read the boxes by file -> check, clip and count what misfits.
"""

from deepseek.data.labels.labeled_picture import LabeledPicture, LabelSet
from deepseek.data.labels.read import read_labels
from deepseek.data.labels.write import to_coco, write_coco, write_yolo

__all__ = ["LabelSet", "LabeledPicture", "read_labels", "to_coco", "write_coco", "write_yolo"]

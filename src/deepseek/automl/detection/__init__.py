"""Pictures and labels -> a bundle that finds defects, its figures on held pictures, and COCO results of a folder."""

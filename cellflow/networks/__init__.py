"""U-Nets that read pytorch-3dunet's and PlantSeg's weights, and where models come from.

torch is imported by `blocks`, `unet`, `checkpoint`, `device` and `model` alone; what a config or the
command line needs (`architecture`, `heads`, `field`, `spec`, `sources`) starts without it.
"""

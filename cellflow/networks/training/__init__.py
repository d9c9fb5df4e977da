"""Train a U-Net: what it is shown, what it should say, how it is judged, how a run is continued.

`targets`, `losses`, `augmentation`, `patches`, `schedule` and `validation` are records of a config that do
their work when called; `fit` is the loop. torch is imported by `fit`, `state`, `processes` and `forward`
alone. Nothing here opens volumes or decides where files lie: that is the stage's, `stages/train`.
"""

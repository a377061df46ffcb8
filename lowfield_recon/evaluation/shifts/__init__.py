"""Shifts: how test scans differ from those that a method was made for, one axis at a time or more.

A shift never changes the random numbers of another: the phase of the object, the shading, the
lesion, the poses, the pattern, bursts and the noise of an image are drawn each from its own stream,
which depends on the seed and on the image alone. So conditions differ in what they name and in
nothing else, and differences between them are paired.
"""

from lowfield_recon.evaluation.shifts.axes import AXES, IMAGE_AXES, Axis
from lowfield_recon.evaluation.shifts.conditions import (
    axis_conditions,
    compose,
    condition_from,
    reference_condition,
)
from lowfield_recon.evaluation.shifts.image_sets import (
    DEFAULT_SETS,
    ImageSetSettings,
    StudyImages,
    load_study_images,
)
from lowfield_recon.evaluation.shifts.problems import assumptions, lesion_weight, make_problem
from lowfield_recon.evaluation.shifts.records import Condition, Level, StudyImage
from lowfield_recon.evaluation.shifts.settings import ScanSettings, settings_from

__all__ = [
    "AXES",
    "DEFAULT_SETS",
    "IMAGE_AXES",
    "Axis",
    "Condition",
    "ImageSetSettings",
    "Level",
    "ScanSettings",
    "StudyImage",
    "StudyImages",
    "assumptions",
    "axis_conditions",
    "compose",
    "condition_from",
    "lesion_weight",
    "load_study_images",
    "make_problem",
    "reference_condition",
    "settings_from",
]

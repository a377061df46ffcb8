"""What came out of a robustness study, as one page to look at and as figures to print.

Panels are NPZ files of two-dimensional float32 arrays named `reference`, `image:METHOD`,
`lambda:METHOD` (a sparsity-level map, or one per filter `(K, y, x)`) and `std:METHOD` (a standard
deviation per pixel); only images are required.
"""

from lowfield_recon.evaluation.study_report.figures import write_study_figures
from lowfield_recon.evaluation.study_report.page import write_study_report

__all__ = ["write_study_figures", "write_study_report"]

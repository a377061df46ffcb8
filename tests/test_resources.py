"""What ships is found by name."""

from __future__ import annotations

import pytest

from lowfield_recon.errors import UsageError
from lowfield_recon.resources import sample_names, sample_path, shipped_folder


@pytest.mark.parametrize("name", ["pipelines", "dictionaries", "data_manifests"])
def test_every_folder_that_travels_with_the_package_is_there(name: str):
    assert shipped_folder(name).is_dir()


def test_samples_are_listed_without_their_sidecars_and_exist():
    names = sample_names()
    assert "brain_0055t_t2w.h5" in names
    assert not any(name.endswith((".json", ".yaml", ".md", ".py")) for name in names)
    assert all(sample_path(name).stat().st_size > 0 for name in names)


def test_an_unknown_sample_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"Did you mean 'brain_0055t_t2w.h5'"):
        sample_path("brain_0055t_t2.h5")
